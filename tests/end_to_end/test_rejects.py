"""The rejects file in whole runs: beside each other, read back while written, loaded again."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import typing as t

from target_mainbrainer.report import rejects as rejects_file
from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget

PATIENCE = 200


def bad(*numbers: int) -> list[str]:
    return [person(number, email="cut-off@") for number in numbers]


def ids_in(path: Path) -> list[int]:
    messages = [json.loads(line) for line in path.read_text().splitlines()]
    return [message["record"]["id"] for message in messages if message["type"] == "RECORD"]


def test_runs_beside_each_other_lose_no_rejection(settings: Record, tmp_path: Path) -> None:
    """One delivers, the others say that the file is taken; what STATE passed is on file."""
    rejects = tmp_path / "rejects.singer"
    config = tmp_path / "config.json"
    config.write_text(json.dumps(settings | {"rejects_path": str(rejects)}))
    command = [sys.executable, "-m", "target_mainbrainer", "--config", str(config)]
    runs = []
    for run in range(3):
        lines = tmp_path / f"lines{run}"
        good = [person(number) for number in range(run * 10_000, run * 10_000 + 250)]
        numbers = range(run * 10_000 + 500, run * 10_000 + 700)
        text = "\n".join([schema(), *good, *bad(*numbers), state(bookmark=run), ""])
        lines.write_text(text)
        popen = subprocess.Popen(
            [*command, "--input", str(lines)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        runs.append((popen, set(numbers)))
    on_time = 0
    for popen, rejected in runs:
        stdout, stderr = popen.communicate(timeout=PATIENCE)
        if popen.returncode == 0:
            assert stdout
            assert rejected <= set(ids_in(rejects))
            on_time += 1
        else:
            assert "another run is still writing to" in stderr
            assert not stdout
    assert on_time


def test_a_rejects_file_that_is_read_while_it_is_written_ends_the_run(
    settings: Record, tmp_path: Path
) -> None:
    """`cat rejects.singer | target-mainbrainer` with the same 'rejects_path'."""
    rejects = tmp_path / "rejects.singer"
    rejects.write_text("\n".join([schema(), *bad(*range(30_000)), ""]))
    size = rejects.stat().st_size
    config = tmp_path / "config.json"
    config.write_text(json.dumps(settings | {"rejects_path": str(rejects)}))
    with subprocess.Popen(["cat", str(rejects)], stdout=subprocess.PIPE) as cat:
        ended = subprocess.run(
            [sys.executable, "-m", "target_mainbrainer", "--config", str(config)],
            stdin=cat.stdout,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
            text=True,
        )
        cat.kill()
    assert ended.returncode == 1
    assert "The input is the rejects file itself ('rejects_path')" in ended.stderr
    assert rejects.stat().st_size < 4 * size


def test_corrected_rejects_are_loaded_and_what_is_still_wrong_is_kept(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    """Rename, correct, load, delete: no record is lost, because each run has a file of its own."""
    path = str(tmp_path / "rejects-{started_at}.singer")
    good = [person(number) for number in range(50)]
    run_target(schema(), *good, *bad(61, 62, 63), rejects_path=path).ok()
    (first,) = tmp_path.glob("rejects-*.singer")
    renamed = first.rename(tmp_path / "to-correct.singer")
    text = renamed.read_text()
    for number in (61, 62):
        line = next(line for line in text.splitlines() if f'"id": {number},' in line)
        text = text.replace(line, line.replace("cut-off@", f"p{number}@example.com"))
    run_target(*text.splitlines(), rejects_path=path).ok()
    renamed.unlink()
    (second,) = tmp_path.glob("rejects-*.singer")
    assert ids_in(second) == [63]
    assert {"p61@example.com", "p62@example.com"} <= {c["email"] for c in crm.contacts()}


def test_a_run_says_that_the_rejects_file_is_taken_before_it_sends_anything(
    run_target: RunTarget, crm: RunningSandbox, rejects: Path
) -> None:
    other = rejects_file.RejectsFile(str(rejects), dt.datetime.now(dt.UTC), "other")
    ended = run_target(schema(), person(1))
    other.close()
    assert ended.code == 1
    assert "another run is still writing to" in ended.error
    assert "If runs are meant to overlap, put '{started_at}' in the path" in ended.error
    assert crm.requests() == []
