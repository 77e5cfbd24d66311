"""Pauses of the target that no test here is about."""

import pytest

from tests.rounds import quick


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait neither for retries nor for the first look at a batch."""
    quick.shorten(monkeypatch)
