"""`docs/running.md`: what can run here runs as it stands on the page, and the rest can be read."""

import datetime as dt
import fcntl
import json
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from mainbrainer_sandbox.running import RunningSandbox
from tests.loads import cases
from tests.pages import page
from tests.projects import MELTANO, REPOSITORY, Project, call, needs_tools

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
