"""Waiting for what happens in another thread or process."""

import time
from collections.abc import Callable

PATIENCE = 60.0


def wait_until(is_so: Callable[[], object], problem: str = "it never happened") -> None:
    """Return as soon as a condition holds; fail if it does not hold in a minute."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, problem
        time.sleep(0.005)
