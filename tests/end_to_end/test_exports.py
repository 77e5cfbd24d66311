"""Exports of other systems arrive as the same contacts through every tap that reads them.

The header rows are those that the systems write; the rows are ours. The settings are those that
the hints of the log advise, and what only the user can know: which number to take, and which
column is a yes.
"""

from __future__ import annotations

import csv
import io
import json
import re
import typing as t

import pytest

from tests.projects import TOOLS, clean_environment, needs_tools, printed

if t.TYPE_CHECKING:
    from pathlib import Path

    from tests.messages import Night, Record

pytestmark = [needs_tools, pytest.mark.xdist_group("exports")]

INGRID, AASE, AMINA, TOM = (f"{name}@example.com" for name in ("ingrid", "aase", "amina", "tom"))
NORWAY, BRITAIN = 90812501, 7700900123


class Export(t.NamedTuple):
    """A file as a system writes it.

    Attributes:
        header: The names of its columns.
        rows: The cells that are not empty, by column.
        field_map: What the user decides.
        contacts: The contacts that arrive: address, number, opt-in to e-mail and to SMS.
        rejected: How many rows are rejected, by code.
        delimiter: Between two columns.
        start: What stands before the header.
    """

    header: str
    rows: list[dict[str, str]]
    field_map: dict[str, str]
    contacts: set[tuple[str | None, int | None, bool | None, bool | None]]
    rejected: t.Mapping[str, int] = {}
    delimiter: str = ","
    start: str = ""

    def text(self, delimiter: str) -> str:
        out = io.StringIO(newline="")
        columns = self.header.replace("\n", "").split(",")
        table = csv.DictWriter(out, columns, restval="", delimiter=delimiter)
        table.writeheader()
        table.writerows([*self.rows, {}, {}])
        return self.start + out.getvalue()


EXPORTS = {
    "hubspot": Export(
        """Record ID,First Name,Last Name,Email,Phone Number,Mobile Phone Number,Contact owner,
Last Activity Date,Lead Status,Marketing contact status,Create Date,Associated Company,
Unsubscribed from all email,Opted out of email: Marketing Information,Country/Region""",
        [
            {"Record ID": "901", "Email": INGRID, "Mobile Phone Number": "+47 908 12 501"}
            | {"Marketing contact status": "Marketing contact"}
            | {"Unsubscribed from all email": "true"},
            {"Record ID": "902", "Email": AASE, "Phone Number": "+44 7700 900123"}
            | {"Last Name": "Lund, Jr.", "Opted out of email: Marketing Information": "true"},
            {"Record ID": "903", "Email": TOM, "Create Date": "2025-01-02 09:30"},
        ],
        {"Mobile Phone Number": "mobile"},
        {(INGRID, NORWAY, False, None), (AASE, None, False, None), (TOM, None, None, None)},
    ),
    "mailchimp": Export(
        """Email Address,First Name,Last Name,Address,Phone Number,Birthday,MEMBER_RATING,
OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,LATITUDE,LONGITUDE,GMTOFF,DSTOFF,TIMEZONE,CC,REGION,
UNSUB_TIME,UNSUB_CAMPAIGN_TITLE,UNSUB_CAMPAIGN_ID,UNSUB_REASON,UNSUB_REASON_OTHER,LEID,EUID,NOTES,
TAGS""",
        [
            {"Email Address": INGRID, "Address": "Storgata 1\n0155  Oslo"}
            | {"OPTIN_TIME": "2025-01-02 09:30:00", "UNSUB_TIME": "2026-01-02 09:30:00"}
            | {"UNSUB_REASON": "NORMAL (No longer interested)", "TAGS": '"VIP","Blog"'},
            {"Email Address": AMINA, "OPTIN_TIME": "2025-01-02 09:30:00"},
        ],
        {"Email Address": "email", "Phone Number": "mobile"},
        {(INGRID, None, False, None), (AMINA, None, None, None)},
    ),
    "shopify": Export(
        """Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Default Address Company,
Default Address Address1,Default Address Address2,Default Address City,
Default Address Province Code,Default Address Country Code,Default Address Zip,
Default Address Phone,Phone,Accepts SMS Marketing,Total Spent,Total Orders,Note,Tax Exempt,Tags""",
        [
            {"Customer ID": "'7210448301122", "Email": INGRID, "Phone": "'+4790812501"}
            | {"Accepts Email Marketing": "yes", "Accepts SMS Marketing": "no"}
            | {"Note": 'likes\n"long" letters'},
            {"Customer ID": "'7210448301123", "Email": AMINA}
            | {"Accepts Email Marketing": "no", "Accepts SMS Marketing": "no"},
            {"Customer ID": "'7210448301124", "Accepts Email Marketing": "no"},
        ],
        {"Phone": "mobile", "Accepts SMS Marketing": "mobile_opt_in"}
        | {"Accepts Email Marketing": "email_opt_in"},
        {(INGRID, NORWAY, True, False), (AMINA, None, False, False)},
        {"no_identity": 1},
    ),
    "google": Export(
        """First Name,Middle Name,Last Name,Phonetic First Name,Phonetic Middle Name,
Phonetic Last Name,Name Prefix,Name Suffix,Nickname,File As,Organization Name,Organization Title,
Organization Department,Birthday,Notes,Photo,Labels,E-mail 1 - Label,E-mail 1 - Value,
E-mail 2 - Label,E-mail 2 - Value,Phone 1 - Label,Phone 1 - Value""",
        [
            {"First Name": "Ingrid", "Notes": "first line\nsecond line"}
            | {"E-mail 1 - Value": INGRID, "Phone 1 - Value": "+47 908 12 501"}
            | {"Labels": "* myContacts"},
            {"First Name": "A", "E-mail 1 - Value": f"{AMINA} ::: amina@example.org"},
            {"First Name": "T", "Phone 1 - Value": "+44 7700 900123 ::: +44 7700 900456"},
        ],
        {"E-mail 1 - Value": "email", "Phone 1 - Value": "mobile"},
        {(INGRID, NORWAY, None, None)},
        {"invalid_email": 1, "invalid_mobile": 1},
    ),
    "outlook": Export(
        """First Name,Middle Name,Last Name,Title,Suffix,Initials,Web Page,Gender,Birthday,
Anniversary,Location,Language,Internet Free Busy,Notes,E-mail Address,E-mail 2 Address,
E-mail 3 Address,Primary Phone,Home Phone,Home Phone 2,Mobile Phone,Pager,Home Fax,Home Street,
Home City,Home Postal Code,Home Country/Region,Company,Categories""",
        [
            {"First Name": "Åse", "E-mail Address": AASE, "Mobile Phone": "908 12 501"}
            | {"Notes": "a note; of\ntwo lines"},
            {"First Name": "Amina", "Birthday": "0/0/00", "Mobile Phone": "+44 7700 900123"},
        ],
        {"E-mail Address": "email", "Mobile Phone": "mobile"},
        {(AASE, NORWAY, None, None), (None, BRITAIN, None, None)},
        delimiter=";",
        start="\ufeff",
    ),
    "woocommerce": Export(
        """Name,Username,Last Active,Sign Up,Email,Orders,Total Spend,AOV,Country / Region,City,
Region,Postal Code""",
        [
            {"Name": "Ingrid", "Email": INGRID, "Orders": "2", "AOV": "39.9"},
            {"Name": "A guest", "Orders": "1", "AOV": "12.5"},
        ],
        {},
        {(INGRID, None, None, None)},
        {"no_identity": 1},
    ),
    "woocommerce_users": Export(
        """ID,user_login,user_registered,display_name,roles,billing_first_name,billing_last_name,
billing_email,billing_phone,billing_postcode,billing_city,billing_country""",
        [
            {"ID": "7", "billing_email": INGRID, "billing_phone": "90812501"},
            {"ID": "8", "billing_phone": "07700900123", "billing_country": "GB"},
        ],
        {"billing_phone": "mobile", "billing_email": "email", "billing_country": "mobile_country"},
        {(INGRID, NORWAY, None, None), (None, BRITAIN, None, None)},
    ),
}


def with_tap_csv(folder: Path) -> tuple[str, Record]:
    """Everything in one folder; the tap guesses the type of each column."""
    for name, export in EXPORTS.items():
        (folder / f"{name}.csv").write_text(export.text(","), newline="")
    return "tap-csv", {"path": str(folder), "read_mode": "one_stream_per_file"}


def with_tap_spreadsheets(folder: Path) -> tuple[str, Record]:
    """File by file, with a delimiter of its own; the tap changes the names of columns."""
    files = []
    for name, export in EXPORTS.items():
        path = folder / f"{name}.csv"
        path.write_text(export.text(export.delimiter), newline="")
        file = {"path": str(path), "format": "csv", "table_name": name, "quote_char": '"'}
        files.append(file | {"primary_keys": [], "delimiter": export.delimiter})
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
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    env = clean_environment(folder / "home")
    return tap, printed(TOOLS / "bin" / tap, "--config", path, env=env).splitlines()


def advised(log: str) -> Record:
    """Return the stream maps that the log advises, and the columns that it leaves out then."""
    settings: Record = {}
    for hint in re.findall(r'invert it: (".+)\.$', log, re.MULTILINE):
        settings |= json.loads(f"{{{hint}}}")
    return settings


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_arrives(night: Night, read: tuple[str, list[str]], name: str) -> None:
    """Several lines in a cell, empty rows and a byte order mark too; no unsubscribe is a yes."""
    export, (tap, lines) = EXPORTS[name], read
    column = NAMES[tap]
    stream = [line for line in lines if f'"stream":"{name}"' in line]
    first = night.run(*stream, dry_run=True, max_rejects=10)
    settings = advised(first.log)
    assert ("stream_maps" in settings) == (name in {"hubspot", "mailchimp"})
    chosen = {column(key): field for key, field in export.field_map.items()}
    for key, field in chosen.items():
        if field in {"email", "mobile"}:
            assert f'"{key}": "{field}"' in first.log, "the hint that the user follows"
    settings["field_map"] = settings.get("field_map", {}) | chosen
    settings |= {"default_country_code": 47, "max_rejects": 10, "max_rejects_percent": 100}
    counts = night.ok(*stream, **settings).report["streams"][name]
    assert counts["rejected_by_code"] == export.rejected
    assert (counts["omitted"], counts["read"]) == (2, len(export.rows) + 2)
    contacts = night.crm.contacts()
    fields = ("email", "mobile_number", "email_opt_in", "mobile_opt_in")
    found = [tuple(contact[field] for field in fields) for contact in contacts]
    assert len(found) == len(export.contacts)
    assert set(found) == export.contacts
    cells = {value for row in export.rows for value in row.values() if "\n" in value}
    assert cells <= {value for contact in contacts for value in contact["properties"].values()}
