"""Faults on demand: what goes wrong, and with which requests.

A fault is written `KIND[=VALUE][@WHEN][:ENDPOINT]`; `HELP` says what each part can be.
"""

from __future__ import annotations

import random
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

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
  noid                     processed, but the answer has no batch id
  odd                      the status of a batch is a number and a word that mean nothing
  fail                     the batch is accepted, and fails as a whole when it is processed
  late=S, stuck            the batch is accepted, and processed late, or never
  skip[=N]                 the batch is accepted, and its first N contacts (1) are skipped
WHEN is request numbers (3,7-9), p0.05 (probability), or nothing (always).
ENDPOINT is token, batch, insertupdate or status; then only its requests are affected and counted.
Counting starts when faults are set; the same seed and faults affect the same requests.
examples: --fault 503@3,7-9  --fault latency=0.1-0.5@p0.3:batch  --fault lost@p0.01
"""

_NEEDS_VALUE = {"latency", "late"}
_TAKES_VALUE = {"latency", "late", "hang", "skip"}
_KINDS = (
    *("latency", "reset", "lost", "hang", "html", "cut", "noid", "odd"),
    *("fail", "late", "stuck", "skip"),
)
_SHAPE = re.compile(
    r"(?P<kind>[a-z]+|\d{3})(?:=(?P<low>\d+(?:\.\d*)?|\.\d+)(?:-(?P<high>\d+(?:\.\d*)?|\.\d+))?)?"
    r"(?:@(?P<when>[\w.,\-]+))?(?::(?P<endpoint>token|batch|insertupdate|status))?"
)
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


class FaultError(ValueError):
    """A fault is not written as it should be."""


class Fault(msgspec.Struct, frozen=True):
    """One kind of fault and the requests it applies to.

    Attributes:
        text: The fault as it was written.
        kind: What happens; `status` for an answer with a status of its own.
        low, high: The range that the value is drawn from; both 0 if none was given.
        status: The answer's status, if that is the kind.
        numbers: The ranges of request numbers it applies to, if it is by numbers.
        probability: The share of requests it applies to, if it is by this.
        value: What was drawn for the request that it applies to.
    """

    text: str
    kind: str
    low: float
    high: float
    status: int
    endpoint: str | None
    numbers: tuple[tuple[int, int], ...] = ()
    probability: float = 1
    value: float = 0

    def applies_to(self, number: int, draw: float) -> bool:
        """Return whether the fault applies to the request of this number, counted from 1."""
        if self.numbers:
            return any(first <= number <= last for first, last in self.numbers)
        return draw < self.probability


class Faults:
    """The faults in force, and the count of requests they go by."""

    def __init__(self, faults: Iterable[str] = (), seed: int = 0) -> None:
        self.faults = [parse(one) for one in faults]
        self.seed = seed
        self._counts: dict[str | None, int] = {}

    def triggered(self, endpoint: str | None) -> list[Fault]:
        """Count a request and return the faults that apply to it."""
        for scope in {None, endpoint}:
            self._counts[scope] = self._counts.get(scope, 0) + 1
        found = []
        for place, fault in enumerate(self.faults):
            if fault.endpoint is not None and fault.endpoint != endpoint:
                continue
            number = self._counts[fault.endpoint]
            # Drawn from seed, fault and number alone, not in turn: a rerun has the same faults
            # even if its requests come in another order.
            draws = random.Random(f"{self.seed} {place} {number}")  # noqa: S311 - no secret
            if fault.applies_to(number, draws.random()):
                value = draws.uniform(fault.low, fault.high)
                found.append(msgspec.structs.replace(fault, value=value))
        return found


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
    when = None if shape is None else _when(shape["when"])
    if shape is None or when is None:
        message = f"The fault '{text}' is not written as KIND[=VALUE][@WHEN][:ENDPOINT]."
        raise FaultError(message)
    problem = _problem_with(shape)
    if problem is not None:
        message = f"The fault '{text}' {problem}."
        raise FaultError(message)
    kind = shape["kind"]
    status = int(kind) if kind.isdecimal() else 0
    low = float(shape["low"] or 0)
    high = float(shape["high"] or low)
    endpoint = shape["endpoint"]
    return Fault(text.strip(), "status" if status else kind, low, high, status, endpoint, **when)


def _problem_with(shape: re.Match[str]) -> str | None:
    kind, low, high = shape["kind"], shape["low"], shape["high"]
    if kind.isdecimal() and (int(kind) not in set(HTTPStatus) or int(kind) < HTTPStatus.OK):
        return "names a status that does not exist"
    if not kind.isdecimal() and kind not in _KINDS:
        return f"is of an unknown kind; there are: 503 etc., {', '.join(_KINDS)}"
    if low is None and kind in _NEEDS_VALUE:
        return f"needs a value, such as '{kind}=0.5'"
    if low is not None and not kind.isdecimal() and kind not in _TAKES_VALUE:
        return "takes no value"
    if high is not None and float(low) > float(high):
        return "has a range that ends before it begins"
    return None


def _when(when: str | None) -> dict[str, Any] | None:
    """Return the parts of a fault that say which requests it applies to; None if unreadable."""
    if when is None:
        return {}
    if (match := re.fullmatch(r"p(\d*\.?\d+)", when)) and float(match[1]) <= 1:
        return {"probability": float(match[1])}
    if all(parts := [_RANGE.fullmatch(part) for part in when.split(",")]):
        return {"numbers": tuple((int(p[1]), int(p[2] or p[1])) for p in parts if p)}
    return None
