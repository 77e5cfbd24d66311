"""Who may know whom: the walls of the house stand where its plan draws them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import target_mainbrainer

HOUSE = Path(target_mainbrainer.__file__).parent
SANDBOX = HOUSE.parent / "mainbrainer_sandbox"
PURE = ["contact.py", "mapping", "api/wire.py", "api/redact.py", "delivery/isolation.py"]


def files_of(place: str) -> list[Path]:
    path = SANDBOX if place == "sandbox" else HOUSE / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def imports_of(file: Path) -> set[str]:
    """Return the modules that a file imports when it runs, by their full names."""
    found: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def reaches(place: str, *others: str) -> list[str]:
    """Return the imports of a part of the house that lead to others."""
    return [
        f"{file.relative_to(HOUSE)} imports {name}"
        for file in files_of(place)
        for name in sorted(imports_of(file))
        if any(name == other or name.startswith(f"{other}.") for other in others)
    ]


def test_the_parts_named_here_are_there() -> None:
    for place in [*PURE, "sandbox", "delivery", "singer", "api"]:
        assert files_of(place)
        assert all(file.exists() for file in files_of(place)), place


def test_the_sandbox_knows_nothing_of_the_target() -> None:
    ours = {name for file in files_of("sandbox") for name in imports_of(file)}
    assert {name for name in ours if name.startswith("target_mainbrainer")} == set()


def test_the_target_knows_the_sandbox_in_one_place() -> None:
    places = [
        str(file.relative_to(HOUSE))
        for file in sorted(HOUSE.rglob("*.py"))
        if any("mainbrainer_sandbox" in name for name in imports_of(file))
    ]
    assert places == ["run.py"]


@pytest.mark.parametrize("place", PURE)
def test_what_is_pure_knows_no_network_no_clock_and_no_singer(place: str) -> None:
    forbidden = ["requests", "urllib3", "socket", "http", "time", "threading", "logging"]
    if place == "delivery/isolation.py":
        forbidden.remove("threading")  # what all senders have heard is kept under a lock
    assert reaches(place, *forbidden, "singer_sdk", "click") == []


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("contact.py", ["mapping", "delivery", "api", "singer", "run", "sinks", "target"]),
        ("mapping", ["delivery", "api", "singer", "run", "sinks", "target"]),
        ("api", ["mapping", "delivery", "singer", "run", "sinks", "target"]),
        ("singer", ["mapping", "delivery", "api", "run", "sinks", "target"]),
        ("delivery", ["mapping", "run", "sinks", "target"]),
        ("settings.py", ["mapping", "delivery", "api", "singer", "run", "sinks", "target"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_inner_parts_know_nothing_of_outer_ones(inner: str, outer: list[str]) -> None:
    assert reaches(inner, *(f"target_mainbrainer.{name}" for name in outer)) == []
