"""A fresh sandbox for each test."""

from collections.abc import Callable

import pytest

from mainbrainer_sandbox.running import RunningSandbox
from tests.mainbrainer_sandbox.crm import Clock, Crm


@pytest.fixture
def crm(start_crm: Callable[..., RunningSandbox], capsys: pytest.CaptureFixture[str]) -> Crm:
    return Crm(start_crm, capsys)


@pytest.fixture
def clock() -> Clock:
    return Clock()
