"""The sandbox is a process of its own that ends with the run."""

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

import mainbrainer_sandbox as sandbox
from target_mainbrainer import local_sandbox
from target_mainbrainer.errors import SettingsError
from tests.loads import cases, wait_until

PEOPLE = [{"email": f"person{n}@example.com"} for n in range(30)]
# Starts a sandbox, says where it is and waits.
PARENT = """
import json, sys, time
from target_mainbrainer import local_sandbox
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
    path = tmp_path / "crm.db"
    command = [sys.executable, "-c", PARENT, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        url, token = json.loads(t.cast("t.IO[str]", parent.stdout).readline())
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
