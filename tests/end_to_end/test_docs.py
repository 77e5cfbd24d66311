"""The commands of README and docs run, and print what is shown there."""

import datetime as dt
import fcntl
import json
import shutil
import socket
import subprocess
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mainbrainer_sandbox.running import RunningSandbox
from tests import projects
from tests.loads import cases
from tests.pages import Page, Step, page, pages, pattern
from tests.projects import MELTANO, REPOSITORY, TOOLS, Project, call, needs_tools, printed

ADDRESS = "https://github.com/target-mainbrainer/target-mainbrainer"
PAGES = pages()
WITH_COMMANDS = [one for one in PAGES if any(one.steps())]
IN_AN_EMPTY_FOLDER = "first-night.md"
SCENARIOS = "failures.md"
"""Each line that this page shows of the log is tested in test_failures.py."""


def name_of(one: Page) -> str:
    return str(one.path.relative_to(REPOSITORY))


# Links


@cases("one", *PAGES, ids=name_of)
def test_links_inside_the_repository_lead_somewhere(one: Page) -> None:
    for link in one.links():
        name, _, anchor = link.partition("#")
        target = (one.path.parent / name).resolve() if name else one.path
        assert link.startswith("http") or target.exists(), link
        if anchor and not link.startswith("http"):
            assert anchor in page(str(target.relative_to(REPOSITORY))).anchors(), link


def test_every_page_of_the_docs_is_linked_from_the_readme_or_from_another() -> None:
    linked = {
        (one.path.parent / link.partition("#")[0]).resolve()
        for one in PAGES
        for link in one.links()
    }
    assert [name_of(one) for one in PAGES[1:] if one.path.resolve() not in linked] == []


# Commands


def test_the_pages_are_found() -> None:
    """Else the tests below would test nothing."""
    assert {name_of(one) for one in WITH_COMMANDS} >= {"README.md", "docs/first-night.md"}
    assert sum(len(list(one.steps())) for one in WITH_COMMANDS) > 40


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


OF_THE_ACCOUNT = {
    "unset TARGET_MAINBRAINER_ACCESS_TOKEN": " TARGET_MAINBRAINER_API_URL",
    "export TARGET_MAINBRAINER_ACCESS_TOKEN=your-token": ' TARGET_MAINBRAINER_API_URL="$ACCOUNT"',
}
"""What is added to these commands."""


def repeats_an_installation(one: Page, step: Step) -> bool:
    """Return whether `first-night.md`, too, adds the loader in these words, which takes long."""
    is_there = step in page(f"docs/{IN_AN_EMPTY_FOLDER}").steps()
    is_elsewhere = one.path.name != IN_AN_EMPTY_FOLDER
    return is_elsewhere and is_there and step.command.startswith("meltano add ")


def script(one: Page, port: str) -> str:
    """Return the steps as one session of a shell that prints where each begins and ends.

    What differs from a user's: a server runs on a free port and in the background, and a
    MainBrainer on this machine takes the place of the account.
    """
    lines = ["trap 'kill $(jobs -p) 2>/dev/null' EXIT"]
    for number, step in enumerate(one.steps()):
        command = step.command.replace("8790", port)
        if repeats_an_installation(one, step):
            command = "true"
        command += OF_THE_ACCOUNT.get(command, "")
        if command.startswith("mainbrainer-sandbox serve --path"):
            # A server listens before it says so: wait for its last line, or for its end.
            until = "until grep -q Ctrl-C serve.log || ! kill -0 $!; do sleep 0.1; done"
            command = f": > serve.log; {command} > serve.log & {until}; cat serve.log"
        lines += [f"echo '@@@ {number}'", command, f'echo "@@@ {number} ended $?"']
    return "\n".join(lines)


@projects.needs_tools
@pytest.mark.timeout(900)
@cases("one", *WITH_COMMANDS, ids=name_of)
def test_every_command_works_for_a_new_user(
    tmp_path: Path, start_crm: Callable[..., RunningSandbox], one: Page
) -> None:
    """In a fresh copy with an empty home, from the first command of a page to its last."""
    crm = start_crm(token="your-token", plan="unlimited")
    clone = projects.copy_of_the_repository(tmp_path / "target-mainbrainer")
    author = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"]
    commit = [*author, "commit", "--quiet", "--message", "Everything"]
    for arguments in (["init", "--quiet"], ["add", "--all"], commit):
        printed("git", *arguments, cwd=clone)
    begin = tmp_path / "empty" if one.path.name == IN_AN_EMPTY_FOLDER else clone
    begin.mkdir(exist_ok=True)
    environment = projects.clean_environment(
        tmp_path / "home",
        ACCOUNT=crm.url,
        **projects.package_caches(),
        # git takes the copy for the address.
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0=f"url.{clone.as_uri()}.insteadOf",
        GIT_CONFIG_VALUE_0=ADDRESS,
    )
    own = (tmp_path / "home" / ".local" / "bin", clone / ".tools" / "bin")
    found = (TOOLS / "bin", TOOLS / "uv" / "bin", projects.BIN)
    environment["PATH"] = ":".join([*map(str, own + found), environment["PATH"]])
    port = free_port()
    shell = ["/bin/bash", "-c", script(one, port)]
    ends: t.Any = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    out = projects.call(*shell, cwd=begin, env=environment, **ends).stdout
    for number, step in enumerate(one.steps()):
        shown = out.split(f"@@@ {number}\n", 1)[-1].split(f"@@@ {number} ended", 1)[0]
        assert f"@@@ {number} ended 0" in out, f"{step.command}\n{shown}"
        for line in () if repeats_an_installation(one, step) else step.shown:
            assert line.replace("8790", port) in shown, f"{step.command}\n{shown}"
    if one.path.name != SCENARIOS:
        for block in one.blocks("text"):
            for line in block.splitlines():
                assert pattern(line).search(out), line


# docs/running.md: what can run here runs as it stands there, the rest can be read


PAGE = page("docs/running.md")
FOLDER = "/srv/crm"
LOCKED = 75
TAP = "tap-spreadsheets"


class Job:
    """The script of the page and its project, started as cron starts it."""

    def __init__(self, folder: Path, crm: RunningSandbox) -> None:
        self.root = folder
        shutil.copytree(REPOSITORY / "demo", folder / "demo")
        self.project = Project(folder)
        self.project.definition["default_environment"] = "prod"
        self.project.write()
        own = folder / "home" / ".local" / "bin"
        own.mkdir(parents=True)
        (own / "meltano").symlink_to(MELTANO)
        self.write_secrets(crm.url, crm.token)
        (script,) = PAGE.blocks("bash")
        self.script = folder / "nightly.sh"
        self.script.write_text(script.replace(FOLDER, str(folder)).replace("tap-postgres", TAP))
        self.script.chmod(0o755)

    def write_secrets(self, url: str, token: str) -> None:
        (self.root / "secrets.env").write_text(
            f"TARGET_MAINBRAINER_API_URL='{url}'\nTARGET_MAINBRAINER_ACCESS_TOKEN='{token}'\n"
        )

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the script with cron's environment, and return what cron would mail."""
        environment = {"HOME": str(self.root / "home"), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
        mailed: t.Any = {"cwd": "/", "env": environment, "stderr": subprocess.STDOUT}
        return call("/bin/sh", "-c", self.script, **mailed)


@pytest.fixture
def job(tmp_path: Path, crm: RunningSandbox) -> Job:
    return Job(tmp_path, crm)


@needs_tools
def test_cron_mails_only_the_reason_of_a_bad_night(job: Job, crm: RunningSandbox) -> None:
    """Cron mails nothing of a good night and the reason of a bad one."""
    good = job.run()
    assert (good.returncode, good.stdout) == (0, "")
    assert len(crm.contacts()) == 10

    (job.root / "demo" / "contacts.csv").touch()  # else it is not read again
    job.write_secrets(crm.url, "revoked")
    bad = job.run()
    assert bad.returncode == 1
    line, end = bad.stdout.splitlines()
    assert "FAILED: " in line
    assert "ended with exit code 1." in end


@needs_tools
def test_the_script_does_not_start_a_second_run(job: Job, crm: RunningSandbox) -> None:
    with (job.root / "output" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = job.run()
    assert ran.returncode == LOCKED
    assert ran.stdout == "Last night's load is still running.\n"
    assert crm.requests() == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    service, timer = PAGE.blocks("ini")
    alert = "[Service]\nType=oneshot\nExecStart=/bin/true\n"
    for name, text in (("crm", service), ("crm-alert", alert)):
        here = text.replace("/home/crm/.local/bin/meltano", "/bin/true").replace(FOLDER, "/")
        (tmp_path / f"{name}.service").write_text(here.replace("User=crm\n", ""))
    (tmp_path / "crm.timer").write_text(timer)
    checked = call("systemd-analyze", "verify", "--man=no", *tmp_path.iterdir())
    own = [line for line in checked.stderr.splitlines() if str(tmp_path) in line or "crm" in line]
    assert own == []


def test_the_examples_show_the_report_and_await_requests() -> None:
    for number, text in enumerate(PAGE.blocks("python")):
        compile(text, f"example {number}", "exec")
    workflow, job = (yaml.safe_load(text) for text in PAGE.blocks("yaml"))
    assert workflow["jobs"]["load"]["steps"][-1]["if"] == "always()"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 30, "requests in flight are awaited for 30 s"


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@cases("outcome hours code", ("ok", 1, 0), ("failed", 1, 1), ("ok", 25, 1), ("running", 1, 1))
def test_the_check_finds_bad_nights(tmp_path: Path, outcome: str, hours: int, code: int) -> None:
    """The check of the report finds bad nights and missing ones."""
    ended = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
    text = ended.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    report = tmp_path / "output" / "report.json"
    report.parent.mkdir()
    running = outcome == "running"
    report.write_text(json.dumps({"outcome": outcome, "ended_at": None if running else text}))
    lines = [line for block in PAGE.blocks("sh") for line in block.splitlines()]
    (command,) = (line for line in lines if line.startswith("jq"))
    ran = call("/bin/sh", "-c", command.replace(FOLDER, str(tmp_path)))
    assert ran.returncode == code, ran.stderr
