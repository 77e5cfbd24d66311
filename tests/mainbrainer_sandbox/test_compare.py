"""`mainbrainer-sandbox diff`: what differs, by field and by contact."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.mainbrainer_sandbox.people import ADA, BOB, prop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mainbrainer_sandbox.conftest import Run


def test_equal_files_do_not_differ_whatever_the_ids(
    filled: Callable[..., Path], run_command: Run
) -> None:
    first, second = filled("a.db", ADA, BOB), filled("b.db", BOB, ADA)
    assert run_command("diff", first, second) == (0, "0 added, 0 removed, 0 changed\n", "")
    assert run_command("diff", first, second, "--format", "json") == (0, "[]\n", "")


def test_a_difference_is_said_property_by_property(
    filled: Callable[..., Path], run_command: Run
) -> None:
    changed = {**ADA, "emailOptIn": False, "propertyFields": prop("city", "Bergen") + prop("new")}
    carl = {"email": "carl@example.com", "listId": "3fa85f64-5717-4562-b3fc-2c963f66afa6"}
    first, second = filled("a.db", BOB, ADA), filled("b.db", changed, carl)
    code, out, _ = run_command("diff", first, second, "--format", "json")
    assert code == 1
    by_change = {one["change"]: one for one in json.loads(out)}
    assert by_change["changed"]["email"] == "ada@example.com"
    assert by_change["changed"]["ids"] == [1000002, 1000001]
    assert by_change["changed"]["fields"] == [
        ["email_opt_in", "true", "false"],
        ["property city", "Oslo", "Bergen"],
        ["property new", None, "x"],
        ["property note", 'a "quoted",\nsecond line\x1b[31m', None],
    ]
    assert by_change["removed"]["mobile"] == "+44 7700900001"
    assert ["lists", None, "3fa85f64-5717-4562-b3fc-2c963f66afa6"] in by_change["added"]["fields"]
    code, out, _ = run_command("diff", first, second)
    assert code == 1
    assert out.splitlines()[:5] == [
        "1 added, 1 removed, 1 changed",
        "email_opt_in true -> false: 1 contact",
        "property city changed: 1 contact",
        "property new added: 1 contact",
        "property note removed: 1 contact",
    ]


def test_each_field_is_counted_before_the_first_contacts(
    filled: Callable[..., Path], run_command: Run
) -> None:
    def people(column: str) -> list[dict[str, Any]]:
        sizes = ["L" if column == "town" and n else "M" for n in range(30)]
        fields = [prop(column, f"City {n % 5}") + prop("size", sizes[n]) for n in range(30)]
        return [{"email": f"p{n}@example.com", "propertyFields": fields[n]} for n in range(30)]

    first, second = filled("a.db", *people("city")), filled("b.db", *people("town"))
    code, out, _ = run_command("diff", first, second)
    assert code == 1
    lines = out.splitlines()
    assert lines[:4] == [
        "0 added, 0 removed, 30 changed",
        "property city removed: 30 contacts",
        "property town added: 30 contacts",
        "property size changed: 29 contacts",
    ]
    assert lines[-1] == "... and 10 more contacts; --all shows them."
    _, out, _ = run_command("diff", first, second, "--all")
    assert sum("property town" in line for line in out.splitlines()) == 1 + 30


def test_diff_has_an_exit_code_for_errors(run_command: Run, tmp_path: Path) -> None:
    assert run_command("diff", tmp_path / "a.db", tmp_path / "b.db")[0] == 2
