"""Put faults into the code, one at a time, and show which ones no test finds.

The faults are mutmut's. Its runner is not used: it copies the tree and replaces functions by
switches, so it cannot reach constants and the classes' own fields, and its copies have neither the
doctests nor the import mode of this project. Here, a process imports everything the tests need but
this project, and a fork of it runs a module's own tests with one fault in that module. No file is
changed.

    make mutants                                 a sample of 150 of all faults
    make mutants ONLY=mapping SAMPLE=0           all faults in one package
    make mutants ONLY=retry SAMPLE=40 SEED=7     a sample in the modules with that name
    make mutants ONLY=rounds/ BY=years/test_years.py  by these tests instead of the modules' own
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import typing as t
from itertools import islice
from pathlib import Path

import hypothesis
import libcst as cst
import pytest
from mutmut.mutation.file_mutation import create_mutations, deep_replace
from typing_extensions import override

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType, ModuleType

ROOT = Path(__file__).parents[1]
PACKAGE = "target_mainbrainer"

_MERGED = "rounds/test_order.py rounds/test_as_if_one_by_one.py"
_ENDED = "rounds/test_confirmation.py rounds/test_outcomes.py rounds/test_state.py"
_REFUSED = "rounds/test_isolation.py rounds/test_outcomes.py"
_SAID = "ledger/test_content.py ledger/test_consent.py"
_MOVED = "ledger/test_moves.py ledger/test_changed_addresses.py"
_ASKED = "api/test_http.py api/test_client.py"
_DRY = "end_to_end/test_dry_run.py"
_REFERENCE = "end_to_end/test_repository.py"
# Each module beside the tests that state what it promises. Left out is what only slow tests hold:
# threads' and processes' parts of rounds and ledger, and all glue.
TESTS: dict[str, str] = {
    "contacts": f"contacts mapping/test_mapper.py {_MERGED}",
    "privacy": "privacy end_to_end/test_privacy.py",
    "words": "report singer",
    "mapping/columns": "mapping/test_columns.py mapping/test_mapper.py",
    "mapping/identifiers": "mapping",
    "mapping/mapper": "mapping/test_mapper.py mapping/test_columns.py test_target.py",
    "mapping/suppressions": "mapping/test_identifiers.py test_target.py",
    "mapping/validator": "mapping/test_validator.py",
    "mapping/values": "mapping/test_values.py mapping/test_mapper.py",
    "settings/checks": "settings test_command.py",
    "settings/declared": f"settings test_command.py {_REFERENCE}",
    "singer/reader": "singer test_target.py",
    "singer/state": "singer rounds/test_state.py test_target.py ledger/test_content.py",
    "singer/stream_maps": "singer",
    "api/answers": "api/test_answers.py api/test_client.py rounds/test_confirmation.py",
    "api/client": "api rounds/test_outcomes.py",
    "api/http": f"api/test_http.py rounds/test_outcomes.py {_DRY}",
    "api/limits": f"{_ASKED} api/test_rate_limit.py ledger/test_database.py",
    "api/requests": "api/test_client.py",
    "report/counts": f"report end_to_end/test_failures.py {_REFERENCE}",
    "report/duplicates": "report/test_summary.py",
    "report/rejects": f"report {_REFUSED}",
    "report/summary": f"report end_to_end/test_failures.py {_DRY}",
    "rounds/batches": _ENDED,
    "rounds/booking": f"{_ENDED} {_SAID} {_MOVED}",
    "rounds/comparing": f"{_SAID} {_MOVED} ledger/test_full_reads.py {_DRY}",
    "rounds/isolation": _REFUSED,
    "rounds/missing": "ledger/test_full_reads.py ledger/test_content.py",
    "rounds/moves": _MOVED,
    "rounds/plan": f"{_SAID} {_MOVED}",
    "rounds/round": f"{_MERGED} {_MOVED}",
    "rounds/sending": f"{_REFUSED} {_ENDED}",
    "rounds/spool": "rounds/test_confirmation.py",
    "rounds/statuses": f"{_ENDED} {_SAID}",
    "ledger/content": f"{_SAID} {_MOVED}",
    "ledger/lease": "ledger/test_database.py ledger/test_processes.py",
}

# Imported once, before the forks.
_LIBRARIES = [
    "singer_sdk.testing",
    "requests",
    "sqlalchemy.dialects.sqlite",
    "phonenumbers",
    "email_validator",
    "jsonschema",
    "jsonschema_rs",
    "starlette.applications",
    "uvicorn",
    "msgspec",
]
_TIMED_OUT = -1
_LONGEST_SECONDS = 300.0


class Fault(t.NamedTuple):
    """One change to one module."""

    module: str
    source: str
    faulty: str

    @override
    def __str__(self) -> str:
        lines = difflib.unified_diff(self.source.splitlines(), self.faulty.splitlines(), n=0)
        changed = [line for line in lines if not line.startswith(("---", "+++"))]
        return f"{self.module} " + "\n    ".join(changed)


class _FaultyLoader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, faulty: str) -> None:
        super().__init__(fullname, path)
        self._faulty = faulty

    @override
    def get_code(self, fullname: str) -> CodeType:
        return compile(self._faulty, self.path, "exec", dont_inherit=True)


class _FaultyFinder(importlib.abc.MetaPathFinder):
    def __init__(self, fault: Fault) -> None:
        self._name = f"{PACKAGE}.{fault.module.replace('/', '.')}"
        self._loader = _FaultyLoader(self._name, str(_path(fault.module)), fault.faulty)

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, loader=self._loader)


Result: t.TypeAlias = tuple[Fault, int, float]


def _path(module: str) -> Path:
    return ROOT / PACKAGE / f"{module}.py"


def faults_of(modules: list[str], seed: int) -> Iterator[Fault]:
    """Yield every fault of the modules in random order; of each text only one, its case is moot."""
    found = []
    for module in modules:
        source = _path(module).read_text()
        tree, mutations, _, _ = create_mutations(f"{module}.py", source)
        for mutation in mutations:
            old, new = mutation.original_node, mutation.mutated_node
            if not isinstance(new, cst.SimpleString) or "XX" in new.value:
                found.append((module, source, tree, old, new))
    random.Random(seed).shuffle(found)  # noqa: S311
    print(f"{len(found)} faults in {len(modules)} modules, seed {seed}", flush=True)
    for module, source, tree, old, new in found:
        faulty = t.cast("cst.Module", deep_replace(tree, old, new)).code
        with contextlib.suppress(SyntaxError):
            compile(faulty, module, "exec", dont_inherit=True)
            yield Fault(module, source, faulty)


def exit_codes(faults: list[Fault], limits: dict[str, float], jobs: int) -> Iterator[Result]:
    """Yield what pytest says of the tests of each fault's module, or -1 if it takes too long.

    The limits are in seconds of the processor, so that a busy machine finds no more faults; a test
    that only waits may take ten times as long.
    """
    waiting = list(reversed(faults))
    running: dict[int, tuple[Fault, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            fault = waiting.pop()
            running[_start(fault, limits[fault.module])] = (fault, time.monotonic())
        time.sleep(0.05)
        for child, (fault, started) in list(running.items()):
            pid, status, used = os.wait4(child, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                code = _TIMED_OUT if code == -signal.SIGXCPU else abs(code)
                yield fault, code, used.ru_utime + used.ru_stime
            elif time.monotonic() - started > 10 * limits[fault.module]:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                yield fault, _TIMED_OUT, 0.0
            else:
                continue
            del running[child]


def _start(fault: Fault, limit: float) -> int:
    child = os.fork()
    if child:
        with contextlib.suppress(OSError):  # the child does it, too
            os.setpgid(child, child)
        return child
    code = 70
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
        code = _test(fault)
    finally:
        os._exit(code)


def _test(fault: Fault) -> int:
    os.chdir(ROOT)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    with tempfile.TemporaryDirectory() as scratch:
        # What Hypothesis learns of a fault must not reach the project's own examples.
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = scratch
        sys.meta_path.insert(0, _FaultyFinder(fault))
        without_shrinking = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile(
            "quick", max_examples=30, derandomize=True, phases=without_shrinking
        )
        hypothesis.settings.load_profile("quick")
        # What rewrites assertions would read the module from its file, without the fault.
        options = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain"]
        # A server for each fault would take longer than the tests; SQLite states the same.
        options += ["-k", "not postgresql"]
        tests = [str(ROOT / "tests" / test) for test in TESTS[fault.module].split()]
        options.append(f"--basetemp={scratch}/tests")
        return int(pytest.main([*options, str(_path(fault.module)), *tests]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a pattern of the modules' names")
    parser.add_argument("--sample", type=int, default=150, help="how many faults; 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--by", default="", help="these tests instead of the modules' own")
    arguments = parser.parse_args()
    if arguments.by:
        files = (ROOT / PACKAGE).rglob("[!_]*.py")
        names = [str(one.relative_to(ROOT / PACKAGE).with_suffix("")) for one in sorted(files)]
        TESTS.update(dict.fromkeys(names, arguments.by))
    if not any(re.search(arguments.only, module) for module in TESTS):
        parser.error(f"--only: there are no tests for '{arguments.only}'")
    return arguments


def main() -> None:
    """Print each fault that is not found, and how many are."""
    arguments = _arguments()
    modules = [module for module in TESTS if re.search(arguments.only, module)]
    faults = list(islice(faults_of(modules, arguments.seed), arguments.sample or None))
    for library in _LIBRARIES:
        importlib.import_module(library)
    sys.path.insert(0, str(ROOT))
    modules = sorted({fault.module for fault in faults})
    each_tests_once = {TESTS[module]: module for module in modules}.values()
    sound = [
        Fault(module, source := _path(module).read_text(), source) for module in each_tests_once
    ]
    limits = dict.fromkeys(TESTS, _LONGEST_SECONDS)
    for fault, code, seconds in exit_codes(sound, limits, arguments.jobs):
        if code:
            sys.exit(f"{fault.module}: its tests fail without a fault (pytest ends with {code}).")
        alike = [module for module in modules if TESTS[module] == TESTS[fault.module]]
        limits.update(dict.fromkeys(alike, 10 + 3 * seconds))
    survived = slow = 0
    for fault, code, _ in exit_codes(faults, limits, arguments.jobs):
        slow += code == _TIMED_OUT
        if code == 0:
            survived += 1
            print(f"SURVIVED {fault}", flush=True)
    found = len(faults) - survived
    print(
        f"{found} of {len(faults)} found ({found / len(faults):.0%}), {slow} by the time they take"
    )


if __name__ == "__main__":
    main()
