"""Faults on demand: what goes wrong, and with which requests.

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

_SHAPE = re.compile(
    r"(?:(?P<status>[2-5]\d\d)"
    r"|(?P<kind>(?:latency|late)(?==)|hang|skip"
    r"|(?:reset|lost|html|cut|noid|odd|fail|stuck)(?!=)))"
    r"(?:=(?P<low>\d+(?:\.\d*)?|\.\d+)(?:-(?P<high>\d+(?:\.\d*)?|\.\d+))?)?"
    r"(?:@(?:p(?P<share>[01]|0?\.\d+)|(?P<numbers>\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)))?"
    r"(?::(?P<endpoint>token|batch|insertupdate|status))?"
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
            applies = draws.random() < fault.probability
            if fault.numbers:
                applies = any(first <= number <= last for first, last in fault.numbers)
            if applies:
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
    status = int(shape["status"] or 0) if shape else 0
    if shape is None or (status and status not in set(HTTPStatus)):
        raise FaultError(
            f"The fault '{text}' is not written as KIND[=VALUE][@WHEN][:ENDPOINT]; "
            "'mainbrainer-sandbox serve --help' has the kinds."
        )
    low = float(shape["low"] or 0)
    numbers = _RANGE.findall(shape["numbers"] or "")
    return Fault(
        text.strip(),
        shape["kind"] or "status",
        low,
        float(shape["high"] or low),
        status,
        shape["endpoint"],
        tuple((int(first), int(last or first)) for first, last in numbers),
        float(shape["share"] or 1),
    )
