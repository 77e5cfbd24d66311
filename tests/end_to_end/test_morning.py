"""What is read in the morning: the summary, once, and what to look at."""

import logging

from tests.loads import Load, Record, cases, person, schema, state

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


def test_a_property_that_the_account_lacks_is_called_by_its_name(load: Load) -> None:
    """MainBrainer names it by its place in the request, which does not show which one it is."""
    load.ok(*PEOPLE)  # makes the properties 'id' and 'firstname' known
    load.crm.set_switches(unknown_property="refuse")
    odd = [person(7, shoe_size=42), *(person(number) for number in range(8, 20))]
    ended = load.fails(schema(), *odd)
    assert "property 'shoe_size'" in ended.log
    assert "propertyFields[" not in ended.log
