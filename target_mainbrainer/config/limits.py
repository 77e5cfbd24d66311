"""Limits, choices and addresses that the API's pages name."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_API_URL = "https://apicrm.mainbrainer.com"
"""The host of the two CRM pages (`BATCH` and `SINGLE` in the API note, section 2)."""

ADVISED_BATCH_SIZE = 100
MAX_SECONDS = 7 * 86_400
"""The longest wait that can be set; far longer ones cannot even be waited for."""

MAX_BATCH_SIZE = 1000
"""More contacts than this the batch page does not allow in one request."""

MAX_CONCURRENT_REQUESTS = 256

UnmappedColumns = t.Literal["property", "ignore"]
InvalidIdentifiers = t.Literal["reject", "drop"]
NullValues = t.Literal["omit", "clear"]
DeletedRecords = t.Literal["skip", "opt_out"]
WriteMode = t.Literal["batch", "single"]
UnchangedContacts = t.Literal["skip", "send"]
IdentityChanges = t.Literal["follow", "create"]
UnchangedOptIn = t.Literal["send", "omit"]
MissingRecords = t.Literal["ignore", "opt_out"]
ConfirmBatches = t.Literal["none", "report", "require"]
FieldMap: t.TypeAlias = "Mapping[str, str | Mapping[str, t.Any] | None]"


@dataclass(frozen=True)
class Plan:
    """What a MainBrainer plan allows (page "API Usage Guidelines"; API note, section 9).

    Attributes:
        burst: Requests in any 10 seconds.
        daily: Requests in a day.
    """

    burst: int
    daily: int


PLANS: Mapping[str, Plan] = {
    "freemium": Plan(burst=100, daily=250_000),
    "starter": Plan(burst=150, daily=500_000),
    "pro": Plan(burst=200, daily=1_000_000),
}
