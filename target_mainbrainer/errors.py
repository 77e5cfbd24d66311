"""Errors, as a tree in which the type says what happens next.

```
TargetMainBrainerError        ends the run: one sentence in the log, exit code 1, no traceback
├── SettingsError             a setting is wrong, or two contradict each other
├── MappingError              the settings do not fit a stream's schema
├── InputError                a line of the input is not a Singer message
├── AuthError                 MainBrainer refuses the credentials or the token
├── RequestRefusedError       MainBrainer refuses the request itself, not a contact in it
├── ProtocolError             what answered does not speak MainBrainer's API
├── TransientError            worth another try (5xx, lost answer), until time is up
│   ├── TooManyRequestsError  429: everything has to wait
│   └── UnreachableError      no connection: a wrong address, or a server that is away
├── LedgerError               the ledger's database cannot be used, or not by this run
├── DeliveryError             contacts are not in: too many rejections, unconfirmed batches, ...
└── InterruptedRunError       SIGTERM or SIGINT
```

No message contains contact data, a token or a response body.
"""

from __future__ import annotations

import typing as t

from singer_sdk.exceptions import (
    ConfigurationError,
    ConfigValidationError,
    FatalAPIError,
    RetriableAPIError,
)


class Reason(t.NamedTuple):
    """One reason why a run did not end well.

    Attributes:
        code: A word that stays the same, for monitors.
        sentence: What happened and what to do, for people.
    """

    code: str
    sentence: str


class TargetMainBrainerError(Exception):
    """Ends the run, for one or more reasons; each is a full sentence that says what to do.

    Attributes:
        reasons: For the report file.
    """

    code: t.ClassVar[str] = "failed"
    may_be_applied = False
    """A request with contacts was sent of which it is not known whether it was applied."""

    def __init__(self, *problems: Reason | str) -> None:
        self.reasons = [
            Reason(self.code, problem) if isinstance(problem, str) else problem
            for problem in problems
        ]
        super().__init__(" ".join(reason.sentence for reason in self.reasons))


class SettingsError(TargetMainBrainerError, ConfigValidationError):
    """The settings are wrong."""

    code = "settings"


class MappingError(TargetMainBrainerError, ConfigurationError):
    """The settings cannot be applied to a stream's schema."""

    code = "mapping"


class InputError(TargetMainBrainerError):
    """A line of the input cannot be read as a Singer message."""

    code = "input"


class AuthError(TargetMainBrainerError, FatalAPIError):
    """MainBrainer refuses the credentials, or the token after one renewal."""

    code = "auth"


class RequestRefusedError(TargetMainBrainerError, FatalAPIError):
    """MainBrainer refuses the request itself; the contacts are not the cause."""

    code = "request_refused"


class ProtocolError(TargetMainBrainerError, FatalAPIError):
    """The answer is not the API's: a redirect, a proxy's page, cut-off JSON."""

    code = "protocol"


class TransientError(TargetMainBrainerError, RetriableAPIError):
    """A failure that may not happen again when the request is repeated.

    Attributes:
        retry_after: Seconds the server asks to wait, or None if it does not say.
    """

    code = "unavailable"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LedgerError(TargetMainBrainerError):
    """The ledger's database cannot be used, or not by this run."""

    code = "ledger"


class TooManyRequestsError(TransientError):
    """A 429: not only this request has to wait, but all of them."""

    code = "too_many_requests"


class UnreachableError(TransientError):
    """No connection was made: the name cannot be resolved, or the connection is refused."""

    code = "unreachable"


class DeliveryError(TargetMainBrainerError):
    """Contacts were not delivered, or not confirmed."""

    code = "not_delivered"


class InterruptedRunError(TargetMainBrainerError):
    """The run was asked to stop by a signal."""

    code = "interrupted"
