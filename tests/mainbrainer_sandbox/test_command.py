"""`mainbrainer-sandbox`: what it prints, its exit codes, and how it stops."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests

from mainbrainer_sandbox.command import main
from mainbrainer_sandbox.file import FORMAT
from mainbrainer_sandbox.switches import DECLARED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mainbrainer_sandbox.conftest import Client

    Run = Callable[..., tuple[int, str, str]]

ADA: dict[str, Any] = {
    "email": "ada@example.com",
    "emailOptIn": True,
    "propertyFields": [
        {"propertyName": "city", "propertyValue": "Oslo"},
        {"propertyName": "note", "propertyValue": 'a "quoted",\nsecond line\x1b[31m'},
    ],
}
BOB: dict[str, Any] = {"mobileCountryCode": 44, "mobileNumber": 7700900001, "mobileOptIn": False}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[int, str, str]:
        code = main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return command


@pytest.fixture
def filled(make: Callable[..., Client]) -> Callable[..., Path]:
    """Return the path of a sandbox file with these contacts in it."""

    def fill(name: str, *contacts: dict[str, Any]) -> Path:
        crm = make(name)
        for contact in contacts:
            crm.single(**contact)
        crm.sandbox.close()
        return crm.sandbox.path

    return fill


def test_contacts_as_a_table(filled: Callable[..., Path], run: Run) -> None:
    code, out, _ = run("contacts", "--path", filled("a.db", ADA, BOB))
    assert code == 0
    head, rule, ada, bob = out.splitlines()
    assert head.split() == [
        "id",
        "mobile",
        "email",
        "mobile_opt_in",
        "email_opt_in",
        "city",
        "note",
    ]
    assert set(rule) == {"-", " "}
    assert ada.startswith("1000001")
    assert "ada@example.com  no consent" in ada
    assert re.search(r"1000002  \+44 7700900001\s+false\s+no consent$", bob)
    # What a contact's data holds cannot move the cursor or add lines.
    assert "\x1b" not in out


def test_contacts_as_json_and_csv(filled: Callable[..., Path], run: Run) -> None:
    path = filled("a.db", ADA, BOB)
    code, out, _ = run("contacts", "--path", path, "--format", "json")
    assert code == 0
    ada, bob = json.loads(out)
    assert ada["properties"]["city"] == "Oslo"
    assert bob["mobile_opt_in"] is False
    code, out, _ = run("contacts", "--path", path, "--format", "csv")
    assert code == 0
    first, _ = csv.DictReader(io.StringIO(out))
    assert first["note"] == 'a "quoted",\nsecond line\x1b[31m'
    assert first["email_opt_in"] == "true"


def test_a_property_called_as_a_field_does_not_take_its_column(
    filled: Callable[..., Path], run: Run
) -> None:
    properties = [{"propertyName": name, "propertyValue": f"own {name}"} for name in ("id", "city")]
    path = filled("a.db", {"email": "ada@example.com", "propertyFields": properties})
    _, out, _ = run("contacts", "--path", path, "--format", "csv")
    (ada,) = csv.DictReader(io.StringIO(out))
    assert (ada["id"], ada["property id"], ada["city"]) == ("1000001", "own id", "own city")


@pytest.mark.parametrize(("form", "expected"), [("table", ""), ("json", "[]\n"), ("csv", "")])
def test_no_contacts(filled: Callable[..., Path], run: Run, form: str, expected: str) -> None:
    assert run("contacts", "--path", filled("a.db"), "--format", form) == (0, expected, "")


def test_batches_say_what_was_refused_and_why(make: Callable[..., Client], run: Run) -> None:
    crm = make()
    crm.batch(ADA, BOB)
    crm.batch(ADA, {"email": "no"})
    crm.sandbox.close()
    code, out, _ = run("batches", "--path", crm.sandbox.path)
    assert code == 0
    assert "refused" in out
    assert "It is not an e-mail address." in out
    _, out, _ = run("batches", "--path", crm.sandbox.path, "--format", "json")
    accepted, refused = json.loads(out)
    assert (accepted["inserted"], accepted["state"]) == (2, "completed")
    assert refused["details"]["problems"][0]["where"] == "createUpdateContacts[1].email"


def test_a_file_can_be_looked_at_while_it_is_in_use(crm: Client, run: Run) -> None:
    crm.single(**ADA)
    code, out, _ = run("contacts", "--path", crm.sandbox.path)
    assert (code, "ada@example.com" in out) == (0, True)
    code, _, err = run("reset", "--path", crm.sandbox.path, "--yes")
    assert (code, "in use" in err) == (2, True)


@pytest.mark.parametrize("command", ["contacts", "batches", "reset"])
def test_a_file_that_is_none_is_an_error(run: Run, tmp_path: Path, command: str) -> None:
    code, out, err = run(command, "--path", tmp_path / "none.db")
    assert (code, out) == (2, "")
    assert err.startswith("mainbrainer-sandbox: There is no sandbox file at ")
    assert not list(tmp_path.iterdir())
    (tmp_path / "text.db").write_text("text")
    code, _, err = run(command, "--path", tmp_path / "text.db", *["--yes"][: command == "reset"])
    assert (code, "is not a sandbox file" in err) == (2, True)


def test_a_file_of_another_version_is_an_error(filled: Callable[..., Path], run: Run) -> None:
    path = filled("a.db", ADA)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = '1' WHERE key = 'format'")
    code, _, err = run("contacts", "--path", path)
    assert (code, "another version" in err) == (2, True)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'format'", (FORMAT,))
        connection.execute("DROP TABLE contacts")
    code, _, err = run("contacts", "--path", path)
    assert (code, "cannot be used" in err) == (2, True)


def test_reset_forgets_everything_but_asks(filled: Callable[..., Path], run: Run) -> None:
    path = filled("a.db", ADA)
    code, _, err = run("reset", "--path", path)
    assert (code, "--yes" in err) == (2, True)
    assert "ada@example.com" in run("contacts", "--path", path)[1]
    assert run("reset", "--path", path, "--yes") == (0, "", "")
    assert run("contacts", "--path", path, "--format", "json")[1] == "[]\n"


# -- diff ------------------------------------------------------------------------------------


def test_equal_files_do_not_differ_whatever_the_ids(filled: Callable[..., Path], run: Run) -> None:
    first, second = filled("a.db", ADA, BOB), filled("b.db", BOB, ADA)
    assert run("diff", first, second) == (0, "0 added, 0 removed, 0 changed\n", "")
    assert run("diff", first, second, "--format", "csv") == (0, "", "")


def test_a_difference_is_said_property_by_property(filled: Callable[..., Path], run: Run) -> None:
    changed = {
        **ADA,
        "emailOptIn": False,
        "propertyFields": [
            {"propertyName": "city", "propertyValue": "Bergen"},
            {"propertyName": "new", "propertyValue": "x"},
        ],
    }
    carl = {"email": "carl@example.com", "listId": "3fa85f64-5717-4562-b3fc-2c963f66afa6"}
    first, second = filled("a.db", BOB, ADA), filled("b.db", changed, carl)
    code, out, _ = run("diff", first, second, "--format", "json")
    assert code == 1
    by_change = {one["change"]: one for one in json.loads(out)}
    assert by_change["changed"]["email"] == "ada@example.com"
    assert by_change["changed"]["ids"] == [1000002, 1000001]
    assert by_change["changed"]["fields"] == [
        ["email_opt_in", "true", "false"],
        ["property city", "Oslo", "Bergen"],
        ["property new", None, "x"],
        ["property note", 'a "quoted",\nsecond line\x1b[31m', None],
    ]
    assert by_change["removed"]["mobile"] == "+44 7700900001"
    assert ["lists", None, "3fa85f64-5717-4562-b3fc-2c963f66afa6"] in by_change["added"]["fields"]
    code, out, _ = run("diff", first, second)
    assert code == 1
    assert out.splitlines()[:5] == [
        "1 added, 1 removed, 1 changed",
        "email_opt_in true -> false: 1 contact",
        "property city changed: 1 contact",
        "property note removed: 1 contact",
        "property new added: 1 contact",
    ]


def test_a_renamed_column_is_one_line_before_the_first_contacts(
    filled: Callable[..., Path], run: Run
) -> None:
    def people(column: str) -> list[dict[str, Any]]:
        return [
            {
                "email": f"p{n}@example.com",
                "propertyFields": [
                    {"propertyName": column, "propertyValue": f"City {n % 5}"},
                    {
                        "propertyName": "size",
                        "propertyValue": "L" if column == "town" and n else "M",
                    },
                ],
            }
            for n in range(30)
        ]

    first, second = filled("a.db", *people("city")), filled("b.db", *people("town"))
    code, out, _ = run("diff", first, second)
    assert code == 1
    lines = out.splitlines()
    assert lines[:4] == [
        "0 added, 0 removed, 30 changed",
        "property city -> town: 30 contacts",
        "property size changed: 29 contacts",
        "",
    ]
    assert lines[-1] == "... and 10 more contacts; --all shows them."
    _, out, _ = run("diff", first, second, "--all")
    assert sum("property town" in line for line in out.splitlines()) == 30


def test_diff_has_an_exit_code_for_errors(run: Run, tmp_path: Path) -> None:
    assert run("diff", tmp_path / "a.db", tmp_path / "b.db")[0] == 2


# -- serve -----------------------------------------------------------------------------------


def test_a_port_in_use_is_an_error_that_says_what_to_do(
    crm: Client, run: Run, filled: Callable[..., Path]
) -> None:
    port = crm.sandbox.url.rpartition(":")[2]
    for command in ("serve", "page"):
        code, out, err = run(command, "--path", filled("a.db"), "--port", port)
        assert (code, out) == (2, "")
        assert f"port {port}: Address already in use. If it runs there already" in err


@pytest.mark.parametrize(
    "arguments", [["--clash", "x"], ["--fault", "x"], ["--burst", "x"], ["--plan", "none"]]
)
def test_a_wrong_option_is_an_error(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    code, out, err = run("serve", "--path", tmp_path / "x.db", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("mainbrainer-sandbox: ")


def test_help_names_every_switch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["serve", "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for name in DECLARED:
        assert f"--{name.replace('_', '-')}" in text
    assert "What the real API does is unknown." in " ".join(text.split())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_stops_on_a_signal_with_everything_processed(tmp_path: Path, number: int) -> None:
    path = tmp_path / "x.db"
    command = [sys.executable, "-m", "mainbrainer_sandbox", "serve", "--path", str(path)]
    options = ["--port", "0", "--fault", "503@1", "--fault", "late=60"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(5))
        url = re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        token = re.findall(r"Access token: (\S+)", said)[0]
        headers = {"Authorization": f"Bearer {token}"}
        body = {"createUpdateContacts": [ADA]}
        answers = [
            requests.post(
                f"{url}/contacts/batch", json=body, headers=headers, timeout=9
            ).status_code
            for _ in range(2)
        ]
        process.send_signal(number)
        assert process.wait(20) == 0
    assert answers == [503, 202]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    done = subprocess.run(  # noqa: S603
        [*command[:3], "contacts", "--path", str(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert "ada@example.com" in done.stdout
