"""A fresh sandbox for each test."""

from __future__ import annotations

import typing as t

import pytest

from tests.mainbrainer_sandbox.crm import Clock, Crm

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from mainbrainer_sandbox.running import RunningSandbox


@pytest.fixture
def crm(start_crm: Callable[..., RunningSandbox], capsys: pytest.CaptureFixture[str]) -> Crm:
    return Crm(start_crm, capsys)


@pytest.fixture
def clock() -> Clock:
    return Clock()
