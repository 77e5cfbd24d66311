"""Meltano projects of the tests: a `meltano.yml` of the repository's in a folder of its own.

Meltano and the taps are what the Makefile has installed under `.tools`; the target is the one
under test. Only where the plugins are found is changed in `meltano.yml`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from mainbrainer_sandbox.running import RunningSandbox

REPOSITORY = Path(__file__).parent.parent
TOOLS = REPOSITORY / ".tools"
MELTANO = TOOLS / "bin" / "meltano"
BIN = Path(sys.executable).parent
LOADER = "target-mainbrainer"

_DISCOVERS = """
import sys
if "--discover" in sys.argv:
    print('{"streams": []}')
    sys.exit()
"""

Record: t.TypeAlias = dict[str, t.Any]


needs_tools = pytest.mark.skipif(
    not MELTANO.exists() and os.environ.get("CI") != "true",
    reason="`make tests` installs Meltano and taps",
)
"""In CI the Makefile was here, and a missing Meltano is a failure."""


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment with an empty home; of the caller's, only what reaches packages."""
    needed = re.compile("PATH|LANG|LC_ALL|TMPDIR|SSL_CERT_FILE|(PIP|UV)_.*|.*_proxy", re.IGNORECASE)
    given = {name: value for name, value in os.environ.items() if needed.fullmatch(name)}
    home.mkdir(exist_ok=True)
    return given | {"HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200"} | more


def package_caches() -> dict[str, str]:
    """Return where pip and uv keep what they have downloaded: an empty home need not be slow."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    given = {f"{name.upper()}_CACHE_DIR": str(folder / name) for name in ("pip", "uv")}
    return {name: os.environ.get(name, path) for name, path in given.items()}


def call(*command: str | Path, **options: t.Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with any exit code."""
    texts = [str(part) for part in command]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(texts, check=False, text=True, **options)


def printed(*command: str | Path, **options: t.Any) -> str:
    """Run a command, which succeeds, and return what it prints."""
    ended = call(*command, **options)
    assert ended.returncode == 0, ended.stderr or ended.stdout
    return ended.stdout


def lines_of(tap: str, config: Record, folder: Path) -> list[str]:
    """Return all that a published tap writes with these settings."""
    path = folder / "tap.json"
    path.write_text(json.dumps(config))
    env = clean_environment(folder / "home")
    return printed(TOOLS / "bin" / tap, "--config", path, env=env).splitlines()


def copy_of_the_repository(folder: Path) -> Path:
    """Copy what git knows of, or would know of after `git add`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = printed(*command, cwd=REPOSITORY).splitlines()
    for name in filter(lambda name: (REPOSITORY / name).is_file(), names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def as_environment(crm: RunningSandbox, **more: str) -> dict[str, str]:
    """Return the target's settings as environment variables: an account, and more."""
    account = {"API_URL": crm.url, "ACCESS_TOKEN": crm.token} | more
    return {f"TARGET_MAINBRAINER_{name}": value for name, value in account.items()}


@dataclass
class Ran:
    """What a command of Meltano's left behind."""

    code: int
    out: str
    log: str

    def lines(self, *marks: str) -> list[str]:
        """Return the lines of the log that hold any of some marks."""
        return [line for line in self.log.splitlines() if any(mark in line for mark in marks)]


class Project:
    """A Meltano project with plugins that are installed already.

    Args:
        root: Its folder.
        text: Its `meltano.yml`; by default this repository's.

    Attributes:
        root: Its folder.
        definition: What its `meltano.yml` says; change it before the first command.
    """

    def __init__(self, root: Path, text: str | None = None) -> None:
        self.root = root
        text = text or (REPOSITORY / "meltano.yml").read_text()
        self.definition: Record = yaml.safe_load(text)
        for tap in self.definition["plugins"]["extractors"]:
            del tap["pip_url"]
            tap["executable"] = str(TOOLS / "bin" / tap["executable"])
        del self.loader["pip_url"]
        for command in (self.loader, *self.loader.get("commands", {}).values()):
            command["executable"] = str(BIN / command["executable"])
        self.config: Record = self.loader["config"]

    @property
    def loader(self) -> Record:
        """The loader's definition."""
        loader: Record = self.definition["plugins"]["loaders"][0]
        return loader

    def write(self) -> None:
        """Write its `meltano.yml`."""
        (self.root / "output").mkdir(exist_ok=True)
        text = yaml.safe_dump(self.definition, sort_keys=False, allow_unicode=True)
        (self.root / "meltano.yml").write_text(text)

    def meltano(self, *arguments: str, **environment: str) -> Ran:
        """Run a command of Meltano's."""
        self.write()
        env = clean_environment(self.root / "home", **environment)
        ended = call(MELTANO, *arguments, cwd=self.root, env=env, timeout=200)
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    def run(self, *blocks: str, prod: bool = False, **environment: str) -> Ran:
        """Run an extractor and the loader, or a job."""
        name = "prod" if prod else "sandbox"
        return self.meltano(f"--environment={name}", "run", *blocks, **environment)

    def runs(self, *blocks: str, prod: bool = False, **environment: str) -> Ran:
        """Run an extractor and the loader, or a job, which succeeds."""
        ran = self.run(*blocks, prod=prod, **environment)
        assert ran.code == 0, ran.log
        return ran

    def add_script(self, name: str, text: str) -> None:
        """Add an extractor that is a script; asked what streams there are, it names none."""
        path = self.root / "tap.py"
        path.write_text(f"#!{sys.executable}\n{_DISCOVERS}{text}")
        path.chmod(0o755)
        tap: Record = {"name": name, "namespace": name.replace("-", "_"), "executable": str(path)}
        tap["capabilities"] = ["catalog", "discover", "state"]
        self.definition["plugins"]["extractors"].append(tap)

    def report(self, stream: str = "contacts") -> Record:
        """Return the counts of a stream in the last run."""
        streams = json.loads((self.root / "output" / "report.json").read_text())["streams"]
        counts: Record = streams[stream]
        return counts

    def state(self, tap: str) -> Record:
        """Return the STATE that Meltano keeps for a tap and the target."""
        ran = self.meltano("state", "get", f"sandbox:{tap}-to-{LOADER}")
        assert ran.code == 0, ran.log
        state: Record = json.loads(ran.out or "{}").get("singer_state", {})
        return state
