"""Fixtures: hostile servers, and a client that talks to them. Nothing private may reach the log."""

import contextlib
import logging
from collections.abc import Iterator

import pytest

from tests.api.helpers import NEVER_LOGGED, Api, Listener


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """In no test with it may anything private reach the log, at any level."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        # Whatever the machine that runs the tests has set, a test sets its own.
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    heard, root = Listener(), logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(heard)
    with contextlib.ExitStack() as running:
        yield Api(running, heard, monkeypatch)
    root.removeHandler(heard)
    root.setLevel(before)
    whole = "\n".join(heard.lines).casefold()
    assert [secret for secret in NEVER_LOGGED if secret.casefold() in whole] == []
