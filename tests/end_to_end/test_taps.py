"""Published taps as they are: what they write ends as the right contacts."""

import csv
import io
import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from tests import projects
from tests.loads import Load, Record, cases
from tests.postgresql import PostgreSQL
from tests.projects import LOADER, TOOLS, Project, lines_of, needs_tools, printed

pytestmark = needs_tools


def run(load: Load, tap: str, config: Record, **settings: t.Any) -> Record:
    """Return the counts of the one stream `people` that a tap reads."""
    load.keep_rejects()
    lines = projects.lines_of(tap, config, load.folder)
    return load.ok(*lines, max_rejects_percent=100, **settings).counts


def contacts(load: Load, key: str = "id") -> dict[str, Record]:
    """Return the contacts that arrived, by the property that is their key at the source."""
    return {contact["properties"][key]: contact for contact in load.crm.contacts()}


def file(load: Load, name: str, content: bytes) -> str:
    (load.folder / name).write_bytes(content)
    return load.path(name)


# Files


XLSX = """
import datetime, openpyxl, sys
book = openpyxl.Workbook()
book.active.title = "People"
for row in (
    ["Customer No", "E-mail", "Mobile", "Newsletter", "Born", "Spent"],
    [1001, "ingrid@example.com", 46701740605, True, datetime.date(1980, 5, 1), 12.5],
    [1002, "amina@example.com", "+44 7700 900123", False, None, 7],
    [1003, None, None, None, None, None],
):
    book.active.append(row)
book.save(sys.argv[1])
"""


def test_an_excel_sheet_arrives_its_numbers_and_booleans_too(load: Load) -> None:
    """The tap makes a float of a number, and 1 of TRUE, unless the type of a column is set."""
    sheet = load.folder / "people.xlsx"
    printed(TOOLS / "tap-spreadsheets" / "bin" / "python", "-c", XLSX, sheet)
    text = {"type": ["string", "null"]}
    file: Record = {"path": str(sheet), "format": "excel", "worksheet": "People"}
    file |= {"table_name": "people", "primary_keys": ["Customer No"]}
    file |= {"schema_overrides": {"mobile": text}}
    settings = {"field_map": {"newsletter": "email_opt_in"}, "default_country_code": 46}
    counts = run(load, "tap-spreadsheets", {"files": [file]}, **settings)
    assert counts["rejected_by_code"] == {"no_identity": 1}
    ingrid, amina = contacts(load, "customer_no").values()
    assert (ingrid["mobile_country_code"], ingrid["mobile_number"]) == (46, 701740605)
    assert (ingrid["email_opt_in"], amina["email_opt_in"]) == (True, False)
    assert ingrid["properties"]["spent"] == "12.5"
    assert amina["mobile_country_code"] == 44


PEOPLE = """
{"id": 1, "email": "ingrid@example.com", "emailOptIn": true,
 "phones": ["+44 7700 900123", "+44 7700 900456"], "address": {"city": "Göteborg", "zip": "01234"},
 "since": "2020-02-29T12:00:00Z"}
{"id": 2, "email": "amina@example.com", "emailOptIn": null, "since": "yesterday"}
{"id": 3, "email": "tom@example.com", "emailOptIn": "perhaps"}
{"id": 4, "emailOptIn": "no"}
""".replace("\n ", " ").lstrip()


def test_json_lines_arrive_with_nested_values_and_mixed_types(load: Load) -> None:
    config = {"path": file(load, "people.jsonl", PEOPLE.encode()), "stream_name": "people"}
    counts = run(load, "tap-jsonl", config | {"primary_keys": ["id"]})
    assert counts["rejected_by_code"] == {"invalid_consent": 1, "no_identity": 1}
    found = contacts(load)
    assert found["1"]["email_opt_in"] is True
    assert found["1"]["properties"] == {
        "id": "1",
        "phones": "+44 7700 900123;+44 7700 900456",
        "address": '{"city":"Göteborg","zip":"01234"}',
        "since": "2020-02-29T12:00:00Z",
    }
    assert found["2"]["email_opt_in"] is None


# A database


def in_folder(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def test_a_database_table_arrives(load: Load, empty_postgresql: PostgreSQL) -> None:
    """10,000 rows of every common type, 2 % of them dirty, through Meltano, which selects them."""
    empty_postgresql.execute(in_folder("customers.sql"))
    project = Project(load.folder)
    project.config["streams"] = {"public-customers": {"field_map": {"phone": "mobile"}}}
    environment = projects.as_environment(load.crm, RATE_LIMIT_REQUESTS="0")
    environment["TAP_POSTGRES_SQLALCHEMY_URL"] = empty_postgresql.url
    project.runs("tap-postgres", LOADER, prod=True, **environment)
    counts = project.report("public-customers")
    assert (counts["read"], counts["inserted"]) == (10_000, 9_800)
    assert counts["rejected_by_code"] == {"invalid_email": 100, "no_country_code": 100}
    everybody = load.crm.contacts()
    found = {c["properties"]["id"]: c for c in everybody if c["properties"]}
    # Of a rejected record only a "no" arrives, with the identity that is left.
    noes = [c for c in everybody if not c["properties"]]
    assert not any(c["email_opt_in"] or c["mobile_opt_in"] for c in noes)
    assert found["4"]["email_opt_in"] is True
    assert found["1"]["mobile_opt_in"] is True
    assert found["1"]["properties"] == json.loads(in_folder("customer-1.json"))
    assert found["9"]["mobile_opt_in"] is found["9"]["email_opt_in"] is None
    assert found["9"]["properties"]["born"] == "infinity"


# Exports of other systems arrive as the same contacts through every tap that reads them


FOLDER = Path(__file__).with_name("exports")
EXPORTS: dict[str, dict[str, t.Any]] = yaml.safe_load((FOLDER / "expected.yml").read_text())


def rows_of(name: str) -> list[list[str]]:
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return list(csv.reader(file))


def with_tap_csv(_: Path) -> tuple[str, Record]:
    """Everything in one folder; the tap guesses the type of each column."""
    return "tap-csv", {"path": str(FOLDER), "read_mode": "one_stream_per_file"}


def with_tap_spreadsheets(folder: Path) -> tuple[str, Record]:
    """File by file, with a delimiter of its own; the tap changes the names of columns."""
    files = []
    for name, export in EXPORTS.items():
        out, delimiter = io.StringIO(newline=""), export.get("delimiter", ",")
        csv.writer(out, delimiter=delimiter).writerows(rows_of(name))
        path = folder / f"{name}.csv"
        path.write_text(export.get("start", "") + out.getvalue(), newline="")
        file = {"path": str(path), "format": "csv", "table_name": name, "quote_char": '"'}
        files.append(file | {"primary_keys": [], "delimiter": delimiter})
    return "tap-spreadsheets", {"files": files}


NAMES: dict[str, t.Callable[[str], str]] = {
    "tap-csv": str,
    "tap-spreadsheets": lambda column: re.sub("[^a-z0-9]+", "_", column.lower()).strip("_"),
}


@pytest.fixture(scope="module", params=[with_tap_csv, with_tap_spreadsheets])
def read(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[str]]:
    """Return the name of a tap and all that it writes of the exports."""
    folder = tmp_path_factory.mktemp("exports")
    tap, config = request.param(folder)
    return tap, lines_of(tap, config, folder)


def advised(log: str) -> Record:
    """Return the stream maps that the log advises, and the columns that it leaves out then."""
    settings: Record = {}
    for hint in re.findall(r'invert it: (".+)\.$', log, re.MULTILINE):
        settings |= json.loads(f"{{{hint}}}")
    return settings


@pytest.mark.xdist_group("exports")
@cases("name", *EXPORTS)
def test_an_export_arrives(load: Load, read: tuple[str, list[str]], name: str) -> None:
    """Several lines in a cell, empty rows and a byte order mark too; no unsubscribe is a yes."""
    export, (tap, lines) = EXPORTS[name], read
    column = NAMES[tap]
    stream = [line for line in lines if f'"stream":"{name}"' in line]
    first = load.run(*stream, dry_run=True, max_rejects=10)
    settings = advised(first.log)
    assert ("stream_maps" in settings) == (name in {"hubspot", "mailchimp"})
    chosen = {column(key): field for key, field in export.get("field_map", {}).items()}
    for key, field in chosen.items():
        if field in {"email", "mobile"}:
            assert f'"{key}": "{field}"' in first.log, "the hint that the user follows"
    settings["field_map"] = settings.get("field_map", {}) | chosen
    settings |= {"default_country_code": 47, "max_rejects": 10, "max_rejects_percent": 100}
    counts = load.ok(*stream, **settings).report["streams"][name]
    rows = rows_of(name)[1:]
    assert counts["rejected_by_code"] == export.get("rejected", {})
    assert (counts["omitted"], counts["read"]) == (2, len(rows))
    contacts = load.crm.contacts()
    fields = ("email", "mobile_number", "email_opt_in", "mobile_opt_in")
    found = [[contact[field] for field in fields] for contact in contacts]
    assert sorted(found, key=str) == sorted(export["contacts"], key=str)
    cells = {value for row in rows for value in row if "\n" in value}
    assert cells <= {value for contact in contacts for value in contact["properties"].values()}
