"""Trouble on demand: what goes wrong, and with which requests.

A fault is written `KIND[=VALUE][@WHEN][:ENDPOINT]`; `HELP` says what each part can be.
"""

from __future__ import annotations

import random
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

HELP = """
faults are written KIND[=VALUE][@WHEN][:ENDPOINT], and --fault may be given more than once:
  429 503 ... [=SECONDS]   answered so, and nothing is processed (SECONDS is Retry-After)
  latency=S or S-S         waits first
  reset                    the connection is reset, and nothing is processed
  lost                     processed, then the connection is reset without an answer
  hang[=S]                 no answer for S seconds, or until the sandbox ends; then a reset
  html, cut                processed, but the answer is a web page, or JSON that ends too early
  noid                     processed, but the answer holds no batch id
  odd                      the status of a batch is a number and a word that mean nothing
  fail                     the batch is accepted, and fails as a whole when it is processed
  late=S, stuck            the batch is accepted, and processed late, or never
  skip[=N]                 the batch is accepted, and its first N contacts (1) are skipped
WHEN is request numbers (3,7-9), p0.05 (probability), every5, or nothing (always).
ENDPOINT is token, batch, insertupdate or status; then only its requests are met and counted.
Counting starts when faults are set; the same seed and faults meet the same requests.
examples: --fault 503@3,7-9  --fault latency=0.1-0.5@p0.3:batch  --fault lost@p0.01
"""

ENDPOINTS = ("token", "batch", "insertupdate", "status")
_NEEDS_VALUE = {"latency", "late"}
_TAKES_VALUE = {"latency", "late", "hang", "skip", "status"}
_KINDS = {
    *("latency", "reset", "lost", "hang", "html", "cut", "noid", "odd"),
    *("fail", "late", "stuck", "skip"),
}
_SHAPE = re.compile(
    r"(?P<kind>[a-z]+|\d{3})(?:=(?P<low>\d+(?:\.\d*)?|\.\d+)(?:-(?P<high>\d+(?:\.\d*)?|\.\d+))?)?"
    r"(?:@(?P<when>[\w.,\-]+))?(?::(?P<endpoint>\w+))?"
)
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


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

    def applies_to(self, number: int, draw: float) -> bool:
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


class TriggeredFault(msgspec.Struct, frozen=True):
    """A fault that meets a request, with its value drawn."""

    fault: Fault
    value: float

    @property
    def kind(self) -> str:
        """What happens."""
        return self.fault.kind


class Faults:
    """The faults in force, and the count of requests they go by."""

    def __init__(self, faults: Iterable[str] = (), seed: int = 0) -> None:
        self.faults = [parse(one) for one in faults]
        self.seed = seed
        self._counts: dict[str | None, int] = {}

    def triggered(self, endpoint: str | None) -> list[TriggeredFault]:
        """Count a request and return the faults that meet it."""
        for scope in {None, endpoint}:
            self._counts[scope] = self._counts.get(scope, 0) + 1
        met = []
        for place, fault in enumerate(self.faults):
            if fault.endpoint is not None and fault.endpoint != endpoint:
                continue
            number = self._counts[fault.endpoint]
            # Drawn from seed, fault and number alone, not in turn: a rerun meets the same faults
            # even if its requests come in another order.
            dice = random.Random(f"{self.seed} {place} {number}")  # noqa: S311 - no secret
            if fault.applies_to(number, dice.random()):
                met.append(TriggeredFault(fault, dice.uniform(fault.low, fault.high)))
        return met


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
        message = f"There is no fault '{kind}'. There are: 503 etc., {', '.join(sorted(_KINDS))}."
        raise FaultError(message)
    if kind in _NEEDS_VALUE and shape["low"] is None:
        message = f"The fault '{kind}' needs a value, such as '{kind}=0.5'."
        raise FaultError(message)
    if shape["low"] is not None and kind not in _TAKES_VALUE:
        message = f"The fault '{kind}' takes no value."
        raise FaultError(message)
    if shape["endpoint"] not in {*ENDPOINTS, None}:
        message = f"The fault '{text}' names an endpoint other than {', '.join(ENDPOINTS)}."
        raise FaultError(message)
    low = float(shape["low"] or 0)
    high = float(shape["high"] or low)
    if low > high:
        message = f"The value of the fault '{text}' is a range that ends before it begins."
        raise FaultError(message)
    fault = Fault(text.strip(), kind, low, high, status, endpoint=shape["endpoint"])
    return _with_when(fault, shape["when"])


def _with_when(fault: Fault, when: str | None) -> Fault:
    """Return the fault with the requests it meets."""
    replace = msgspec.structs.replace
    if when is None:
        return fault
    if match := re.fullmatch(r"every(\d+)", when):
        if every := int(match[1]):
            return replace(fault, every=every)
    elif match := re.fullmatch(r"p(\d*\.?\d+)", when):
        if float(match[1]) <= 1:
            return replace(fault, probability=float(match[1]))
    elif all(parts := [_RANGE.fullmatch(part) for part in when.split(",")]):
        numbers = tuple((int(part[1]), int(part[2] or part[1])) for part in parts if part)
        return replace(fault, numbers=numbers)
    message = (
        f"When the fault '{fault.text}' happens cannot be read; see '@3,7-9', '@p0.1', '@every5'."
    )
    raise FaultError(message)
