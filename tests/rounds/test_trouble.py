"""Every contact lands through passing trouble; lasting trouble ends the run, and loses nothing."""

import itertools
import re
import threading
import time

import pytest

from tests.broken_server import OK, STALL
from tests.loads import Load, cases, people, person, schema, state
from tests.rounds.process import Process, Start

pytestmark = pytest.mark.usefixtures("hasty")


@cases(
    "fault words",
    *((fault, "was given up after") for fault in ("503", "reset", "hang", "cut", "429", "lost")),
    *(("html", "not MainBrainer's"), ("401", "refused the access token"), ("403", "403")),
    *(("404", "Check 'api_url'"), ("406", "406"), ("302", "Redirects are")),
)
def test_lasting_trouble_ends_the_run_with_one_error(load: Load, fault: str, words: str) -> None:
    """STATE is where it should be, and unknown is never success."""
    patience = 2 if fault == "hang" else 60
    load.settings |= {"retry_max_seconds": 2, "request_timeout_seconds": patience}
    lines = people(1000)
    ended = load(*lines, faults=f"{fault}@4-999", max_concurrent_requests=1).failed(words)
    if words.startswith("was given up"):
        tried = r"after (1 try|(?!1 )\d+ tries) in \d+ s\. The last one: .+seconds' is 2\."
        assert re.search(tried, ended.error)
    assert 100 <= ended.bookmark <= 300, "300, but for a slow machine, on which requests time out"
    assert {*range(1, ended.bookmark + 1)} <= load.numbers()
    assert (ended.count("accepted"), ended.count("rejected")) == (ended.bookmark, 0)


# How many requests are in flight at once, and how much is read ahead: both are bounded


LATENCY = 0.3


def test_a_load_whose_answers_are_slow_has_all_that_the_plan_allows_in_flight(load: Load) -> None:
    """Not even the first answer is waited for: it may take half a window."""
    together = threading.Barrier(40, timeout=60)
    load.serve(lambda _: (together.wait(), OK)[1])
    load.settings |= {"rate_limit_requests": None, "rate_limit_plan": "pro"}
    load(*people(400), batch_size_rows=10, confirm_batches="none").ok()


@cases("most", 1, 3)
def test_a_number_that_the_user_sets_is_kept_to(load: Load, most: int) -> None:
    load.settings |= {"rate_limit_requests": None, "max_concurrent_requests": most}
    load(*people(60), faults=f"latency={LATENCY}", batch_size_rows=10).ok()
    began = sorted(request.started for request in load.crm.requests())
    assert len(began) == 6
    for earlier, later in zip(began, began[most:], strict=False):
        assert later - earlier >= LATENCY


# --- However slow the server and however large the records

MOST_LINES = 30_000
"""Two rounds of 10,000 contacts, and what pipes and buffers hold."""

MOST_CHARACTERS = 12 * 1024 * 1024
"""Two rounds of 3 MiB, and as much again."""


def is_too_much(process: Process) -> bool:
    return process.fed[0] > MOST_LINES or process.fed[1] > MOST_CHARACTERS


def wait_until_it_reads_no_more(process: Process) -> None:
    """Return when no line was read for a second, or far too many were."""
    before = (-1, -1)
    while process.fed != before and not is_too_much(process):
        before = process.fed
        time.sleep(1)


@cases(
    "is_one size",
    pytest.param(False, 0, id="many contacts"),
    pytest.param(False, 20_000, id="large records"),
    pytest.param(True, 20_000, id="large records of one contact"),
)
def test_a_silent_server_stops_reading(load: Load, start: Start, is_one: bool, size: int) -> None:
    """That keeps the memory flat; the million is in `make bench`."""
    server = load.serve(lambda _: STALL)
    process = start(api_url=server.url, max_concurrent_requests=2)
    names = (f"{n:06}{'x' * size}" for n in itertools.count())
    everybody = (person(1 if is_one else n, firstname=name) for n, name in enumerate(names))
    process.feed(itertools.chain([schema()], everybody))
    process.wait_until_ready()
    wait_until_it_reads_no_more(process)
    assert process.fed[0] >= 100
    assert not is_too_much(process)
    process.popen.kill()


def test_large_records_of_one_contact_are_all_taken(load: Load) -> None:
    """They are more than one request may wait for; the last one counts."""
    lines = [person(1, firstname=f"{n:06}" + "x" * 40_000) for n in range(400)]
    ended = load(schema(), *lines, state(bookmark=400)).ok()
    assert ended.count("accepted") + ended.count("merged") == 400
    assert 2 <= len(load.crm.requests()) <= 8
    (contact,) = load.crm.contacts()
    assert contact["properties"]["firstname"].startswith("000399")
    assert ended.states == [{"bookmark": 400}]
