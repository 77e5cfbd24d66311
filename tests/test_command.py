"""The command line as a shell sees it."""

import json
import os
import signal
import subprocess
import sys
import typing as t
from contextlib import closing
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

import mainbrainer_sandbox as sandbox
from target_mainbrainer import cli, local_sandbox
from target_mainbrainer.errors import SettingsError
from tests.loads import Load, cases, wait_until


def test_check_confirms_settings_that_work(load: Load) -> None:
    """A sandbox needs no account."""
    sandbox = {"sandbox_path": str(load.folder / "crm.db")}
    works = {"does not refuse the access token": load.settings, "starts and can be used": sandbox}
    works["issued an access token"] = {"api_url": load.crm.url} | load.credentials
    for said, config in works.items():
        result = load.invoke("--check", **config)
        assert result.exit_code == 0, result.output
        assert "The settings are complete" in result.output
        assert said in result.output
    assert load.crm.contacts() == []


def test_check_finds_what_is_wrong(load: Load) -> None:
    missing, text = load.folder / "missing", load.folder / "notes.txt"
    text.write_text("This is no database, and it shall stay as it is. " * 100)
    for config, said in (
        (load.settings | {"access_token": "wrong"}, "refused the access token"),
        ({}, "Set either 'access_token' or all of"),
        (
            load.settings | {"rejects_path": f"{missing}/r.singer"},
            "Setting 'rejects_path': the folder",
        ),
        ({"api_url": load.crm.url} | load.credentials | {"password": "wrong"}, "the credentials"),
        ({"sandbox_path": f"{missing}/crm.db"}, "Setting 'sandbox_path': the folder of"),
        ({"sandbox_path": str(load.folder)}, "is a folder; name a file in it"),
        ({"sandbox_path": str(text)}, f"Setting 'sandbox_path': {text} is not a sandbox file"),
    ):
        assert load.invoke("--check", **config).exit_code == 1
        assert said in load.caplog.text
        assert "fault of target-mainbrainer" not in load.caplog.text


@cases(
    "name reason",
    ("report_path", "cannot be written (it is another file)"),
    ("rejects_path", "cannot be written (it is not a rejects file)"),
    ("ledger_uri", "The file is damaged or no SQLite database"),
)
def test_the_configuration_file_is_not_written_over(load: Load, name: str, reason: str) -> None:
    config = load.settings | {name: str(load.folder / "." / "config.json")}
    assert load.invoke(**config).exit_code == 1
    assert reason in load.caplog.text
    assert json.loads((load.folder / "config.json").read_text()) == config


@cases("name", "suppression_path", "rejects_path", "ledger_uri", "the input")
def test_the_report_overwrites_no_file(load: Load, name: str) -> None:
    """Not even the report of a run that fails because of it."""
    path = load.folder / "taken"
    path.write_text("taken")
    arguments = ["--input", str(path)] if name == "the input" else []
    other = {} if name == "the input" else {name: str(path)}
    config = load.settings | {"report_path": str(load.folder / "." / "taken")} | other
    assert load.invoke(*arguments, **config).exit_code == 1
    assert path.read_text() == "taken"


@cases(
    "content expected",
    ("{", "cannot be read: it is not a JSON object."),
    ('["api_url"]', "cannot be read: it is not a JSON object."),
    (None, "cannot be read: No such file or directory."),
)
def test_a_broken_configuration(tmp_path: Path, content: str | None, expected: str) -> None:
    """A broken configuration is an error in one sentence."""
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    result = CliRunner().invoke(cli.command(), ["--config", str(path)])
    assert result.exit_code == 2
    assert expected in result.output
    assert "Traceback" not in result.output


# The sandbox is a process of its own that ends with the run


PEOPLE = [{"email": f"person{n}@example.com"} for n in range(30)]
# Starts a sandbox, says where it is and waits; it does not end when a terminal is closed.
PARENT = """
import json, signal, sys, time
from target_mainbrainer import local_sandbox
signal.signal(signal.SIGHUP, lambda *_: None)
started = local_sandbox.start(sys.argv[1])
print(json.dumps([started.url, started.token]), flush=True)
time.sleep(60)
"""


def post(url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    body = {"createUpdateContacts": PEOPLE}
    answer = requests.post(f"{url}/contacts/batch", json=body, headers=headers, timeout=20)
    assert answer.status_code == 202


def count(path: Path) -> int:
    assert list(path.parent.iterdir()) == [path], "closed, it is one file"
    with sandbox.start(path) as crm:
        return len(crm.contacts())


@cases("number", signal.SIGTERM, signal.SIGKILL)
def test_it_ends_with_the_process_that_started_it(tmp_path: Path, number: int) -> None:
    """But not with its terminal, whose signal reaches all: requests in flight may still finish."""
    path = tmp_path / "crm.db"
    command = [sys.executable, "-c", PARENT, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as parent:
        url, token = json.loads(t.cast("t.IO[str]", parent.stdout).readline())
        os.killpg(parent.pid, signal.SIGHUP)
        for _ in range(5):
            post(url, token)
        parent.send_signal(number)
    # The sandbox gives up its lock when everything else is done.
    wait_until(lambda: list(tmp_path.iterdir()) == [path])
    assert count(path) == len(PEOPLE)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux's /proc")
def test_its_token_is_on_no_command_line(tmp_path: Path) -> None:
    with closing(local_sandbox.start(str(tmp_path / "crm.db"))) as started:
        commands = [p for p in Path("/proc").glob("[0-9]*/cmdline") if os.access(p, os.R_OK)]
        lines = [command.read_bytes() for command in commands]
        assert any(str(tmp_path).encode() in line for line in lines)
        assert not any(started.token.encode() in line for line in lines)


def test_a_file_in_use_is_an_error_with_advice(tmp_path: Path) -> None:
    """And what was accepted is in the file when it is closed, with no file beside it."""
    path = tmp_path / "crm.db"
    with closing(local_sandbox.start(str(path))) as started:
        with pytest.raises(SettingsError, match=r"in use by another sandbox. Stop that one"):
            local_sandbox.start(str(path))
        post(started.url, started.token)
    assert count(path) == len(PEOPLE)


def test_a_page_of_the_file_may_be_open_meanwhile(tmp_path: Path) -> None:
    """`make demo` while `make page` is open."""
    path = str(tmp_path / "crm.db")
    local_sandbox.start(path).close()
    command = [sys.executable, "-m", "mainbrainer_sandbox", "page", "--path", path, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as page:
        line = t.cast("t.IO[str]", page.stdout).readline()
        shown = line.split("shown at ")[1].split(";")[0]
        with closing(local_sandbox.start(path)) as started:
            post(started.url, started.token)
            assert "person1@example.com" in requests.get(shown, timeout=20).text
        assert "person1@example.com" in requests.get(shown, timeout=20).text
        page.send_signal(signal.SIGINT)
        assert page.wait(20) == 0
