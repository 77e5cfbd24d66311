"""Failures arrive as `docs/failures.md` says: in these words, with this exit code and STATE."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import typing as t

import pytest

from tests.full_disk import fill_disk
from tests.messages import person, record, schema, state
from tests.pages import page, pattern
from tests.projects import BIN, LOADER, clean_environment

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Ended, RunTarget

PAGE = page("docs/failures.md")

GOOD = [schema(), *(person(number) for number in range(1, 6))]
BAD = person(6, email="cut-off@")
STATE = state(bookmark=1)
MOVED = [{"bookmark": 1}]
A_LIST = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
POISONED = [schema(), *(person(n, firstname="x" if n in {2, 5} else "y") for n in range(1, 301))]
TWO_EMAILS = schema({"id": {}, "email": {}, "e-mail": {}})


@pytest.mark.parametrize(
    ("shown", "lines", "crm_options", "config", "code"),
    [
        pytest.param(
            "invalid_email", [*GOOD, BAD], {}, {"rejects_path": "r.singer"}, 0, id="bad record"
        ),
        pytest.param("the settings allow none", [*GOOD, BAD], {}, {}, 1, id="bad record, no file"),
        pytest.param(
            "Refused alone",
            POISONED,
            {"refuse_property": "firstname", "refuse_value": "x"},
            {"rejects_path": "r.singer"},
            0,
            id="refused contact",
        ),
        pytest.param(
            "refuses every contact",
            [schema(), *(person(number) for number in range(300))],
            {"known_lists": A_LIST.replace("3", "4")},
            {"list_id": A_LIST, "rejects_path": "r.singer"},
            1,
            id="refused request",
        ),
        pytest.param(
            "nothing was accepted",
            GOOD,
            {"known_lists": A_LIST.replace("3", "4")},
            {"list_id": A_LIST, "rejects_path": "r.singer"},
            1,
            id="few contacts, none accepted",
        ),
        pytest.param("401 on POST", GOOD, {}, {"access_token": "dead"}, 1, id="dead token"),
        pytest.param("503 Service", GOOD, {"faults": ["503"]}, {}, 1, id="server away"),
        pytest.param("429 Too Many", GOOD, {"faults": ["429=60"]}, {}, 1, id="daily limit"),
        pytest.param("text/html", GOOD, {"faults": ["html"]}, {}, 1, id="proxy"),
        pytest.param("OK: ", GOOD, {}, {}, 0, id="all is well"),
        pytest.param("5 not sent", GOOD, {"faults": ["503"]}, {}, 1, id="the last line"),
        pytest.param(
            "in the rejects file",
            GOOD,
            {"faults": ["fail"]},
            {"rejects_path": "r.singer"},
            0,
            id="failed batch",
        ),
        pytest.param(
            "STATE has advanced", GOOD, {"faults": ["fail"]}, {}, 1, id="failed batch, no file"
        ),
        pytest.param(
            "had not confirmed",
            GOOD,
            {"faults": ["stuck"]},
            {"confirm_batches": "require"},
            1,
            id="unconfirmed batch",
        ),
        pytest.param("none is set", GOOD, {}, {"access_token": ""}, 1, id="no credentials"),
        pytest.param("acces_token", GOOD, {}, {"acces_token": "x"}, 1, id="misspelt setting"),
        pytest.param("'e-mail'", [TWO_EMAILS, record(id=1)], {}, {}, 1, id="two columns"),
        pytest.param("not valid JSON", ["Connecting ..."], {}, {}, 1, id="no Singer message"),
        pytest.param(
            "No space left",
            [schema(), *[BAD] * 300],
            {},
            {"rejects_path": "rejects.singer"},
            1,
            id="full disk",
        ),
    ],
)
def test_failures_arrive_as_the_page_says(
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    shown: str,
    lines: list[str],
    crm_options: dict[str, t.Any],
    config: dict[str, t.Any],
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    if shown == "No space left":
        fill_disk(monkeypatch)
    crm = start_crm(plan="unlimited", **crm_options)
    account = {
        "api_url": crm.url,
        "access_token": crm.token,
        "confirm_batches": "report",
        "confirm_timeout_seconds": 3,
        "retry_max_seconds": 3,
    }
    ended = run_target(*lines, STATE, **account | config)
    expected(shown, ended, code)


def expected(shown: str, ended: Ended, code: int) -> None:
    """Make sure that a run ended as the page says, in the words the page shows."""
    (line,) = (
        line for block in PAGE.blocks("text") for line in block.splitlines() if shown in line
    )
    assert pattern(line).search(ended.log), ended.log
    assert ended.code == code
    assert ended.states == ([] if code and "STATE has advanced" not in line else MOVED)
    assert told_before(line) == code
    assert "Traceback" not in ended.log
    assert "@example.com" not in ended.log


def told_before(line: str) -> int:
    """Return the exit code that the paragraph before a line of the log tells."""
    before = PAGE.text[: PAGE.text.index(line)].rsplit("\n\n```text", 1)[0].rsplit("\n\n", 1)[-1]
    (code,) = re.findall(r"exit\s+code\s+(?:is\s+)?(\d)", before, re.IGNORECASE)
    return int(code)


def test_a_run_that_is_asked_to_stop_says_so(
    tmp_path: Path, start_crm: Callable[..., RunningSandbox]
) -> None:
    crm = start_crm(faults=["503"])
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"api_url": crm.url, "access_token": crm.token}))
    run = subprocess.Popen(
        [str(BIN / LOADER), "--config", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(tmp_path / "home"),
        text=True,
    )
    assert run.stdin is not None
    assert run.stderr is not None
    run.stdin.write("".join(f"{line}\n" for line in [*GOOD, STATE, person(7)]))
    run.stdin.flush()
    log = ""
    while "key: " not in log:  # reading has begun
        log += run.stderr.readline()
    run.send_signal(signal.SIGTERM)
    run.wait(timeout=60)  # with its input still open, as under a tap that goes on
    out, rest = run.communicate()
    line = next(line for line in PAGE.text.splitlines() if line.startswith("Ended by SIGTERM"))
    assert line in log + rest
    assert run.returncode == 1
    assert out == "", "STATE was written before its contacts were in"


def test_every_line_the_page_shows_of_a_failure_is_tested() -> None:
    """A line that is added there needs a scenario here."""
    shown = [line for block in PAGE.blocks("text") for line in block.splitlines()]
    parameters = test_failures_arrive_as_the_page_says.pytestmark[0].args[1]
    tested = [parameter.values[0] for parameter in parameters] + ["Ended by SIGTERM"]
    assert [line for line in shown if not any(part in line for part in tested)] == []


README_ROW = re.compile(r"^\| `(?P<message>[^|]+)` \| (?P<code>\d) \|", re.MULTILINE)


def test_the_table_in_the_readme_says_what_the_page_says() -> None:
    rows = README_ROW.findall(page("README.md").text)
    assert len(rows) == 10
    for message, code in rows:
        line = next(line for line in PAGE.text.splitlines() if message in line)
        assert told_before(line) == int(code), message
