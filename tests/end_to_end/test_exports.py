"""Exports of other systems arrive as the same contacts through every tap that reads them.

The header rows of `exports/` are those that the systems write; the rows are ours. The settings are
those that the hints of the log advise, and what only the user can know: which number to take, and
which column is a yes.
"""

import csv
import io
import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from tests.loads import Load, Record, cases
from tests.projects import lines_of, needs_tools

pytestmark = [needs_tools, pytest.mark.xdist_group("exports")]
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
