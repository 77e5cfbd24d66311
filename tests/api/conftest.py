"""Fixtures: hostile servers, and a client that talks to them. Nothing private may reach the log."""

import contextlib
import logging
from collections.abc import Iterator

import pytest

from tests.api.helpers import NEVER_LOGGED, Api


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """In no test with it may anything private reach the log, at any level."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        # Whatever the machine that runs the tests has set, a test sets its own.
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    with contextlib.ExitStack() as running:
        made = Api(running, monkeypatch)
        root.addHandler(made.heard)
        yield made
    root.removeHandler(made.heard)
    root.setLevel(before)
    whole = "\n".join(made.heard.lines).casefold()
    assert [secret for secret in NEVER_LOGGED if secret.casefold() in whole] == []
