"""Failures arrive as in `docs/failures.md`: in these words, with this exit code and STATE."""

import errno
import logging
import os
import re
import typing as t

import pytest

from tests.loads import Load, Record, cases, lines_of
from tests.pages import page, pattern

PAGE = page("docs/failures.md")
SHOWN = [line for block in PAGE.blocks("text") for line in block.splitlines()]

GOOD = "1-5 p#"
WITH_A_BAD_ONE = f"{GOOD}, 6 email=cut-off@"
LIST: Record = {"list_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6"}
OTHER_LIST = {"known_lists": "4fa85f64-5717-4562-b3fc-2c963f66afa6"}
POISON = {"refuse_property": "firstname", "refuse_value": "x"}
KEPT: Record = {"rejects_path": "r.singer"}

WAITS: Record = {"confirm_batches": "report", "retry_max_seconds": 3, "confirm_timeout_seconds": 3}

# The lines of input, the switches of the CRM and its fault, the settings, the exit code.
Scenario: t.TypeAlias = tuple[str, dict[str, str], str, Record, int]
SCENARIOS: dict[str, Scenario] = {
    "invalid_email": (WITH_A_BAD_ONE, {}, "", KEPT, 0),
    "the settings allow none": (WITH_A_BAD_ONE, {}, "", {}, 1),
    "Refused alone": ("1-300 p#, 2 p2 =x, 5 p5 =x", POISON, "", KEPT, 0),
    "refuses every contact": ("0-299 p#", OTHER_LIST, "", LIST | KEPT, 1),
    "nothing was accepted": (GOOD, OTHER_LIST, "", LIST | KEPT, 1),
    "401 on POST": (GOOD, {}, "", {"access_token": "dead"}, 1),
    "503 Service": (GOOD, {}, "503", {}, 1),
    "429 Too Many": (GOOD, {}, "429=60", {}, 1),
    "text/html": (GOOD, {}, "html", {}, 1),
    "OK: ": (GOOD, {}, "", {}, 0),
    "5 not sent": (GOOD, {}, "503", {}, 1),
    "in the rejects file": (GOOD, {}, "fail", KEPT, 0),
    "STATE has advanced": (GOOD, {}, "fail", {}, 1),
    "had not confirmed": (GOOD, {}, "stuck", {"confirm_batches": "require"}, 1),
    "you have set none of them": (GOOD, {}, "", {"access_token": ""}, 1),
    "acces_token": (GOOD, {}, "", {"acces_token": "x"}, 1),
    "'e-mail'": ("1 bare email= e-mail=", {}, "", {}, 1),
    "not valid JSON": ("", {}, "", {}, 1),
    "No space left": (f"{GOOD}, 6-305 email=cut-off@", {}, "", KEPT, 1),
}


@cases("shown", *SCENARIOS)
def test_failures_arrive_as_shown(load: Load, monkeypatch: pytest.MonkeyPatch, shown: str) -> None:
    """In the words that the page shows, and with its exit code and STATE."""
    monkeypatch.chdir(load.folder)
    people, switches, fault, config, code = SCENARIOS[shown]
    if shown == "No space left":
        fill_disk(monkeypatch)
    load.crm.set_switches(**switches)
    load.crm.set_faults(*filter(None, [fault]))
    lines = lines_of(people) if people else ["Connecting ..."]
    ended = load.run(*lines, **WAITS | config)
    (line,) = (line for line in SHOWN if shown in line)
    assert pattern(line).search(ended.log), ended.log
    assert ended.code == exit_code_before(line) == code
    moves = not code or "STATE has advanced" in line
    assert bool(ended.states) == moves
    assert "Traceback" not in ended.log
    assert "@example.com" not in ended.log


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing more be written to the rejects file; what else is written in Python still is."""
    write = os.write

    def fail(descriptor: int, data: bytes | memoryview) -> int:
        if isinstance(data, memoryview):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", fail)


def exit_code_before(line: str) -> int:
    """Return the exit code that is named in the paragraph before a line of the log."""
    before = PAGE.text[: PAGE.text.index(line)].rsplit("\n\n```text", 1)[0].rsplit("\n\n", 1)[-1]
    (code,) = re.findall(r"exit\s+code\s+(?:is\s+)?(\d)", before, re.IGNORECASE)
    return int(code)


def test_every_line_the_page_shows_of_a_failure_is_tested() -> None:
    """A line that is added there needs a scenario here; signals are sent in `rounds/`."""
    tested = [*SCENARIOS, "Ended by SIGTERM"]
    assert [line for line in SHOWN if not any(part in line for part in tested)] == []


README_ROW = re.compile(r"^\| `(?P<message>[^|]+)` \| (?P<code>\d) \|", re.MULTILINE)


def test_the_table_in_the_readme_matches_the_page() -> None:
    rows = README_ROW.findall(page("README.md").text)
    assert len(rows) == 10
    for message, code in rows:
        line = next(line for line in PAGE.text.splitlines() if message in line)
        assert exit_code_before(line) == int(code), message


# What is read in the morning: the summary, once, and what to look at


def test_the_summary_is_written_once_also_when_the_run_fails_at_its_end(load: Load) -> None:
    ended = load.fails(WITH_A_BAD_ONE)
    assert ended.log.count("Rejected 1 of stream") == 1
    assert ended.log.count("s waited for the limits") == 1


REJECTED = (
    "FAILED: 6 records read: 5 contacts sent, 1 rejected, later records were not read; STATE is "
    "at record 5. Correct the cause and run again to go on."
)
NOTHING = "FAILED: nothing was read; STATE is as it was. Correct the cause and run again to go on."
WITHOUT_STATE = lines_of(GOOD)[:-1]
SAID = {
    "no STATE": (WITHOUT_STATE, {}, "OK: 5 records read: 5 contacts sent; the tap sent no STATE."),
    "a rejection": (["1-5 p# /5, 6 email=cut-off@, 7-2000 p#"], {}, REJECTED),
    "settings": ([GOOD], {"list_id": "x"}, NOTHING),
    "two columns for one field": ([GOOD], {"field_map": {"firstname": "email"}}, NOTHING),
}


@cases("lines config expected", *SAID.values(), ids=SAID)
def test_the_last_line(load: Load, lines: list[str], config: Record, expected: str) -> None:
    """The last line of the log sums the run up."""
    assert load(*lines, **config).last == expected


@cases("log_level", logging.INFO, logging.DEBUG)
def test_minor_lines_of_the_sdk_appear_at_debug_only(load: Load, log_level: int) -> None:
    ended = load(GOOD)
    assert len(ended.log.splitlines()) <= 15 or log_level == logging.DEBUG
    for said in ('"metric":"record_count","value":5', "parse of env var", "completed processing"):
        assert (said in ended.log) == (log_level == logging.DEBUG), said
    assert "Meltano SDK v" in ended.log


def test_an_empty_input_leaves_a_report_too(load: Load) -> None:
    """A tap without records is no reason for a gap in the monitoring."""
    assert load.ok().report["streams"] == {}
