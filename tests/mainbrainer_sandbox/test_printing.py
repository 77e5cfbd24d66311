"""Rows as a table and as JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.mainbrainer_sandbox.people import ADA, BOB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mainbrainer_sandbox.conftest import Run


def test_contacts_as_a_table(filled: Callable[..., Path], run_command: Run) -> None:
    code, out, _ = run_command("contacts", "--path", filled("a.db", ADA, BOB))
    assert code == 0
    head, rule, ada, bob = out.splitlines()
    names = ["id", "mobile", "email", "mobile_opt_in", "email_opt_in", "city", "note"]
    assert head.split() == names
    assert set(rule) == {"-", " "}
    assert ada.startswith("1000001")
    assert "ada@example.com  no consent" in ada
    assert re.search(r"1000002  \+44 7700900001\s+false\s+no consent$", bob)
    # What a contact's data holds cannot move the cursor or add lines.
    assert "\x1b" not in out


def test_contacts_as_json(filled: Callable[..., Path], run_command: Run) -> None:
    path = filled("a.db", ADA, BOB)
    code, out, _ = run_command("contacts", "--path", path, "--format", "json")
    assert code == 0
    ada, bob = json.loads(out)
    assert ada["properties"]["city"] == "Oslo"
    assert bob["mobile_opt_in"] is False
    assert ada["properties"]["note"] == 'a "quoted",\nsecond line\x1b[31m'
    assert ada["email_opt_in"] is True


@pytest.mark.parametrize(("form", "expected"), [("table", ""), ("json", "[]\n")])
def test_no_contacts(
    filled: Callable[..., Path], run_command: Run, form: str, expected: str
) -> None:
    assert run_command("contacts", "--path", filled("a.db"), "--format", form) == (0, expected, "")
