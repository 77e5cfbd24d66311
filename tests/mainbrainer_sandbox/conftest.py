"""A fresh sandbox for each test."""

import pytest

from tests.mainbrainer_sandbox.crm import Clock, Crm


@pytest.fixture
def crm(request: pytest.FixtureRequest) -> Crm:
    return Crm(request.getfixturevalue)


@pytest.fixture
def clock() -> Clock:
    return Clock()
