"""Trouble on demand: what goes wrong, and with which requests.

A fault is written `KIND[=VALUE][@WHEN][:ENDPOINT]`.

| KIND | What happens to the request |
|---|---|
| `429`, `503`, ... `[=SECONDS]` | answered so, before anything else; SECONDS is Retry-After |
| `latency=S` or `latency=S-S` | waits so many seconds first (`latency=0.2`, `latency=0.1-0.5`) |
| `reset` | the connection is reset, and nothing is processed |
| `lost` | processed, and then the connection is reset without an answer |
| `hang[=S]` | no answer for so long, or until the sandbox closes; then it is reset |
| `html` | processed, and answered with a web page instead of JSON |
| `cut` | processed, and answered with JSON that ends too early |
| `noid` | processed, and answered without the batch id |
| `fail` | accepted; when it is processed, the batch fails as a whole |
| `late=S` | accepted, and processed only after so many seconds |
| `stuck` | accepted, and never processed |
| `skip[=N]` | accepted; when it is processed, the first N contacts (1) are skipped |

WHEN is request numbers (`3`, `1-5`, `3,7-9`), `p0.05` (a probability), `every5`, or nothing, and
that is every request. ENDPOINT is `token`, `batch`, `insertupdate` or `status`; then only its
requests are met and counted. Counting starts when faults are set. One seed, the same faults.
"""

from __future__ import annotations

import random
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

ENDPOINTS = ("token", "batch", "insertupdate", "status")
_NEEDS_VALUE = {"latency", "late"}
_TAKES_VALUE = {"latency", "late", "hang", "skip"}
_KINDS = {
    "latency",
    "reset",
    "lost",
    "hang",
    "html",
    "cut",
    "noid",
    "fail",
    "late",
    "stuck",
    "skip",
}
_SHAPE = re.compile(
    r"(?P<kind>[a-z]+|\d{3})(?:=(?P<value>[\d.]+(?:-[\d.]+)?))?"
    r"(?:@(?P<when>[\w.,\-]+))?(?::(?P<endpoint>\w+))?"
)


class FaultError(ValueError):
    """A fault is not written as it should be."""


class Fault(msgspec.Struct, frozen=True):
    """One kind of trouble and the requests it meets.

    Attributes:
        text: The fault as it was written.
        kind: What happens; `status` for an answer with a status of its own.
        low, high: The value, as a range; both 0 if none was given.
        status: The answer's status, if that is the kind.
        numbers: The ranges of request numbers it meets, or () for others.
        every: It meets every so many requests; 0 is not by this.
        probability: The share of requests it meets; None is not by this.
    """

    text: str
    kind: str
    low: float = 0
    high: float = 0
    status: int = 0
    numbers: tuple[tuple[int, int], ...] = ()
    every: int = 0
    probability: float | None = None
    endpoint: str | None = None

    def meets(self, number: int, draw: float) -> bool:
        """Return whether the request of this number is met.

        Args:
            number: Counted from 1.
            draw: A random number from 0 to 1.
        """
        if self.numbers:
            return any(first <= number <= last for first, last in self.numbers)
        if self.every:
            return number % self.every == 0
        return self.probability is None or draw < self.probability


def parse(text: str) -> Fault:
    """Read a fault as it is written.

    Raises:
        FaultError: It cannot be read.

    >>> parse("503@3,7-9:batch").numbers
    ((3, 3), (7, 9))
    >>> parse("latency=0.1-0.5@p0.3").high
    0.5
    """
    shape = _SHAPE.fullmatch(text.strip())
    if shape is None:
        message = f"The fault '{text}' is not written as KIND[=VALUE][@WHEN][:ENDPOINT]."
        raise FaultError(message)
    kind, status = shape["kind"], 0
    if kind.isdecimal():
        kind, status = "status", int(kind)
        if status not in set(HTTPStatus) or status < HTTPStatus.OK:
            message = f"The fault '{text}' names a status that does not exist."
            raise FaultError(message)
    elif kind not in _KINDS:
        message = (
            f"There is no fault '{kind}'. There are: {', '.join(sorted(_KINDS))}, and 503 etc."
        )
        raise FaultError(message)
    if kind in _NEEDS_VALUE and shape["value"] is None:
        message = f"The fault '{kind}' needs a value, such as '{kind}=0.5'."
        raise FaultError(message)
    if shape["value"] is not None and kind not in {*_TAKES_VALUE, "status"}:
        message = f"The fault '{kind}' takes no value."
        raise FaultError(message)
    if shape["endpoint"] not in {*ENDPOINTS, None}:
        message = f"The fault '{text}' names an endpoint other than {', '.join(ENDPOINTS)}."
        raise FaultError(message)
    low, high = _range(shape["value"], text)
    return _at(
        Fault(text.strip(), kind, low, high, status, endpoint=shape["endpoint"]), shape["when"]
    )


def _range(value: str | None, text: str) -> tuple[float, float]:
    first, _, last = (value or "0").partition("-")
    try:
        low, high = float(first), float(last or first)
    except ValueError:
        low, high = 1.0, 0.0
    if low > high:
        message = f"The value of the fault '{text}' is not a number or a range."
        raise FaultError(message)
    return low, high


def _at(fault: Fault, when: str | None) -> Fault:
    """Return the fault with its WHEN."""
    replace = msgspec.structs.replace
    message = (
        f"When the fault '{fault.text}' happens cannot be read; see '@3,7-9', '@p0.1', '@every5'."
    )
    try:
        if when is None or when == "all":
            return fault
        if when.startswith("every"):
            every = int(when.removeprefix("every"))
            if every > 0:
                return replace(fault, every=every)
            raise FaultError(message)
        if when.startswith("p"):
            probability = float(when[1:])
            if 0 <= probability <= 1:
                return replace(fault, probability=probability)
            raise FaultError(message)
        numbers = []
        for part in when.split(","):
            first, _, last = part.partition("-")
            numbers.append((int(first), int(last or first)))
        return replace(fault, numbers=tuple(numbers))
    except ValueError:
        raise FaultError(message) from None


class Strike(msgspec.Struct, frozen=True):
    """A fault that has met a request, with its value drawn."""

    fault: Fault
    value: float

    @property
    def kind(self) -> str:
        """What happens."""
        return self.fault.kind


class Faults:
    """The faults in force, and the count of requests they go by."""

    def __init__(self, faults: Iterable[str | Fault] = (), seed: int = 0) -> None:
        self.faults = [parse(one) if isinstance(one, str) else one for one in faults]
        self.seed = seed
        self._counts: dict[str | None, int] = {}

    def strikes(self, endpoint: str | None) -> list[Strike]:
        """Count a request and return the faults that meet it."""
        for scope in {None, endpoint}:
            self._counts[scope] = self._counts.get(scope, 0) + 1
        met = []
        for place, fault in enumerate(self.faults):
            if fault.endpoint is not None and fault.endpoint != endpoint:
                continue
            number = self._counts[fault.endpoint]
            # Drawn from seed, fault and number alone, not in turn: a rerun is struck alike even
            # if its requests come in another order.
            dice = random.Random(f"{self.seed} {place} {number}")  # noqa: S311 - no secret
            if fault.meets(number, dice.random()):
                met.append(Strike(fault, dice.uniform(fault.low, fault.high)))
        return met
