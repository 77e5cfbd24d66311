"""What all measurements share: the lines of the table, the inputs, and running the target."""

from __future__ import annotations

import json
import statistics
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

from benchmarks import inputs
from benchmarks.processes import Ran, Server, run

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Line(t.NamedTuple):
    """One line of the table.

    Attributes:
        values: One for each run; the median counts.
        goal: In words.
        is_met: What the goal asks of the median, or None if nothing.
        note: What the median stands for, in numbers of this machine.
    """

    what: str
    values: Sequence[float]
    form: str = "{:.2f}"
    goal: str = ""
    is_met: Callable[[float], bool] | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The value that counts."""
        return statistics.median(self.values)


@dataclass
class Bench:
    """A place for inputs and logs, and how much is run.

    Attributes:
        folder: Where inputs and logs are.
        runs: How often everything is run that is compared.
        windows: How long the loads of the grid are, in windows of 10 seconds.
        say: Tells how far it is.
    """

    folder: Path
    runs: int
    windows: Sequence[int]
    say: Callable[[str], None]

    def input(self, shape: str, records: int, *, changed_percent: int = 0) -> Path:
        """Return an input, which is made only once; so many of its people have moved house."""
        name = f"{shape}-{records}-{changed_percent}.singer"
        return inputs.write(self.folder / name, shape, records, changed_percent=changed_percent)

    def noop(self, lines: Path) -> Ran:
        """Run the SDK's sink that does nothing."""
        command = [sys.executable, "-m", "benchmarks.noop"]
        return run(command, stdin=lines, log=self.folder / "noop.log")

    def command(self, url: str, name: str, **settings: object) -> list[str]:
        """Return the command that runs the target with these settings, and a report of `name`."""
        config = self.folder / f"{name}.json"
        own: dict[str, object] = {"api_url": url, "access_token": "made-up"}
        # Statuses are off where sending alone is measured; `confirming` has them on.
        own |= {"rate_limit_requests": 0, "confirm_batches": "none"}
        own["report_path"] = str(self.folder / f"{name}-report.json")
        given = inputs.SETTINGS | own | settings
        config.write_text(json.dumps({k: v for k, v in given.items() if v is not None}))
        return [str(Path(sys.executable).with_name("target-mainbrainer")), "--config", str(config)]

    def target(self, lines: Path, crm: Server, records: int, **settings: object) -> Ran:
        """Run the target, and make sure that it has delivered everything.

        Raises:
            RuntimeError: It has not.
        """
        name = f"target-{crm.url.rsplit(':', 1)[1]}"
        command = self.command(crm.url, name, **settings)
        log = self.folder / f"{name}.log"
        ran = run(command, stdin=lines, log=log, certificate=crm.certificate)
        report = json.loads((self.folder / f"{name}-report.json").read_text())
        counts = next(iter(report["streams"].values()))
        if counts["accepted"] + counts["unchanged"] != records:
            message = f"{counts} of {records} records: the benchmark's input does not get through."
            raise RuntimeError(message)
        return ran
