"""The world of a simulation: its clock, its machines, and the order in which everything happens.

The target runs as it is, in one thread of this process. What it reaches the outside with is
replaced: the modules `time`, `threading` and `queue`, the transport, the commit, standard output.
Each of its threads is a greenlet; whenever one waits, the seed decides which one goes on, and when
all wait, the clock jumps to the next moment at which one need not.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import logging
import math
import os
import random
import signal
import sys
import typing as t
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import greenlet
from typing_extensions import override

import target_mainbrainer.api.client
import target_mainbrainer.ledger.database
import target_mainbrainer.ledger.ledger
import target_mainbrainer.rounds.comparing
import target_mainbrainer.rounds.missing
import target_mainbrainer.rounds.moves
import target_mainbrainer.singer.state
from target_mainbrainer import cli
from target_mainbrainer.ledger import lease
from target_mainbrainer.ledger.database import Database, DatabaseAwayError
from target_mainbrainer.report import rejects

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from target_mainbrainer.api.http import Transport

POSTGRESQL_CLOCK = """
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql
AS $$ SELECT to_timestamp(current_setting('years.now')::float8) $$;
"""
"""An empty database with this clock; it precedes the real one on the `search_path`."""

BEGINNING = 1_790_000_000.0
"""Seconds since the epoch when a simulation begins."""

ENDED_BY_KILL = -9


class KilledError(BaseException):
    """The process is no more: nothing that it still does reaches the outside."""


@dataclass(eq=False)
class Process:
    """A run of the target on a machine.

    Attributes:
        number: The number of the process.
        kill_at: The step at which it is killed; 0 for never.
        dies_renaming: It is killed while it gives contacts, which it names by id, other addresses.
        term_at: The step at which it is asked to end.
        sleep_at: The step at which its machine falls asleep; 0 for never.
        sleep_seconds: For how long.
        away: The steps at which the ledger's database goes away, and for how many steps.
        steps: How many steps it has made.
        states: What it has written to standard output.
        code: Its exit code.
        at_death: What the system does when it has ended: files are closed.
    """

    number: int
    machine: str
    kill_at: int = 0
    dies_renaming: bool = False
    term_at: int = 0
    sleep_at: int = 0
    sleep_seconds: float = 0.0
    away: tuple[int, int] = (0, 0)
    steps: int = 0
    asleep_until: float = 0.0
    slept: float = 0.0
    is_dead: bool = False
    states: list[dict[str, t.Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    code: int | None = None
    at_death: list[Callable[[], None]] = field(default_factory=list)
    handle: Callable[[int, None], None] = lambda *_: None

    def is_away(self) -> bool:
        first, count = self.away
        return first <= self.steps < first + count


class Waiter(t.NamedTuple):
    """A greenlet that waits.

    Attributes:
        deadline: When it goes on at the latest, by the clock of its process.
        until: What it waits for; None if for nothing but the time.
    """

    process: Process
    thread: greenlet.greenlet
    deadline: float
    until: Callable[[], bool] | None

    def is_ready(self, now: float) -> bool:
        process = self.process
        if process.asleep_until > now:
            return False
        return self.deadline + process.slept <= now or (self.until is not None and self.until())

    @property
    def next_at(self) -> float:
        return max(self.deadline + self.process.slept, self.process.asleep_until)


class World:
    """Clock and scheduler.

    Attributes:
        now: Seconds since the epoch.
        process: The process that goes on now.
        transport: Returns the way from a process to the CRM.
        crash: What a greenlet raised that must not raise anything.
    """

    def __init__(self) -> None:
        self.now = BEGINNING
        self.random = random.Random(0)
        self.transport: Callable[[Process], Transport]
        self._process: Process | None = None
        self._waiting: list[Waiter] = []
        self._alive: dict[int, Process] = {}
        self._numbers = 100
        self.crash: BaseException | None = None
        self._seeds = random.Random(1)
        self._engines: dict[t.Any, t.Any] = {}

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    # Waiting

    def pause(self, seconds: float = math.inf, until: Callable[[], bool] | None = None) -> bool:
        """Let others go on, until something is so or time is up; return whether it is so."""
        process = self.process
        if process.is_dead:
            raise KilledError
        deadline = self.now + seconds - process.slept
        thread = greenlet.getcurrent()
        self._waiting.append(Waiter(process, thread, deadline, until))
        t.cast("greenlet.greenlet", thread.parent).switch()
        if process.is_dead:
            raise KilledError
        return until is not None and until()

    def step(self) -> None:
        """Note that a process comes from one step to the next: here it may be killed."""
        process = self.process
        process.steps += 1
        if process.steps == process.term_at:
            process.handle(signal.SIGTERM, None)
        if process.is_dead or process.steps == process.kill_at:
            process.is_dead = True
            raise KilledError

    def rest(self) -> None:
        """Let the machine fall asleep, if this is the moment."""
        process = self.process
        if 0 < process.sleep_at <= process.steps:
            process.sleep_at = 0
            process.asleep_until = self.now + process.sleep_seconds
            process.slept += process.sleep_seconds
            self.pause(0)

    def spawn(self, process: Process, action: Callable[[], None]) -> None:
        """Begin a thread of a process."""

        def run() -> None:
            with contextlib.suppress(KilledError):
                action()

        # The parent is where a thread goes when it ends: the scheduler, not who has begun it.
        thread = greenlet.greenlet(run, parent=self._scheduler)
        self._waiting.append(Waiter(process, thread, self.now - process.slept, None))

    # Processes

    def start(self, machine: str, **faults: t.Any) -> Process:
        """Return a new process."""
        self._numbers += 1
        return Process(self._numbers, machine, **faults)

    def run(self, *runs: tuple[Process, float, dict[str, t.Any], Iterable[str]]) -> None:
        """Run the target in processes, each from a moment on, until all have ended.

        Args:
            runs: Each process, the seconds after which it starts, its settings and its input.
        """
        for process, seconds, config, lines in runs:
            self.spawn(process, functools.partial(self._main, process, seconds, config, lines))
        while self._waiting:
            self._go_on()
        if self.crash is not None:
            raise self.crash

    def call(self, action: Callable[[], t.Any]) -> None:
        """Run something that does not wait, as a process of its own."""
        self._process = self.start("a")
        action()

    def _go_on(self) -> None:
        ready = [one for one in self._waiting if one.is_ready(self.now)]
        if not ready:
            self.now = min(one.next_at for one in self._waiting)
            assert self.now < math.inf, "all wait for each other"
            return
        waiter = ready[0] if len(ready) == 1 else self.random.choice(ready)
        self._waiting.remove(waiter)
        self._process = waiter.process
        waiter.thread.switch()
        if waiter.process.is_dead:
            self._bury(waiter.process)

    def _bury(self, process: Process) -> None:
        """Unwind the threads of a process that is dead; they reach nothing any more."""
        self._alive.pop(process.number, None)
        while left := [one for one in self._waiting if one.process is process]:
            self._waiting.remove(left[0])
            self._process = process
            if left[0].thread:  # else it has not begun
                left[0].thread.throw(KilledError)
        for close in process.at_death:
            close()

    def _main(
        self, process: Process, seconds: float, config: dict[str, t.Any], lines: Iterable[str]
    ) -> None:
        if seconds:
            self.pause(seconds)
        self._alive[process.number] = process
        process.code = 0
        try:
            cli.invoke(config=cli.Configuration(config), file_input=self._tap(lines))
        except SystemExit as ended:
            process.code = int(ended.code or 0)
        except KilledError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again outside
            self.crash = error
        if process.is_dead:
            process.code = ENDED_BY_KILL
        process.is_dead = True
        self._alive.pop(process.number, None)

    def _tap(self, lines: Iterable[str]) -> t.Any:
        def read() -> Iterator[str]:
            for line in lines:
                if line.startswith("~"):  # so many seconds without a line
                    for _ in range(math.ceil(float(line[1:]) / 0.5)):
                        self.pause(0.5)
                        yield ""
                    continue
                yield line
            self.rest()

        return read()

    # The outside

    @contextlib.contextmanager
    def replaced(self) -> Iterator[None]:
        """Let the target see this world instead of the real one."""
        self._scheduler = greenlet.getcurrent()
        before, limit = random.getstate(), sys.getrecursionlimit()
        random.seed(self.random.random())
        root = logging.getLogger()
        collector, level = _Collector(self), root.level
        root.addHandler(collector)
        others = [one for one in root.handlers if one is not collector]
        for one in others:
            root.removeHandler(one)
        root.setLevel(logging.INFO)
        try:
            with contextlib.ExitStack() as stack:
                for module, name, value in self._replacements():
                    stack.enter_context(mock.patch.object(module, name, value))
                yield
        finally:
            for engine in self._engines.values():
                engine.dispose()
            root.removeHandler(collector)
            root.setLevel(level)
            for one in others:
                root.addHandler(one)
            random.setstate(before)
            sys.setrecursionlimit(limit)

    def _replacements(self) -> Iterator[tuple[t.Any, str, t.Any]]:
        fakes = {"time": self._time(), "threading": self._threading(), "queue": self._queue()}
        for module in _modules():
            for name, fake in fakes.items():
                if getattr(module, name, None) is sys.modules[name]:
                    yield module, name, fake
        yield target_mainbrainer.api.client, "Transport", lambda **_: self.transport(self.process)
        yield target_mainbrainer.singer.state, "sys", SimpleNamespace(stdout=_Output(self))
        yield cli, "new_run_id", lambda: f"{self.process.number:08x}"
        database = target_mainbrainer.ledger.database
        urandom = self._seeds.randbytes
        yield database, "os", SimpleNamespace(**{**vars(os), "urandom": urandom})
        for name in ("_sqlite_engine", "_postgresql_engine"):
            yield database, name, self._engine(getattr(database, name))
        yield rejects, "_open_locked", self._locked(rejects._open_locked)
        yield Database, "transaction", self._transaction(Database.transaction)
        yield signal, "signal", lambda _, handle: setattr(self.process, "handle", handle)
        yield lease, "_machine", lambda: self.process.machine
        yield lease, "_process", self._described
        yield lease, "os", SimpleNamespace(getpid=lambda: self.process.number)
        yield importlib.metadata, "version", _version
        yield target_mainbrainer.api.client, "version", _version

    def _engine(self, real: Callable[..., t.Any]) -> Callable[..., t.Any]:
        """Return one engine for each database: a new one would compile all statements again."""

        def engine(*place: t.Any, **options: t.Any) -> t.Any:
            file = place[0].stat().st_ino if isinstance(place[0], Path) else None
            key = file, *place, *options.values()
            if key not in self._engines:
                self._engines[key] = real(*place, **options)
            return self._engines[key]

        return engine

    def _locked(self, real: Callable[[Path], tuple[int, int]]) -> Callable[[Path], tuple[int, int]]:
        def open_locked(path: Path) -> tuple[int, int]:
            descriptor, size = real(path)
            file = os.fstat(descriptor)

            def close() -> None:
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(descriptor), file):
                        os.close(descriptor)

            self.process.at_death.append(close)
            return descriptor, size

        return open_locked

    def _described(self, number: int) -> str:
        found = self._alive.get(number)
        is_here = found is not None and found.machine == self.process.machine
        return f"{number} {number}" if is_here else ""

    def _transaction(self, real: t.Any) -> t.Any:
        """Return a transaction of the database before, in and after which a process may die.

        A database that is away is so at the beginning, or after the commit: whether it was made
        cannot be known then.
        """

        @contextlib.contextmanager
        def transaction(database: Database, *, reads_only: bool = False) -> Iterator[t.Any]:
            self.step()
            away = DatabaseAwayError("The ledger cannot be used. The server does not answer.")
            if self.process.is_away():
                raise away
            with real(database, reads_only=reads_only) as connection:
                if not database.is_sqlite:
                    connection.exec_driver_sql(f"SET LOCAL years.now = {self.now!r}")
                yield connection
                self.step()
            self.step()
            if self.process.is_away() and not reads_only:
                raise away

        return transaction

    # Modules

    def _time(self) -> t.Any:
        return SimpleNamespace(
            monotonic=lambda: self.now - self.process.slept,
            time=lambda: self.now,
            sleep=self.pause,
            clock_gettime=lambda _: self.now,
            CLOCK_BOOTTIME=7,
            CLOCK_REALTIME=0,
        )

    def _threading(self) -> t.Any:
        return SimpleNamespace(
            Event=lambda: Event(self),
            Lock=lambda: Lock(self),
            Condition=lambda: Condition(self),
            Thread=functools.partial(Thread, self),
            current_thread=lambda: self,
            main_thread=lambda: None,
        )

    def _queue(self) -> t.Any:
        return SimpleNamespace(SimpleQueue=lambda: Queue(self), Empty=EmptyError)


class EmptyError(Exception):
    """As `queue.Empty`."""


class _Fake:
    def __init__(self, world: World) -> None:
        self._world = world


class Event(_Fake):
    """As `threading.Event`."""

    _is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True

    def wait(self, timeout: float | None = None) -> bool:
        if self._is_set:
            return True
        return self._world.pause(math.inf if timeout is None else timeout, self.is_set)


class Lock(_Fake):
    """As `threading.Lock`."""

    _is_free = True

    def is_free(self) -> bool:
        return self._is_free

    def __enter__(self) -> None:
        while not self._is_free:
            self._world.pause(until=self.is_free)
        self._is_free = False

    def __exit__(self, *_: object) -> None:
        self._is_free = True


class Condition(Lock):
    """As `threading.Condition`."""

    def wait_for(self, predicate: Callable[[], bool]) -> bool:
        while not predicate():
            self.__exit__()
            self._world.pause(until=lambda: self._is_free and predicate())
            self.__enter__()
        return True

    def notify_all(self) -> None:
        """Do nothing: the scheduler asks who can go on."""


class Thread:
    """As `threading.Thread`."""

    def __init__(self, world: World, *, target: Callable[[], None], **_: object) -> None:
        self._world = world
        self._target = target

    def start(self) -> None:
        self._world.spawn(self._world.process, self._target)


class Queue:
    """As `queue.SimpleQueue`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._items: deque[t.Any] = deque()

    def put(self, item: object) -> None:
        self._items.append(item)

    def get_nowait(self) -> t.Any:
        if not self._items:
            raise EmptyError
        return self._items.popleft()

    def get(self, timeout: float = math.inf) -> t.Any:
        if not self._items:
            self._world.pause(timeout, lambda: bool(self._items))
        return self.get_nowait()


class _Output(_Fake):
    """Standard output: each line is a STATE."""

    def fileno(self) -> int:
        import io  # noqa: PLC0415

        raise io.UnsupportedOperation

    def write(self, line: str) -> None:
        process = self._world.process
        self._world.step()
        process.states.append(json.loads(line))
        self._world.step()


class _Collector(logging.Handler):
    """Collects the log of each process."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    @override
    def emit(self, record: logging.LogRecord) -> None:
        process = self._world.process
        if process.is_dead or record.name.startswith("singer_sdk"):
            return
        text = record.getMessage()
        process.log.append(f"{record.levelname} {text}")
        if record.levelno >= logging.WARNING:
            process.warnings.append(text)


def _modules() -> list[t.Any]:
    return [one for name, one in sys.modules.items() if name.startswith("target_mainbrainer.")]


_version = functools.cache(importlib.metadata.version)
