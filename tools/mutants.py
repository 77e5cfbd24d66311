"""Put faults into the code, one at a time, and show which ones no test finds.

The faults are mutmut's. Its runner is not used: it copies the tree and replaces functions by
switches, so it cannot reach constants and the classes' own fields, and its copies have neither the
doctests nor the import mode of this project. Here, a process imports everything the tests need but
this project, and a fork of it runs tests with one fault in one module. No file is changed.

The tests of a fault are measured: all tests run once with coverage, and .tools/mutants/ keeps which
lines each of them runs and how long that takes, until the code or a test changes. Those that run
the changed line judge the fault, the quickest first, until one fails or a minute is used up. NOT
RUN is a line that none of them runs. It counts as survived, even if it is run by tests that are
left out: the years, those on PostgreSQL, and those that start the target as another process.

    make mutants                                 a sample of 150 of all faults
    make mutants ONLY=mapping SAMPLE=0           all faults in one package
    make mutants ONLY=limits SAMPLE=40 SEED=7    a sample in the modules with that name
    make mutants ONLY=rounds/ BY=years/test_years.py  by these tests instead of the measured ones
"""

import argparse
import ast
import contextlib
import difflib
import hashlib
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import typing as t
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from itertools import accumulate, islice, zip_longest
from pathlib import Path

import coverage
import hypothesis
import libcst as cst
import pytest
from mutmut.mutation.file_mutation import create_mutations, deep_replace
from typing_extensions import override

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "target_mainbrainer"
MODULES = sorted(PACKAGE.rglob("[!_]*.py"))
TESTS = ROOT / "tests"
MEASURED = ROOT / ".tools/mutants"

# They run other programs, simulate years, or test the sandbox, which does not import the target.
_LEFT_OUT = re.compile("mainbrainer_sandbox/|years/|test_(databases|docs|meltano|packaging|taps)")
# Imported once, before the forks.
_LIBRARIES = ["singer_sdk.testing", "phonenumbers", "email_validator", "jsonschema_rs", "uvicorn"]
# All limits are in seconds of the processor, so that a busy machine finds no more faults.
_BUDGET_SECONDS = 60.0
_LONGEST_SECONDS = 300.0


class Fault(t.NamedTuple):
    """One change to one module."""

    module: Path
    source: str
    faulty: str

    @override
    def __str__(self) -> str:
        old, new = self.source.splitlines(), self.faulty.splitlines()
        changed = [line.rstrip() for line in difflib.unified_diff(old, new, n=0)][2:]
        return f"{self.module.relative_to(PACKAGE)} " + "\n    ".join(changed)

    def places(self) -> Iterator[list[tuple[Path, int]]]:
        """Yield its line, then those of the statement, function, class, module and folder."""
        old, new = self.source.splitlines(), self.faulty.splitlines()
        changed = next(n for n, (a, b) in enumerate(zip_longest(old, new), start=1) if a != b)
        nodes = [node for node in ast.walk(ast.parse(self.source)) if isinstance(node, ast.stmt)]
        around = [range(node.lineno, (node.end_lineno or 0) + 1) for node in nodes]
        around = sorted((lines for lines in around if changed in lines), key=len)
        for lines in (range(changed, changed + 1), *around, range(1, len(old) + 1)):
            yield [(self.module, line) for line in lines]
        yield [(self.module.parent, 0)]


class _Quickest:
    """Runs the tests of a fault, the quickest first, and none much longer than it usually takes."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self._seconds]
        items[:] = sorted(chosen, key=lambda item: self._seconds[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        _limit(self._seconds[item.nodeid])
        return (yield)


class _Coverage:
    """Writes which lines each test runs, and how long it takes if it passes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seconds: dict[str, float] = {}
        self._coverage = coverage.Coverage(file, config_file=False, source=[str(PACKAGE)])
        self._coverage.set_option("run:core", "ctrace")  # `sysmon` sees each line only once

    def pytest_sessionstart(self) -> None:
        self._coverage.start()
        for module in MODULES:  # or the first test of a module would seem to run its constants
            importlib.import_module(".".join(module.relative_to(ROOT).with_suffix("").parts))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._coverage.switch_context(item.nodeid)
        failed, before = item.session.testsfailed, sum(os.times()[:4])
        result = yield
        if item.session.testsfailed == failed:
            self._seconds[item.nodeid] = sum(os.times()[:4]) - before
        return result

    def pytest_sessionfinish(self) -> None:
        self._coverage.stop()
        self._coverage.save()
        self._file.with_suffix(".json").write_text(json.dumps(self._seconds))


class Attempt(t.NamedTuple):
    """Tests to run, with a fault or without, and the seconds that they usually take."""

    fault: Fault | None
    files: list[str]
    seconds: float
    plugins: tuple[object, ...] = ()


def _limit(usual: float) -> None:
    seconds = int(time.process_time() + 10 + 3 * usual)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def faults_of(modules: list[Path], seed: int) -> Iterator[Fault]:
    """Yield every fault of the modules in random order; of each text only one."""
    found = []
    for module in modules:
        source = module.read_text()
        tree, mutations, _, _ = create_mutations(str(module), source)
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


def results(attempts: list[Attempt], jobs: int) -> Iterator[tuple[Attempt, int, float]]:
    """Yield pytest's exit code for each attempt, or minus the signal, and how long it took."""
    waiting = iter(attempts)
    running: dict[int, tuple[Attempt, float]] = {}
    while True:
        for attempt in islice(waiting, jobs - len(running)):
            running[_start(attempt)] = (attempt, time.monotonic())
        if not running:
            return
        time.sleep(0.05)
        for child, (attempt, started) in list(running.items()):
            if time.monotonic() - started > 100 + 30 * attempt.seconds:  # it only waits
                os.killpg(child, signal.SIGXCPU)
            pid, status, used = os.wait4(child, os.WNOHANG)
            if pid:
                del running[child]
                yield attempt, os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime


def _start(attempt: Attempt) -> int:
    if child := os.fork():
        return child
    code, scratch = 70, tempfile.mkdtemp()
    try:
        os.setpgid(0, 0)
        os.chdir(ROOT)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        _limit(attempt.seconds)
        if fault := attempt.fault:
            path, put = str(fault.module), pytest.MonkeyPatch().setattr
            new = compile(fault.faulty, path, "exec", dont_inherit=True)
            old = SourceFileLoader.get_code
            put(SourceFileLoader, "get_code", lambda a, b: new if a.path == path else old(a, b))
        # What Hypothesis learns of a fault must not reach the project's own examples.
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = scratch
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # no shrinking
        quick = hypothesis.settings(max_examples=30, derandomize=True, phases=phases)
        hypothesis.settings.register_profile("quick", quick)
        hypothesis.settings.load_profile("quick")
        # What rewrites assertions would read the module from its file, without the fault.
        options = ["-q", "-p", "no:cacheprovider", "--assert=plain", f"--basetemp={scratch}/tests"]
        # A server for each fault would take longer than the tests; SQLite states the same.
        options += ["-k", "not postgresql", *(["-x"] if fault else [])]
        code = int(pytest.main([*options, *attempt.files], attempt.plugins))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(code)


def measure(jobs: int) -> Path:
    """Return the folder of what is known of the code and the tests as they are."""
    files = sorted(file for part in (PACKAGE, TESTS) for file in part.rglob("*.py"))
    folder = MEASURED / hashlib.sha256(b"".join(map(Path.read_bytes, files))).hexdigest()
    if not folder.exists():
        shutil.rmtree(MEASURED, ignore_errors=True)
        unfinished = MEASURED / "unfinished"
        unfinished.mkdir(parents=True)
        tests = [file for file in files if file.name.startswith("test_")]
        alone = [[str(file)] for file in tests if not _LEFT_OUT.search(str(file.relative_to(ROOT)))]
        attempts = [
            Attempt(None, group, _LONGEST_SECONDS, (_Coverage(unfinished / f"{number}.db"),))
            for number, group in enumerate([[*map(str, MODULES)], *alone])
        ]
        total = 0.0
        for attempt, code, seconds in results(attempts, jobs):
            total += seconds
            if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
                print(f"LEFT OUT what fails without a fault in {attempt.files} ({code})")
        unfinished.rename(folder)
        print(f"measured in {total:.0f} s of the processor", flush=True)
    return folder


def choose(faults: list[Fault], folder: Path) -> Iterator[Attempt]:
    """Yield for each fault the quickest tests that run its line; print it if none does.

    What runs at import, without a test, is judged by those of the class or module around it.
    """
    took: dict[str, float] = {}
    tests: dict[tuple[Path, int], set[str]] = {}
    for file in folder.glob("*.json"):
        took |= json.loads(file.read_text())
        data = coverage.CoverageData(str(file.with_suffix(".db")))
        data.read()
        for path in map(Path, data.measured_files()):
            for line, contexts in data.contexts_by_lineno(str(path)).items():
                tests.setdefault((path, line), set()).update(contexts)
                tests.setdefault((path.parent, 0), set()).update(contexts)
    for fault in faults:
        for number, place in enumerate(fault.places()):
            ran = set().union(*(tests.get(line, ()) for line in place))
            quickest = sorted(ran & took.keys(), key=took.__getitem__)
            if quickest or (number and not ran):
                break
        totals = accumulate(map(took.__getitem__, quickest))
        enough = sum(total <= _BUDGET_SECONDS for total in totals) or 1
        chosen = {test: took[test] for test in quickest[:enough]}
        files = sorted({test.partition("::")[0] for test in chosen})
        if chosen:
            yield Attempt(fault, files, sum(chosen.values()), (_Quickest(chosen),))
        else:
            print(f"NOT RUN {fault}", flush=True)


def main() -> None:
    """Print each fault that is not found, and how many are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a pattern of the modules' names")
    parser.add_argument("--sample", type=int, default=150, help="how many faults; 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--by", default="", help="these tests instead of the measured ones")
    arguments = parser.parse_args()
    modules = [one for one in MODULES if re.search(arguments.only, str(one.relative_to(PACKAGE)))]
    faults = list(islice(faults_of(modules, arguments.seed), arguments.sample or None))
    for library in _LIBRARIES:
        importlib.import_module(library)
    sys.path.insert(0, str(ROOT))
    if arguments.by:
        files = [str(TESTS / test) for test in arguments.by.split()]
        ((_, code, seconds),) = results([Attempt(None, files, _LONGEST_SECONDS)], 1)
        if code:
            sys.exit(f"The tests fail without a fault (pytest ends with {code}).")
        attempts = [Attempt(fault, files, seconds) for fault in faults]
    else:
        attempts = list(choose(faults, measure(arguments.jobs)))
    survived, slow, total = len(faults) - len(attempts), 0, 0.0
    for attempt, code, seconds in results(attempts, arguments.jobs):
        total += seconds
        slow += code == -signal.SIGXCPU
        if code == 0:
            survived += 1
            print(f"SURVIVED {attempt.fault}", flush=True)
    found = len(faults) - survived
    share = f"{found} of {len(faults)} found ({found / len(faults):.0%})"
    print(f"{share}, {slow} by the time they take, in {total:.0f} s of the processor")


if __name__ == "__main__":
    main()
