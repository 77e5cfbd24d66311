"""Published taps as they are: what they write ends as the right contacts."""

import json
import struct
import typing as t
from pathlib import Path

import pytest

from mainbrainer_sandbox.running import RunningSandbox
from tests import projects
from tests.postgresql import PostgreSQL
from tests.projects import LOADER, TOOLS, Project, Record, printed

pytestmark = projects.needs_tools


class Pipe:
    """`tap | target-mainbrainer`, without Meltano, into a MainBrainer on loopback."""

    def __init__(self, folder: Path, crm: RunningSandbox) -> None:
        self.folder = folder
        self.crm = crm
        self._environment = projects.clean_environment(folder / "home")

    def file(self, name: str, text: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    def run(self, tap: str, tap_config: Record, **settings: t.Any) -> Record:
        """Run both and return the counts of the one stream `people`."""
        report = self.folder / "report.json"
        config = {"api_url": self.crm.url, "access_token": self.crm.token} | settings
        config |= {"rejects_path": f"{self.folder}/rejects.singer", "report_path": str(report)}
        lines = self._run(TOOLS / "bin" / tap, tap_config)
        self._run(projects.BIN / LOADER, config, input=lines)
        return t.cast("Record", json.loads(report.read_text())["streams"]["people"])

    def _run(self, program: Path, config: Record, **options: t.Any) -> str:
        path = self.file(f"{program.name}.json", json.dumps(config))
        return printed(program, "--config", path, env=self._environment, **options)

    def contacts(self, key: str = "id") -> dict[str, Record]:
        """Return the contacts that arrived, by the property that is their key at the source."""
        return {contact["properties"][key]: contact for contact in self.crm.contacts()}


@pytest.fixture
def pipe(tmp_path: Path, crm: RunningSandbox) -> Pipe:
    return Pipe(tmp_path, crm)


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


def test_an_excel_sheet_arrives_its_numbers_and_booleans_too(pipe: Pipe) -> None:
    """The tap makes a float of a number, and 1 of TRUE, unless the type of a column is set."""
    sheet = pipe.folder / "people.xlsx"
    printed(TOOLS / "tap-spreadsheets" / "bin" / "python", "-c", XLSX, sheet)
    text = {"type": ["string", "null"]}
    file: Record = {"path": str(sheet), "format": "excel", "worksheet": "People"}
    file |= {"table_name": "people", "primary_keys": ["Customer No"]}
    file |= {"schema_overrides": {"mobile": text}}
    settings = {"field_map": {"newsletter": "email_opt_in"}, "default_country_code": 46}
    counts = pipe.run("tap-spreadsheets", {"files": [file]}, **settings)
    assert counts["rejected_by_code"] == {"no_identity": 1}
    ingrid, amina = pipe.contacts("customer_no").values()
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


def test_json_lines_arrive_with_nested_values_and_mixed_types(pipe: Pipe) -> None:
    config = {"path": pipe.file("people.jsonl", PEOPLE), "stream_name": "people"}
    counts = pipe.run("tap-jsonl", config | {"primary_keys": ["id"]})
    assert counts["rejected_by_code"] == {"invalid_consent": 1, "no_identity": 1}
    contacts = pipe.contacts()
    assert contacts["1"]["email_opt_in"] is True
    assert contacts["1"]["properties"] == {
        "id": "1",
        "phones": "+44 7700 900123;+44 7700 900456",
        "address": '{"city":"Göteborg","zip":"01234"}',
        "since": "2020-02-29T12:00:00Z",
    }
    assert contacts["2"]["email_opt_in"] is None


def test_a_json_file_arrives(pipe: Pipe) -> None:
    """This tap knows no keys, and columns that a record lacks are missing from it."""
    text = '[{"id": 1, "email": "a@example.com"}, {"id": 2, "mail": "b@example.com"}]'
    config = {"paths": [pipe.file("people.json", text)], "stream_name": "people"}
    assert pipe.run("tap-jsonfile", config)["rejected_by_code"] == {"no_identity": 1}
    assert list(pipe.contacts()) == ["1"]


def test_a_folder_of_csv_files_arrives(pipe: Pipe) -> None:
    """Everything is a text here, and empty cells are empty texts."""
    config = {"path": f"{projects.REPOSITORY}/demo", "read_mode": "merge", "stream_name": "people"}
    field_map = {"phone": "mobile", "sms": "mobile_opt_in", "newsletter": "email_opt_in"}
    counts = pipe.run("tap-csv-folder", config, field_map=field_map)
    assert counts["rejected_by_code"] == {"invalid_email": 1, "no_identity": 1}
    contacts = pipe.contacts("customer_no")
    assert contacts["1007"]["email_opt_in"] is True
    assert contacts["1007"]["mobile_opt_in"] is False
    assert contacts["1006"]["email_opt_in"] is None


def dbf(columns: dict[tuple[bytes, bytes, int], list[bytes]]) -> bytes:
    """Return a dBase III table of columns with a name, a kind and a width."""
    rows = [*zip(*columns.values(), strict=True)]
    width = 1 + sum(size for _, _, size in columns)
    head = struct.pack("<4BIHH20x", 3, 126, 1, 1, len(rows), 33 + 32 * len(columns), width)
    fields = [struct.pack("<11sc4xBB14x", name, kind, size, 0) for name, kind, size in columns]
    cells = [[b" ", *(c.ljust(n) for c, (*_, n) in zip(row, columns, strict=True))] for row in rows]
    return b"".join([head, *fields, b"\r", *(b"".join(row) for row in cells), b"\x1a"])


def test_a_dbase_table_arrives(pipe: Pipe) -> None:
    columns = {(b"ID", b"N", 6): [b"1", b"2"], (b"EMAILOPTIN", b"L", 1): [b"T", b"?"]}
    columns[(b"EMAIL", b"C", 30)] = [b"ingrid@example.com", b"amina@example.com"]
    columns[(b"BORN", b"D", 8)] = [b"19800501", b""]
    config = {"path": pipe.file("people.dbf", dbf(columns))}
    assert pipe.run("tap-dbf", config)["accepted"] == 2
    contacts = pipe.contacts("ID")
    assert contacts["1"]["email_opt_in"] is True
    assert contacts["1"]["properties"] == {"ID": "1", "BORN": "1980-05-01"}
    assert contacts["2"]["email_opt_in"] is None


# A database


def in_folder(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def test_a_database_table_arrives(
    tmp_path: Path, empty_postgresql: PostgreSQL, crm: RunningSandbox
) -> None:
    """10,000 rows of every common type, 2 % of them dirty, through Meltano, which selects them."""
    empty_postgresql.execute(in_folder("customers.sql"))
    project = Project(tmp_path)
    project.config["streams"] = {"public-customers": {"field_map": {"phone": "mobile"}}}
    environment = projects.as_environment(crm, RATE_LIMIT_REQUESTS="0")
    environment["TAP_POSTGRES_SQLALCHEMY_URL"] = empty_postgresql.url
    project.runs("tap-postgres", LOADER, prod=True, **environment)
    counts = project.report("public-customers")
    assert (counts["read"], counts["inserted"]) == (10_000, 9_800)
    assert counts["rejected_by_code"] == {"invalid_email": 100, "no_country_code": 100}
    everybody = crm.contacts()
    contacts = {c["properties"]["id"]: c for c in everybody if c["properties"]}
    # Of a rejected record only a "no" arrives, with the identity that is left.
    noes = [c for c in everybody if not c["properties"]]
    assert not any(c["email_opt_in"] or c["mobile_opt_in"] for c in noes)
    assert contacts["4"]["email_opt_in"] is True
    assert contacts["1"]["mobile_opt_in"] is True
    assert contacts["1"]["properties"] == json.loads(in_folder("customer-1.json"))
    assert contacts["9"]["mobile_opt_in"] is contacts["9"]["email_opt_in"] is None
    assert contacts["9"]["properties"]["born"] == "infinity"
