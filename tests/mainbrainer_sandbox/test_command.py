"""`mainbrainer-sandbox`: what it prints, its files, its exit codes, and how it stops."""

import contextlib
import json
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import requests

import mainbrainer_sandbox as sandbox
from mainbrainer_sandbox.file import FORMAT, StoreError, connect
from mainbrainer_sandbox.switches import DECLARED
from tests.loads import cases
from tests.mainbrainer_sandbox.crm import ADA, BOB, LISTS, NOTE, Crm, Record, prop

# Contacts and batches


def test_contacts_as_a_table_and_as_json(crm: Crm) -> None:
    path = crm.file("a.db", ADA, BOB)
    head, rule, ada, bob = crm.prints("contacts", path).splitlines()
    assert " ".join(head.split()) == "id mobile email mobile_opt_in email_opt_in city note"
    assert set(rule) == {"-", " "}
    assert ada.startswith("1000001")
    assert "ada@example.com  no consent" in ada
    assert re.search(r"1000002  \+44 7700900001\s+false\s+no consent$", bob)
    assert "\x1b" not in ada, "what a contact's data holds cannot move the cursor or add lines"
    first, second = json.loads(crm.prints("contacts", path, "--format", "json"))
    assert first["properties"] == {"city": "Oslo", "note": NOTE}
    assert (first["email_opt_in"], second["mobile_opt_in"]) == (True, False)
    empty = crm.file("b.db")
    shown = [crm.prints("contacts", empty, "--format", form) for form in ("table", "json")]
    assert shown == ["", "[]\n"]


def test_batches_show_refusals_and_reasons(crm: Crm) -> None:
    crm.batch(ADA, BOB)
    crm.batch(ADA, {"email": "no"})
    crm.sandbox.close()
    printed = crm.prints("batches", crm.sandbox.path)
    assert re.search("refused .*It is not an e-mail address.", printed)
    accepted, refused = json.loads(crm.prints("batches", crm.sandbox.path, "--format", "json"))
    assert (accepted["inserted"], accepted["state"]) == (2, "completed")
    assert refused["details"]["problems"][0]["where"] == "createUpdateContacts[1].email"


# `diff`: what differs, by field and by contact


def test_equal_files_with_other_ids_do_not_differ(crm: Crm) -> None:
    first, second = crm.file("a.db", ADA, BOB), crm.file("b.db", BOB, ADA)
    assert crm.run("diff", first, second) == (0, "0 added, 0 removed, 0 changed\n", "")
    assert crm.run("diff", first, second, "--format", "json") == (0, "[]\n", "")
    assert crm.run("diff", first, "none.db")[0] == 2


def test_differences_are_counted_by_field_and_then_shown_by_contact(crm: Crm) -> None:
    """The most frequent come first; `--format json` shows all contacts."""
    changed = {**ADA, "emailOptIn": False, "propertyFields": prop("city", "Bergen") + prop("new")}
    carl = {"email": "carl@example.com", "listId": LISTS[0]}
    before, after = (
        [{"email": f"p{n}@example.com", "propertyFields": prop("size", size)} for n in range(24)]
        for size in "ML"
    )
    files = crm.file("a.db", BOB, ADA, *before), crm.file("b.db", changed, carl, *after)
    code, out, _ = crm.run("diff", *files, "--format", "json")
    found = {one["email"] or one["mobile"]: one for one in json.loads(out)}
    assert (code, len(found)) == (1, 24 + 3)
    ada = found["ada@example.com"]
    assert (ada["change"], ada["ids"]) == ("changed", [1000002, 1000001])
    assert ada["fields"] == [
        *(["email_opt_in", "true", "false"], ["property city", "Oslo", "Bergen"]),
        *(["property new", None, "x"], ["property note", NOTE, None]),
    ]
    changes = [found[who]["change"] for who in ("+44 7700900001", "carl@example.com")]
    assert changes == ["removed", "added"]
    assert ["lists", None, LISTS[0]] in found["carl@example.com"]["fields"]
    code, out, _ = crm.run("diff", *files)
    assert (code, out.splitlines()[:6]) == (
        1,
        [
            "1 added, 1 removed, 25 changed",
            *("property size changed: 24", "email_opt_in true -> false: 1"),
            *(f"property {what}: 1" for what in ("city changed", "new added", "note removed")),
        ],
    )
    assert out.endswith("... and 7 more contacts; --format json shows them.\n")


# Which files are a sandbox's, and who may use them


def test_a_file_is_its_owners_alone_and_has_one_sandbox_at_a_time(crm: Crm) -> None:
    crm.single(email="a@example.com")
    crm.sandbox.path.chmod(0o644)
    connect(crm.sandbox.path, write=True).close()
    for path in crm.sandbox.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    with pytest.raises(StoreError, match="in use"):
        crm.another("x.db")
    crm.again()


@cases("command", "contacts", "batches", "delete a@example.com")
def test_a_file_that_is_none_is_an_error(crm: Crm, tmp_path: Path, command: str) -> None:
    path = tmp_path / "none" / "text.db"
    path.parent.mkdir()
    code, out, err = crm.run(*command.split(), "--path", path)
    assert (code, out) == (2, "")
    assert err.startswith("mainbrainer-sandbox: There is no sandbox file at ")
    assert not list(path.parent.iterdir())
    text = "not a database, but long enough to look like something " * 40
    path.write_text(text)
    code, _, err = crm.run(*command.split(), "--path", path)
    assert (code, "is not a sandbox file" in err) == (2, True)
    with pytest.raises(StoreError):
        sandbox.start(path)
    assert path.read_text() == text


def test_a_file_of_another_version_is_an_error(crm: Crm) -> None:
    path = crm.file("a.db", ADA)
    for sql, said in (
        ("UPDATE meta SET value = '1' WHERE key = 'format'", "another version"),
        (f"UPDATE meta SET value = '{FORMAT}'; DROP TABLE contacts", "cannot be used"),  # noqa: S608
    ):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(sql)
        code, _, err = crm.run("contacts", "--path", path)
        assert (code, said in err) == (2, True)


# `serve`


@cases("command", "serve", "page")
def test_a_port_in_use_is_an_error_with_advice(crm: Crm, command: str) -> None:
    port = crm.sandbox.url.rpartition(":")[2]
    code, out, err = crm.run(command, "--path", crm.file("a.db"), "--port", port)
    assert (code, out) == (2, "")
    assert f"port {port}: Address already in use. If it runs there already" in err
    with pytest.raises(SystemExit, match="2"):
        crm.run(command, "--path", crm.file("a.db"), "--port", "99999")


@cases("options", "--clash x", "--fault x", "--burst x", "--plan none")
def test_a_wrong_option_is_an_error(crm: Crm, tmp_path: Path, options: str) -> None:
    code, out, err = crm.run("serve", "--path", tmp_path / "new.db", *options.split())
    assert (code, out) == (2, "")
    assert err.startswith("mainbrainer-sandbox: ")
    assert not (tmp_path / "new.db").exists()


def test_help_names_every_switch(crm: Crm) -> None:
    with pytest.raises(SystemExit, match="0"):
        crm.run("serve", "--help")
    text = crm.printed.readouterr().out
    assert [name for name in DECLARED if f"--{name.replace('_', '-')}" not in text] == []
    assert "What the real API does is unknown." in " ".join(text.split())


@cases("number", signal.SIGTERM, signal.SIGINT)
def test_serve_stops_with_everything_processed(crm: Crm, tmp_path: Path, number: int) -> None:
    """A signal stops `serve` once everything is processed."""
    path = tmp_path / "served.db"
    command = [sys.executable, "-m", "mainbrainer_sandbox", "serve", "--path", str(path)]
    options = ["--port", "0", "--fault", "503@1", "--fault", "late=60"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        stdout = t.cast("t.IO[str]", process.stdout)
        said = "".join(stdout.readline() for _ in range(5))
        url = re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        token = re.findall(r"Access token: (\S+)", said)[0]
        sent: Record = {"json": {"createUpdateContacts": [ADA]}}
        sent |= {"headers": {"Authorization": f"Bearer {token}"}}
        for status in (503, 202):
            answer = requests.post(f"{url}/contacts/batch", timeout=9, **sent)
            assert answer.status_code == status
        process.send_signal(number)
        assert process.wait(20) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "ada@example.com" in crm.prints("contacts", path)
