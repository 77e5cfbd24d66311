"""The rejects file in whole runs: beside each other, and read back while written."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest

from target_mainbrainer.report import rejects as rejects_file
from tests.loads import Load
from tests.messages import person, schema
from tests.projects import call

PATIENCE = 200


def bad(*numbers: int) -> list[str]:
    return [person(number, email="cut-off@") for number in numbers]


@pytest.fixture
def command(load: Load, rejects: Path) -> list[str]:
    """The target with its settings in a file, and a rejects file."""
    config = load.folder / "config.json"
    config.write_text(json.dumps(load.settings | {"rejects_path": str(rejects)}))
    return [sys.executable, "-m", "target_mainbrainer", "--config", str(config)]


def test_reading_the_rejects_file_ends_the_run(command: list[str], rejects: Path) -> None:
    """`cat rejects.singer | target-mainbrainer` with the same 'rejects_path', or `--input`."""
    for is_piped in (True, False):
        rejects.write_text("\n".join([schema(), *bad(*range(15_000)), ""]))
        size = rejects.stat().st_size
        with subprocess.Popen(["cat", str(rejects)], stdout=subprocess.PIPE) as cat:
            arguments = [] if is_piped else ["--input", str(rejects)]
            ended = call(*command, *arguments, stdin=cat.stdout, timeout=PATIENCE)
            cat.kill()
        assert ended.returncode == 1
        assert "The input is the rejects file itself ('rejects_path')" in ended.stderr
        assert rejects.stat().st_size < 4 * size


def test_a_rejects_file_in_use_is_an_error_before_sending(load: Load, rejects: Path) -> None:
    """The other run may be in the middle of a line, which is not taken for one of a killed run."""
    other = rejects_file.RejectsFile(str(rejects), dt.datetime.now(dt.UTC), "other")
    rejects.write_text('{"type": "REC')
    ended = load.fails(schema(), person(1))
    other.close()
    assert rejects.read_text() == '{"type": "REC'
    assert "another run is still writing to" in ended.error
    assert "If runs are meant to overlap, put '{started_at}' in the path" in ended.error
    assert load.crm.requests() == []
