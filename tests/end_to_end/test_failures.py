"""Failures arrive as in `docs/failures.md`: in these words, with this exit code and STATE."""

import errno
import logging
import os
import re
import typing as t

import pytest

from tests.loads import Load, Record, cases, person, record, schema, state
from tests.pages import page, pattern

PAGE = page("docs/failures.md")
SHOWN = [line for block in PAGE.blocks("text") for line in block.splitlines()]

GOOD = [schema(), *(person(number) for number in range(1, 6))]
WITH_A_BAD_ONE = [*GOOD, person(6, email="cut-off@")]
STATE = state(bookmark=1)
LIST: Record = {"list_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6"}
OTHER_LIST = {"known_lists": "4fa85f64-5717-4562-b3fc-2c963f66afa6"}
POISONED = [schema(), *(person(n, firstname="x" if n in {2, 5} else "y") for n in range(1, 301))]
POISON = {"refuse_property": "firstname", "refuse_value": "x"}
KEPT: Record = {"rejects_path": "r.singer"}

# The lines of input, the switches of the CRM and its fault, the settings, the exit code.
Scenario: t.TypeAlias = tuple[list[str], dict[str, str], str, Record, int]
SCENARIOS: dict[str, Scenario] = {
    "invalid_email": (WITH_A_BAD_ONE, {}, "", KEPT, 0),
    "the settings allow none": (WITH_A_BAD_ONE, {}, "", {}, 1),
    "Refused alone": (POISONED, POISON, "", KEPT, 0),
    "refuses every contact": ([schema(), *map(person, range(300))], OTHER_LIST, "", LIST | KEPT, 1),
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
    "'e-mail'": ([schema("id email e-mail"), record(id=1)], {}, "", {}, 1),
    "not valid JSON": (["Connecting ..."], {}, "", {}, 1),
    "No space left": ([*GOOD, *WITH_A_BAD_ONE[-1:] * 300], {}, "", KEPT, 1),
}


@cases("shown", *SCENARIOS)
def test_failures_arrive_as_shown(load: Load, monkeypatch: pytest.MonkeyPatch, shown: str) -> None:
    """In the words that the page shows, and with its exit code and STATE."""
    monkeypatch.chdir(load.folder)
    lines, switches, fault, config, code = SCENARIOS[shown]
    if shown == "No space left":
        fill_disk(monkeypatch)
    load.crm.set_switches(**switches)
    load.crm.set_faults(*filter(None, [fault]))
    waits = {"confirm_timeout_seconds": 3 if fault == "stuck" else 60, "retry_max_seconds": 3}
    ended = load.run(*lines, STATE, **{"confirm_batches": "report"} | waits | config)
    (line,) = (line for line in SHOWN if shown in line)
    assert pattern(line).search(ended.log), ended.log
    assert ended.code == exit_code_before(line) == code
    moves = not code or "STATE has advanced" in line
    assert ended.states == [{"bookmark": 1}] * moves
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


PEOPLE = [schema(), *(person(number) for number in range(5)), state(bookmark=1)]
CUT_OFF = person(5, email="cut-off@")
AWAY = {"api_url": "http://127.0.0.1:9", "retry_max_seconds": 1}


def test_the_summary_is_written_once_also_when_the_run_fails_at_its_end(load: Load) -> None:
    ended = load.fails(*PEOPLE[:-1], CUT_OFF)
    assert ended.log.count("Rejected 1 of stream") == 1
    assert ended.log.count("s waited for the limits") == 1


REJECTED = (
    "FAILED: 6 records read: 5 contacts sent, 1 rejected, later records were not read; STATE is "
    "at record 5. Correct the cause and run again to go on."
)
AWAY_SAID = "FAILED: 5 records read: 5 not sent; STATE is as it was. Run again to go on."
MORE = [*PEOPLE, CUT_OFF, person(6), state(bookmark=2), *[person(7)] * 2000]
NOTHING = "FAILED: nothing was read; STATE is as it was. Correct the cause and run again to go on."
SAID = {
    "no STATE": (PEOPLE[:-1], {}, "OK: 5 records read: 5 contacts sent; the tap sent no STATE."),
    "a rejection": (MORE, {}, REJECTED),
    "no connection": (PEOPLE, AWAY, AWAY_SAID),
    "settings": (PEOPLE, {"list_id": "x"}, NOTHING),
    "two columns for one field": (PEOPLE, {"field_map": {"firstname": "email"}}, NOTHING),
}


@cases("lines config expected", *SAID.values(), ids=SAID)
def test_the_last_line(load: Load, lines: list[str], config: Record, expected: str) -> None:
    """The last line of the log sums the run up."""
    assert load.run(*lines, **config).last == expected


@cases("log_level", logging.INFO, logging.DEBUG)
def test_minor_lines_of_the_sdk_appear_at_debug_only(load: Load, log_level: int) -> None:
    ended = load.run(*PEOPLE)
    assert len(ended.log.splitlines()) <= 15 or log_level == logging.DEBUG
    for said in ('"metric":"record_count","value":5', "parse of env var", "completed processing"):
        assert (said in ended.log) == (log_level == logging.DEBUG), said
    assert "Meltano SDK v" in ended.log


def test_an_empty_input_leaves_a_report_too(load: Load) -> None:
    """A tap without records is no reason for a gap in the monitoring."""
    assert load.ok().report["streams"] == {}
