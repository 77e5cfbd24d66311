"""Fixtures: hostile servers, and a client that talks to them. Nothing private may reach the log."""

import contextlib
import logging
from collections.abc import Iterator

import pytest

from tests.api.helpers import NEVER_LOGGED, Api


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """In no test with it may anything private reach the log, at any level."""
    with contextlib.ExitStack() as running:
        made = Api(running, request.getfixturevalue)
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            # Each test sets its own, so that those of the machine do not count.
            made.patch.delenv(name, raising=False)
            made.patch.delenv(name.upper(), raising=False)
        made.log.set_level(logging.DEBUG)
        yield made
    whole = "\n".join(map(made.log.handler.format, made.log.get_records("call"))).casefold()
    assert [secret for secret in NEVER_LOGGED if secret.casefold() in whole] == []
