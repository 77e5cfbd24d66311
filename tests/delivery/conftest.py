"""Fixtures that shorten pauses."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.api import client as requester
from target_mainbrainer.api.limits import pause_before_retry
from target_mainbrainer.delivery import status_polling


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause before retries as long as ever, but in hundredths of seconds."""

    def pause(error: Exception, **so_far: t.Any) -> float | None:
        seconds = pause_before_retry(error, **so_far)
        return None if seconds is None else seconds / 100

    monkeypatch.setattr(requester, "pause_before_retry", pause)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for the status of a batch at once and often."""
    monkeypatch.setattr(status_polling, "FIRST_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(status_polling, "LONGEST_PAUSE_SECONDS", 0.1)
