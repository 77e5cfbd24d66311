"""However slow the server and however large the records: what is read ahead is bounded."""

from __future__ import annotations

import itertools
import time
import typing as t

import pytest

from tests.broken_server import STALL, BrokenServer
from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget
    from tests.rounds.process import Process, Start

MOST_LINES = 60_000
"""Two rounds of 20,000 contacts, and what pipes and buffers hold."""

MOST_CHARACTERS = 24 * 1024 * 1024
"""Two rounds of 6 MiB, and as much again."""


def small() -> Iterator[str]:
    yield schema()
    yield from (person(n) for n in itertools.count())


def large() -> Iterator[str]:
    yield schema()
    yield from (person(n, firstname="x" * 20_000) for n in itertools.count())


def large_of_one() -> Iterator[str]:
    yield schema()
    yield from (person(1, firstname=f"{n:06}" + "x" * 20_000) for n in itertools.count())


def wait_until_it_reads_no_more(process: Process) -> None:
    """Return when no line was read for a second, or far too many were."""
    before = (-1, -1)
    while process.fed != before and process.fed[0] <= MOST_LINES:
        if process.fed[1] > MOST_CHARACTERS:
            return
        before = process.fed
        time.sleep(1)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(small, id="many contacts"),
        pytest.param(large, id="large records"),
        pytest.param(large_of_one, id="large records of one contact"),
    ],
)
def test_the_reader_never_runs_ahead_of_a_server_that_does_not_answer(
    start: Start, lines: Callable[[], Iterator[str]]
) -> None:
    """That keeps the memory flat; the million is in `make bench`."""
    with BrokenServer(lambda _: STALL) as server:
        process = start(api_url=server.url, max_concurrent_requests=2)
        process.feed(lines())
        process.wait_until_ready()
        wait_until_it_reads_no_more(process)
        assert process.fed[0] <= MOST_LINES
        assert process.fed[1] <= MOST_CHARACTERS
        assert process.fed[0] >= 100
        process.popen.kill()


def test_large_records_of_one_contact_are_all_taken(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """They are more than one request may wait for; the last one counts."""
    lines = [person(1, firstname=f"{n:06}" + "x" * 40_000) for n in range(400)]
    ended = run_target(schema(), *lines, state(bookmark=400)).ok()
    assert ended.counts["accepted"] + ended.counts["merged"] == 400
    assert 2 <= len(crm.requests()) <= 8
    (contact,) = crm.contacts()
    assert contact["properties"]["firstname"].startswith("000399")
    assert ended.states == [{"bookmark": 400}]
