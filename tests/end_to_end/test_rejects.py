"""The rejects file in whole runs: beside each other, and read back while written."""

import datetime as dt
import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from target_mainbrainer.report import rejects as rejects_file
from tests.loads import Load, rejected
from tests.messages import person, schema, state
from tests.projects import call

PATIENCE = 200


def bad(*numbers: int) -> list[str]:
    return [person(number, email="cut-off@") for number in numbers]


def ids_in(path: Path) -> list[int]:
    return [line["record"]["id"] for line in rejected(path)]


@pytest.fixture
def command(load: Load, rejects: Path) -> list[str]:
    """The target with its settings in a file, and a rejects file."""
    config = load.folder / "config.json"
    config.write_text(json.dumps(load.settings | {"rejects_path": str(rejects)}))
    return [sys.executable, "-m", "target_mainbrainer", "--config", str(config)]


def test_parallel_runs_lose_no_rejection(command: list[str], rejects: Path, tmp_path: Path) -> None:
    """One delivers, the others fail because the file is in use; what STATE passed is on file."""
    runs = []
    for run in range(3):
        good = [person(number) for number in range(run * 10_000, run * 10_000 + 250)]
        numbers = range(run * 10_000 + 500, run * 10_000 + 700)
        lines = tmp_path / f"lines{run}"
        lines.write_text("\n".join([schema(), *good, *bad(*numbers), state(bookmark=run), ""]))
        pipes: t.Any = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        popen = subprocess.Popen([*command, "--input", str(lines)], text=True, **pipes)
        runs.append((popen, set(numbers)))
    on_time = 0
    for popen, numbers_of_run in runs:
        stdout, stderr = popen.communicate(timeout=PATIENCE)
        if popen.returncode == 0:
            assert stdout
            assert numbers_of_run <= set(ids_in(rejects))
            on_time += 1
        else:
            assert "another run is still writing to" in stderr
            assert not stdout
    assert on_time


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
    """A run whose rejects file is in use ends before it sends anything."""
    other = rejects_file.RejectsFile(str(rejects), dt.datetime.now(dt.UTC), "other")
    ended = load.fails(schema(), person(1))
    other.close()
    assert "another run is still writing to" in ended.error
    assert "If runs are meant to overlap, put '{started_at}' in the path" in ended.error
    assert load.crm.requests() == []
