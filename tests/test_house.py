"""The walls of the house: inner parts import nothing from outer ones, and there are no circles."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import target_mainbrainer

HOUSE = Path(target_mainbrainer.__file__).parent
SANDBOX = HOUSE.parent / "mainbrainer_sandbox"

FLOORS = [
    {"errors", "wording"},
    {"contacts"},
    {"config"},
    {"privacy"},
    {"mapping", "singer"},
    {"api"},
    {"ledger"},
    {"reporting"},
    {"delivery"},
    {"local_sandbox", "parts"},
    {"checking", "run"},
    {"sinks"},
    {"target"},
    {"about"},
    {"cli"},
    {"__main__"},
]
"""A part may import from the floors below its own, and from itself."""

PURE = [
    "contacts",
    "mapping",
    "privacy/redaction.py",
    "api/requests.py",
    "api/answers.py",
]
IMPURE = [
    "requests",
    "urllib3",
    "socket",
    "http.client",
    "time",
    "threading",
    "logging",
    "sqlalchemy",
]


def modules() -> dict[str, Path]:
    """Return every module of the target by its full name."""
    return {
        ".".join(("target_mainbrainer", *file.relative_to(HOUSE).with_suffix("").parts)): file
        for file in sorted(HOUSE.rglob("*.py"))
        if file.name != "__init__.py"
    }


def imports_of(file: Path) -> set[str]:
    """Return all that a file imports, for type checkers too, by full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def floor_of(module: str) -> int:
    part = module.split(".")[1]
    (floor,) = (number for number, parts in enumerate(FLOORS) if part in parts)
    return floor


def test_every_part_of_the_house_has_a_floor() -> None:
    assert {module.split(".")[1] for module in modules()} <= {p for f in FLOORS for p in f}


def test_inner_parts_import_nothing_from_outer_ones() -> None:
    broken = [
        f"{module} imports {other}"
        for module, file in modules().items()
        for other in sorted(imports_of(file) & modules().keys())
        if floor_of(other) > floor_of(module)
        or (floor_of(other) == floor_of(module) and other.split(".")[1] != module.split(".")[1])
    ]
    assert broken == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imports_of(file) & modules().keys() for module, file in modules().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"These import each other: {' > '.join(error.args[1])}")


@pytest.mark.parametrize("place", PURE)
def test_what_is_pure_imports_no_network_no_clock_no_database_and_no_singer(place: str) -> None:
    path = HOUSE / place
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    assert files
    forbidden = {*IMPURE, "singer_sdk", "click"}
    reached = {
        f"{file.relative_to(HOUSE)} imports {name}"
        for file in files
        for name in imports_of(file)
        if name in forbidden or name.split(".")[0] in forbidden
    }
    assert reached == set()


def test_the_target_and_the_sandbox_import_nothing_of_each_other() -> None:
    assert not [
        file
        for file in sorted(SANDBOX.rglob("*.py"))
        if any(name.startswith("target_mainbrainer") for name in imports_of(file))
    ]
    assert not [
        file
        for file in sorted(HOUSE.rglob("*.py"))
        if any(name.startswith("mainbrainer_sandbox") for name in imports_of(file))
    ]


def test_without_a_ledger_no_database_is_loaded() -> None:
    """SQLAlchemy takes nearly as long to load as all the rest, before the first contact."""
    program = "import sys, target_mainbrainer.cli; print('sqlalchemy' in sys.modules)"
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert ran.stdout == "False\n"
