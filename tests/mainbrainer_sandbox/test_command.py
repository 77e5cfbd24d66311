"""`mainbrainer-sandbox`: what it prints, its exit codes, and how it stops."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from mainbrainer_sandbox.command import main
from mainbrainer_sandbox.switches import DECLARED
from tests.mainbrainer_sandbox.people import ADA, BOB, prop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mainbrainer_sandbox.conftest import Client, Run


def test_a_property_called_as_a_field_does_not_take_its_column(
    filled: Callable[..., Path], run_command: Run
) -> None:
    properties = prop("id", "own id") + prop("city", "own city")
    path = filled("a.db", {"email": "ada@example.com", "propertyFields": properties})
    _, out, _ = run_command("contacts", "--path", path)
    head, _, ada = (re.split(" {2,}", line) for line in out.splitlines())
    shown = dict(zip(head, ada, strict=True))
    assert (shown["id"], shown["property id"], shown["city"]) == ("1000001", "own id", "own city")


def test_batches_say_what_was_refused_and_why(crm: Client, run_command: Run) -> None:
    crm.batch(ADA, BOB)
    crm.batch(ADA, {"email": "no"})
    crm.sandbox.close()
    code, out, _ = run_command("batches", "--path", crm.sandbox.path)
    assert code == 0
    assert re.search("refused .*It is not an e-mail address.", out)
    out = run_command("batches", "--path", crm.sandbox.path, "--format", "json")[1]
    accepted, refused = json.loads(out)
    assert (accepted["inserted"], accepted["state"]) == (2, "completed")
    assert refused["details"]["problems"][0]["where"] == "createUpdateContacts[1].email"


# -- serve -----------------------------------------------------------------------------------


def test_a_port_in_use_is_an_error_that_says_what_to_do(
    crm: Client, run_command: Run, filled: Callable[..., Path]
) -> None:
    port = crm.sandbox.url.rpartition(":")[2]
    for command in ("serve", "page"):
        code, out, err = run_command(command, "--path", filled("a.db"), "--port", port)
        assert (code, out) == (2, "")
        assert f"port {port}: Address already in use. If it runs there already" in err


@pytest.mark.parametrize(
    "arguments", [["--clash", "x"], ["--fault", "x"], ["--burst", "x"], ["--plan", "none"]]
)
def test_a_wrong_option_is_an_error(run_command: Run, tmp_path: Path, arguments: list[str]) -> None:
    code, out, err = run_command("serve", "--path", tmp_path / "x.db", *arguments)
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
def test_serve_stops_on_a_signal_with_everything_processed(
    tmp_path: Path, run_command: Run, number: int
) -> None:
    path = tmp_path / "x.db"
    command = [sys.executable, "-m", "mainbrainer_sandbox", "serve", "--path", str(path)]
    options = ["--port", "0", "--fault", "503@1", "--fault", "late=60"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = "".join(process.stdout.readline() for _ in range(5))
        url = re.findall(r"http://127\.0\.0\.1:\d+", said)[0]
        token = re.findall(r"Access token: (\S+)", said)[0]
        headers = {"Authorization": f"Bearer {token}"}
        body = {"createUpdateContacts": [ADA]}
        for status in (503, 202):
            answer = requests.post(f"{url}/contacts/batch", json=body, headers=headers, timeout=9)
            assert answer.status_code == status
        process.send_signal(number)
        assert process.wait(20) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "ada@example.com" in run_command("contacts", "--path", path)[1]
