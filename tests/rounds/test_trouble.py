"""Every contact lands through passing trouble; lasting trouble ends the run, and loses nothing."""

import re

import pytest

from tests.loads import Load, cases, people

pytestmark = pytest.mark.usefixtures("hasty")


@cases(
    "faults",
    *("500@p0.05 502@p0.05 503@p0.05", "reset@p0.1", "lost@p0.1", "hang@4,9", "cut@p0.1"),
    *("429@3,7 429=1@11", "408@p0.1", "413@1-3:batch", "noid"),
    "503@p0.05 reset@p0.02 lost@p0.01 hang@17 latency=0-0.02 429@23",
)
def test_every_contact_lands_through_passing_trouble(load: Load, faults: str) -> None:
    load.settings |= {"batch_size_rows": 20, "request_timeout_seconds": 1}
    ended = load(*people(600), faults=faults).ok()
    assert ended.bookmark == 600
    assert load.numbers() == {*range(1, 601)}
    assert len(load.crm.contacts()) == 600, "sent twice is not there twice"
    met = {request.fault for request in load.crm.requests()} - {None}
    assert met or ended.report["retries"], "no request was met by a fault, so this shows nothing"


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
