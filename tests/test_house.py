"""The walls of the house: who may import whom, and which thread changes what."""

import ast
import subprocess
import sys
import threading
import typing as t
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import target_mainbrainer
from target_mainbrainer.ledger.ledger import Ledger
from target_mainbrainer.report.counts import StreamReport
from target_mainbrainer.report.rejects import Rejections
from target_mainbrainer.rounds.booking import Booking
from target_mainbrainer.rounds.statuses import Statuses
from target_mainbrainer.singer.state import StateTracker
from tests.loads import Load, cases, people
from tests.rounds import quick

HOUSE = Path(target_mainbrainer.__file__).parent
SANDBOX = HOUSE.parent / "mainbrainer_sandbox"

FLOORS = [
    *({"errors", "words"}, {"contacts"}, {"settings"}, {"privacy"}, {"mapping", "singer"}),
    *({"api"}, {"ledger"}, {"report"}, {"rounds"}, {"local_sandbox"}),
    *({"run"}, {"sinks"}, {"target"}, {"mapping_tests"}, {"cli"}, {"__main__"}),
]
"""A part may import from the floors below its own, and from itself."""

PURE = [
    *["contacts.py", "mapping", "api/requests.py", "api/answers.py", "ledger/content.py"],
    *["rounds/plan.py", "rounds/round.py", "rounds/batches.py"],
]
IMPURE = [
    *["requests", "urllib3", "socket", "http.client", "time", "threading", "logging"],
    *["sqlalchemy", "singer_sdk", "click"],
]


def modules() -> dict[str, Path]:
    """Return every module of the target by its full name."""
    files = [file for file in sorted(HOUSE.rglob("*.py")) if file.name != "__init__.py"]
    parts = {file: file.relative_to(HOUSE).with_suffix("").parts for file in files}
    return {".".join(("target_mainbrainer", *parts[file])): file for file in files}


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


def test_inner_parts_import_nothing_from_outer_ones() -> None:
    broken = []
    for module, file in modules().items():
        for other in sorted(imports_of(file) & modules().keys()):
            is_elsewhere = other.split(".")[1] != module.split(".")[1]
            if is_elsewhere and floor_of(other) >= floor_of(module):
                broken.append(f"{module} imports {other}")
    assert broken == []


def test_a_run_without_a_ledger_loads_no_database_library() -> None:
    """It takes a third of the start, and 10 MiB."""
    code = "import sys, target_mainbrainer.cli; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imports_of(file) & modules().keys() for module, file in modules().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"These import each other: {' > '.join(error.args[1])}")


@cases("place", *PURE)
def test_what_is_pure_imports_no_network_no_clock_no_database_and_no_singer(place: str) -> None:
    path = HOUSE / place
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    names = {name for file in files for name in imports_of(file)}
    assert files
    assert {n for n in names if any(f"{n}.".startswith(f"{one}.") for one in IMPURE)} == set()


def test_the_target_and_the_sandbox_import_nothing_of_each_other() -> None:
    for folder, other in ((SANDBOX, "target_mainbrainer"), (HOUSE, "mainbrainer_sandbox")):
        found = {str(file): imports_of(file) for file in folder.rglob("*.py")}
        assert [f for f, names in found.items() if any(n.startswith(other) for n in names)] == []


OWNED_BY_ONE_THREAD = [
    *((StreamReport, "__setattr__"), (Rejections, "add"), (Ledger, "write")),
    *((StateTracker, "settle_counted"), (Statuses, "note"), (Booking, "settle")),
]


def test_one_thread_changes_all_state(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """With failures, and with many requests under way."""
    changed_by: set[tuple[str, int]] = set()

    def watch(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def watched(self: object, *args: t.Any, **kwargs: t.Any) -> t.Any:
            changed_by.add((f"{owner.__name__}.{name}", threading.get_ident()))
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in OWNED_BY_ONE_THREAD:
        watch(owner, name)
    quick.shorten(monkeypatch)
    load.crm.set_switches(refuse_email="bad")
    load.settings |= {name: load.path(name) for name in ("ledger_uri", "rejects_path")}
    load.settings |= {"batch_size_rows": 10, "confirm_batches": "report"}
    load.ok(people(200, bad=range(7, 200, 20)), max_concurrent_requests=8)
    faults = ["503@p0.2", "lost@p0.2:batch", "fail@p0.2:batch", "latency=0.02"]
    load.crm.set_faults(*faults, seed=1)
    load.ok("1-200 p#, 1-5 new#", max_concurrent_requests=8, unchanged_contacts="send")
    owned = {f"{owner.__name__}.{name}" for owner, name in OWNED_BY_ONE_THREAD}
    assert changed_by == {(name, threading.get_ident()) for name in owned}
