"""Tests of a mapping in a file: what passes and what fails."""

import typing as t

from click.testing import Result

from tests.loads import Load, Record, cases

CONFIG: Record = {
    "field_map": {"phone": "mobile", "newsletter": "email_opt_in", "note": None},
    "default_country_code": 44,
}
INGRID = """
  stream: people
  record: {no: 1, phone: 07700 900123, email: ingrid@example.com, newsletter: yes, note: tall}
"""
INGRIDS = "{mobile: +44 7700 900123, email: ingrid@example.com, email_opt_in: true, %s}"
PASSES = f"tests:\n- name: Ingrid{INGRID}  contact: {INGRIDS % 'properties: {no: 1}'}\n"


def run(load: Load, tests: str, *arguments: str, **config: t.Any) -> Result:
    (load.folder / "tests.yml").write_text(tests)
    return load.invoke("--test", load.path("tests.yml"), *arguments, **CONFIG | config)


def test_a_mapping_that_does_what_is_expected_passes(load: Load) -> None:
    """Without an account, a ledger or a file of suppressions, which a pull request lacks."""
    files = {"ledger_uri": "no/ledger", "suppression_path": "no/list", "rejects_path": "no/file"}
    before = {*load.folder.iterdir()}
    result = run(load, PASSES, **files)
    assert result.exit_code == 0, result.output
    assert result.stdout == "passed  Ingrid\n1 test passed.\n"
    made = {*load.folder.iterdir()} - before
    assert {path.name for path in made} == {"config.json", "tests.yml"}


def test_each_difference_is_named(load: Load) -> None:
    """Each difference is named and ends with exit code 1."""
    result = run(load, PASSES, field_map={"phone": "mobile"})
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "FAILED  Ingrid",
        "        email_opt_in: expected true, got nothing",
        "        property 'newsletter': expected nothing, got \"yes\"",
        "        property 'note': expected nothing, got \"tall\"",
    ]
    assert load.caplog.records[-1].getMessage() == "1 of 1 test of the mapping failed."


EXPECTATIONS = """tests:
- {name: refused, stream: people, record: {email: cut-off}, rejected: invalid_email}
- {name: refused for another reason, stream: people, record: {email: x}, rejected: no_identity}
- {name: not expected, stream: people, record: {email: cut-off}}
- name: a no that is sent all the same
  stream: people
  record: {phone: +44 7700 900123, email: cut-off@, newsletter: no}
  rejected: invalid_email
  contact: {mobile: 447700900123, email_opt_in: false}
- {name: a contact too many, stream: people, record: {email: a@example.com}}
- {name: no contact, stream: people, record: {email: ''}, contact: {email: a@example.com}}
- name: plain values are read as JSON has them
  stream: people
  record: {email: a@example.com, country: NO, born: 2001-02-03, code: 0770, sum: 1.50}
  contact:
    email: a@example.com
    properties: {country: NO, born: 2001-02-03, code: '0770', sum: 1.50}
"""
PRINTED = """\
passed  refused
FAILED  refused for another reason
        rejected: expected "no_identity", got 'invalid_email': Column 'email' has no '@'.
FAILED  not expected
        rejected: expected nothing, got 'invalid_email': Column 'email' has no '@'.
passed  a no that is sent all the same
FAILED  a contact too many
        email: expected nothing, got "a@example.com"
FAILED  no contact
        email: expected "a@example.com", got nothing
passed  plain values are read as JSON has them
"""


def test_what_a_test_can_expect(load: Load) -> None:
    fields = {"phone": "mobile", "newsletter": "email_opt_in"}
    field_map = {name: {"field": field, "optional": True} for name, field in fields.items()}
    result = run(load, EXPECTATIONS, field_map=field_map)
    assert (result.exit_code, result.stdout) == (1, PRINTED)


def test_a_stream_map_makes_two_contacts(load: Load) -> None:
    test = """tests:
- stream: people
  record: {email: a@example.com, other: b@example.com}
  contact: [{email: a@example.com}, {email: b@example.com}]"""
    second = {"__source__": "people", "email": "other"}
    maps = {"people": {"email": "email"}, "second": second}
    result = run(load, test, field_map={}, unmapped_columns="ignore", stream_maps=maps)
    assert result.stdout == "passed  people, test 1\n1 test passed.\n"


def test_a_schema_in_the_file_counts_as_in_a_run(load: Load) -> None:
    schemas = "schemas: {people: {schema: {properties: {email: {type: string}, no: {}}}}}\n"
    test = "tests:\n- stream: people\n  record: {email: 7, no: 1}\n  rejected: schema_mismatch\n"
    assert run(load, schemas + test, field_map={}).exit_code == 0
    assert run(load, test, field_map={}).exit_code == 1


NO_FIELD = "Object contains unknown field `emial_opt_in` - at `$.tests[0].contact`"
NO_CODE = "cannot be read: Invalid enum value 'invalid' - at `$.tests[0].rejected`"
NO_SCHEMA = "Stream 'people': a message is a SCHEMA message without a proper 'schema' ("
WRONG = {
    "no YAML": ("tests: [", "cannot be read: while parsing"),
    "empty": ("", "cannot be read: Expected `object`, got `null`."),
    "a misspelt field": (PASSES.replace("email_opt_in", "emial_opt_in"), NO_FIELD),
    "no such code": (PASSES + "  rejected: invalid", NO_CODE),
    "a column is missing": (PASSES.replace("newsletter: yes, ", ""), "has no such column"),
    "no tests": ("tests: []", "length >= 1 - at `$.tests`"),
    "no proper schema": (PASSES + "schemas: {people: {schema: {}}}", NO_SCHEMA),
}


@cases("tests error", *WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_with_a_file_is_an_error(load: Load, tests: str, error: str) -> None:
    assert run(load, tests).exit_code == 1
    assert error in load.caplog.records[-1].getMessage()
    assert "fault of" not in load.caplog.text
