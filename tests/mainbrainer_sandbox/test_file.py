"""Which files are a sandbox's, and who may use them."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

import mainbrainer_sandbox as sandbox
from mainbrainer_sandbox.file import FORMAT, StoreError
from tests.mainbrainer_sandbox.people import ADA

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mainbrainer_sandbox.conftest import Client, Run


def test_a_file_has_one_sandbox_at_a_time(make: Callable[..., Client]) -> None:
    crm = make()
    with pytest.raises(StoreError, match="in use"):
        make()
    crm.sandbox.close()
    make()


def test_the_file_is_its_owners_alone(crm: Client) -> None:
    crm.single(email="a@example.com")
    for path in crm.sandbox.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


@pytest.mark.parametrize("command", [["contacts"], ["batches"], ["delete", "a@example.com"]])
def test_a_file_that_is_none_is_an_error(
    run_command: Run, tmp_path: Path, command: list[str]
) -> None:
    code, out, err = run_command(*command, "--path", tmp_path / "none.db")
    assert (code, out) == (2, "")
    assert err.startswith("mainbrainer-sandbox: There is no sandbox file at ")
    assert not list(tmp_path.iterdir())
    path, text = (
        tmp_path / "text.db",
        "not a database, but long enough to look like something " * 40,
    )
    path.write_text(text)
    code, _, err = run_command(*command, "--path", path)
    assert (code, "is not a sandbox file" in err) == (2, True)
    with pytest.raises(StoreError):
        sandbox.start(path)
    assert path.read_text() == text


def test_a_file_of_another_version_is_an_error(
    filled: Callable[..., Path], run_command: Run
) -> None:
    path = filled("a.db", ADA)
    for sql, said in (
        ("UPDATE meta SET value = '1' WHERE key = 'format'", "another version"),
        (f"UPDATE meta SET value = '{FORMAT}'; DROP TABLE contacts", "cannot be used"),  # noqa: S608
    ):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(sql)
        code, _, err = run_command("contacts", "--path", path)
        assert (code, said in err) == (2, True)
