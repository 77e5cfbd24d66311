"""What is asked and what comes back."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

from typing_extensions import override


class Endpoint(t.NamedTuple):
    """What is asked.

    Attributes:
        path: For people, without ids.
        url: For the machine.
    """

    method: str
    path: str
    url: str

    @override
    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def host(self) -> str:
        """The host asked."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class Response:
    """What came back.

    Attributes:
        retry_after: Seconds that the server asks to wait, None if it does not say.
        redirect_host: Where a redirect leads, "" if nowhere.
        is_whole: False if nothing in it says where the body ends, so that it may be cut off.
        may_come_twice: The response to an earlier try at the same request was lost.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""
    retry_after: float | None = None
    redirect_host: str = ""
    is_whole: bool = True
    may_come_twice: bool = False

    @property
    def is_success(self) -> bool:
        """Any 2xx (API note, C20)."""
        return self.status // 100 == 2  # noqa: PLR2004 - that is what 2xx means

    @property
    def is_empty(self) -> bool:
        """Whether it has no body and says so."""
        return self.is_whole and not self.body.strip()

    @property
    def reason(self) -> str:
        """The status with its usual words, such as `503 Service Unavailable`."""
        try:
            return f"{self.status} {HTTPStatus(self.status).phrase}"
        except ValueError:
            return str(self.status)
