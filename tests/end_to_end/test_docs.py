"""The README tells the truth: its commands run, and what it shows is what one sees."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import typing as t

import pytest

from tests.messages import person, record, schema, state
from tests.projects import BIN, LOADER, REPOSITORY, clean_environment, needs_tools

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Ended, RunTarget

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FAILURES = README[README.index("## How failures arrive") : README.index("\n## Settings")]


def blocks(kind: str, text: str = README) -> Iterator[str]:
    """Yield the bodies of the blocks of one kind."""
    return (found["body"] for found in BLOCK.finditer(text) if found["kind"] == kind)


def pattern(line: str) -> re.Pattern[str]:
    """Return what a line of the README matches: `...` is anything, and numbers may differ."""
    parts = (re.sub(r"\d+", r"\\d+", re.escape(part)) for part in line.split("..."))
    return re.compile(".*".join(parts))


def test_links_inside_the_repository_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
            assert target[1:] in {h.lower().replace(" ", "-").replace(",", "") for h in headings}
        elif not target.startswith("http"):
            assert (REPOSITORY / target).exists(), target


# Commands


def saved_files() -> dict[str, str]:
    """Return the files that the reader is asked to save."""
    found = re.findall(
        r"Save this as\s+`([^`]+)`:\n\n```\w+\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
    )
    return dict(found)


def steps() -> Iterator[tuple[str, list[str]]]:
    """Yield every command of the README in its order, with the lines it is said to print."""
    for block in blocks("console"):
        command = ""
        shown: list[str] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, shown
                command, shown = line[2:], []
            else:
                shown.append(line)
        yield command, shown


def test_every_command_can_be_taken_apart() -> None:
    """Else the test below would test nothing."""
    assert len(list(steps())) > 15
    assert set(saved_files()) == {"config.json", "people.singer", "crm.json", "changed.json"}
    for name in ("config.json", "crm.json", "changed.json"):
        json.loads(saved_files()[name])


def copy_of_the_repository(folder: Path) -> Path:
    """Copy what git knows of, or would know of after `git add`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(  # noqa: S603
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


SERVED = "mainbrainer-sandbox serve"


def script(port: str) -> str:
    """Return the commands as one session of a shell that says where each begins and ends.

    What differs from a user's: a server runs on a free port and in the background, and a
    MainBrainer on this machine takes the place of the account.
    """
    lines = ["trap 'kill $(jobs -p) 2>/dev/null' EXIT"]
    for number, (written, _) in enumerate(steps()):
        command = written.replace("8790", port)
        if command == "unset TARGET_MAINBRAINER_ACCESS_TOKEN":
            command += " TARGET_MAINBRAINER_API_URL"
        if command.startswith(SERVED):
            answers = (
                f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'"
            )
            command += " > serve.log & "
            command += f"until {answers} 2>/dev/null; do sleep 0.1; done; cat serve.log"
        lines += [f"echo '@@@ {number}'", command, f'echo "@@@ {number} ended $?"']
    return "\n".join(lines)


@needs_tools
@pytest.mark.timeout(900)
def test_every_command_of_the_readme_works_for_a_new_user(
    tmp_path: Path, start_crm: Callable[..., RunningSandbox]
) -> None:
    """In a fresh copy with an empty home, from the first command to the last."""
    crm = start_crm(token="your-token", plan="unlimited")
    clone = copy_of_the_repository(tmp_path / "clone")
    for name, content in saved_files().items():
        (clone / name).write_text(content)
    environment = clean_environment(tmp_path / "home", TARGET_MAINBRAINER_API_URL=crm.url)
    environment["PATH"] = f"{clone / '.tools' / 'bin'}:{environment['PATH']}"
    port = free_port()
    ran = subprocess.run(  # noqa: S603
        ["/bin/bash", "-c", script(port)],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    out = ran.stdout
    for number, (command, shown) in enumerate(steps()):
        printed = out.split(f"@@@ {number}\n", 1)[-1].split(f"@@@ {number} ended", 1)[0]
        assert f"@@@ {number} ended 0" in out, f"{command}\n{printed}"
        for line in shown:
            assert line.replace("8790", port) in printed, f"{command}\n{printed}"
    for block in blocks("text", README.replace(FAILURES, "")):
        for line in block.splitlines():
            assert pattern(line).search(out), line


# Failures

GOOD = [schema(), *(person(number) for number in range(1, 6))]
BAD = person(6, email="nobody@")
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
        pytest.param("401 on POST", GOOD, {}, {"access_token": "dead"}, 1, id="dead token"),
        pytest.param("503 Service", GOOD, {"faults": ["503"]}, {}, 1, id="server away"),
        pytest.param("429 Too Many", GOOD, {"faults": ["429=60"]}, {}, 1, id="daily limit"),
        pytest.param("text/html", GOOD, {"faults": ["html"]}, {}, 1, id="proxy"),
        pytest.param("failed. The run", GOOD, {"faults": ["fail"]}, {}, 0, id="failed batch"),
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
            {"rejects_path": "/dev/full"},
            1,
            id="full disk",
        ),
    ],
)
def test_failures_arrive_as_the_readme_says(  # noqa: PLR0917 - a scenario has many parts
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
    """Make sure that a run ended as the README says, in the words the README shows."""
    (line,) = (
        line for block in blocks("text", FAILURES) for line in block.splitlines() if shown in line
    )
    assert pattern(line).search(ended.log), ended.log
    assert ended.code == code
    assert ended.states == ([] if code else MOVED)
    told = FAILURES[: FAILURES.index(line)].rsplit("\n\n```text", 1)[0].rsplit("\n\n", 1)[-1]
    assert re.search(rf"exit\s+code\s+(is\s+)?{code}", told, re.IGNORECASE), told
    assert "Traceback" not in ended.log
    assert "@example.com" not in ended.log


def test_a_run_that_is_asked_to_stop_says_so(tmp_path: Path, crm: RunningSandbox) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"api_url": crm.url, "access_token": crm.token}))
    run = subprocess.Popen(  # noqa: S603
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
    while "told apart by" not in log:  # reading has begun
        log += run.stderr.readline()
    run.send_signal(signal.SIGTERM)
    run.wait(timeout=60)  # with its input still open, as under a tap that goes on
    out, rest = run.communicate()
    line = next(line for line in FAILURES.splitlines() if line.startswith("Ended by SIGTERM"))
    assert line in log + rest
    assert run.returncode == 1
    assert [json.loads(state) for state in out.splitlines()] in ([], MOVED)


def test_every_line_the_readme_shows_of_a_failure_is_tested() -> None:
    """A line that is added there needs a scenario here."""
    shown = [line for block in blocks("text", FAILURES) for line in block.splitlines()]
    parameters = test_failures_arrive_as_the_readme_says.pytestmark[0].args[1]
    tested = [parameter.values[0] for parameter in parameters] + ["Ended by SIGTERM"]
    assert [line for line in shown if not any(part in line for part in tested)] == []
