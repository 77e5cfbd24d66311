"""One HTTP request and its response, through `urllib3`.

Only the server that a request is meant for ever sees it: redirects are not followed. Of the
environment, proxies (never for this machine) and `REQUESTS_CA_BUNDLE` count. An error is described
in words of our own and without a cause: the exceptions of others may quote the request, and with it
the token and the contacts.
"""

from __future__ import annotations

import datetime as dt
import functools
import http.client
import itertools
import os
import re
import socket
import ssl
import time
import typing as t
import zlib
from array import array
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from target_mainbrainer.errors import ProtocolError, TransientError, UnreachableError
from target_mainbrainer.settings.checks import is_loopback
from target_mainbrainer.settings.declared import MAX_CONCURRENT_REQUESTS

if t.TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DRY_TOKEN = "dry-run"  # noqa: S105 - a word in the place of a token, which opens nothing
MOST_BYTES = 16 * 1024 * 1024
"""Longer responses are cut: a thousand contacts with all their complaints take about 2 MB."""

_MOST_CONNECTIONS = MAX_CONCURRENT_REQUESTS + 2
"""Two more than a setting may ask for: for statuses and the token."""

_CONNECT_SECONDS = 10.0
_READ_BYTES = 64 * 1024
_JSON = "application/json"
_FAILURES = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)
_UNREACHABLE = (
    urllib3.exceptions.ProxyError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)
_WORDS: dict[type[BaseException], str] = {
    socket.gaierror: "the host's name cannot be resolved",
    ConnectionRefusedError: "refused",
    http.client.RemoteDisconnected: "closed without a response",
    zlib.error: "the response cannot be unpacked",
}

_CONTACT_ID = re.compile(rb'"contactId":(\d+)')

_STALE_SECONDS = 15.0
"""A request that has not left after so long does not leave: connecting takes 10 s at most."""

_ASKED_AT: ContextVar[float] = ContextVar("_ASKED_AT", default=0.0)
"""When this thread's request was asked for; `urllib3` has no place in which to hand it down."""


class Endpoint(t.NamedTuple):
    """An address of the API.

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
    """A response, read to its end.

    Attributes:
        retry_after: Seconds that the server asks to wait, None if it does not say.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""
    retry_after: float | None = None

    @property
    def is_success(self) -> bool:
        """Any 2xx (API note, C20)."""
        return self.status // 100 == 2  # noqa: PLR2004 - that is what 2xx means

    @property
    def is_empty(self) -> bool:
        """Whether it has no body."""
        return not self.body.strip()

    @property
    def reason(self) -> str:
        """The status with its usual words, such as `503 Service Unavailable`."""
        return f"{self.status} {http.client.responses.get(self.status, '')}".rstrip()


def seconds_awake_or_asleep() -> float:
    """Return seconds of a clock that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_REALTIME))


class _Connection(HTTPConnection):
    """Sends nothing that was asked for long ago, on a machine that has slept meanwhile."""

    @override
    def send(self, data: t.Any) -> None:
        if self.sock is None:
            self.connect()
        if seconds_awake_or_asleep() > _ASKED_AT.get() + _STALE_SECONDS:
            raise urllib3.exceptions.ConnectTimeoutError
        super().send(data)


class _TLSConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def _pools(scheme: str, proxy: str) -> urllib3.PoolManager:
    """Return connections through a proxy, if one is given."""
    options: dict[str, t.Any] = {"maxsize": _MOST_CONNECTIONS}
    if scheme == "https":
        options["ssl_context"] = _trusting(os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where())
    if proxy:
        user = unquote(urllib3.util.parse_url(proxy).auth or "")
        options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=user or None)
    pools = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    pools.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
    return pools


@functools.cache
def _trusting(authorities: str) -> ssl.SSLContext:
    """Return a context that trusts these authorities, read once: the usual ones take 45 ms."""
    context = create_urllib3_context()
    kind = "capath" if Path(authorities).is_dir() else "cafile"
    context.load_verify_locations(**{kind: authorities})
    return context


class Transport:
    """Connections with keep-alive for all threads.

    Args:
        user_agent: The User-Agent header.
        timeout_seconds: How long to wait for a response, and then for the end of it.
    """

    def __init__(self, *, user_agent: str, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._headers = {
            "User-Agent": user_agent,
            "Accept": _JSON,
            "Accept-Encoding": "gzip, deflate",
        }
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}

    def close(self) -> None:
        """Close all connections."""
        for pools in self._pools.values():
            pools.clear()

    def send(
        self, endpoint: Endpoint, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Response:
        """Send one request, once.

        Raises:
            UnreachableError: No connection was made.
            TransientError: There is no response, or not all of it.
            ProtocolError: There is no way to talk to that server.
        """
        response = None
        _ASKED_AT.set(seconds_awake_or_asleep())
        content = {} if body is None else {"Content-Type": _JSON}
        try:
            response = self._pools_for(endpoint.url).urlopen(
                endpoint.method,
                endpoint.url,
                body=body,
                headers={**self._headers, **headers, **content},
                timeout=urllib3.Timeout(
                    connect=min(self._timeout, _CONNECT_SECONDS), read=self._timeout
                ),
                redirect=False,
                retries=False,
                preload_content=False,
            )
            with response:
                return _read(response, time.monotonic() + self._timeout)
        except _FAILURES as error:
            problem = _in_words(error, endpoint, self._timeout, has_begun=response is not None)
        # Raised out here, the new exception does not even remember the other one.
        raise problem

    def _pools_for(self, url: str) -> urllib3.PoolManager:
        """Return connections through the environment's proxy, if it has one for this address."""
        scheme, host = urlsplit(url).scheme.lower(), urlsplit(url).hostname or ""
        proxies = {} if is_loopback(host) or proxy_bypass(host) else getproxies()
        proxy = proxies.get(scheme) or proxies.get("all") or ""
        proxy = proxy if "://" in proxy or not proxy else f"http://{proxy}"
        if (scheme, proxy) not in self._pools:
            self._pools.setdefault((scheme, proxy), _pools(scheme, proxy))
        return self._pools[scheme, proxy]


class DryTransport(Transport):
    """Stands in for the network in a dry run: accepts every request, and sends none anywhere.

    It answers as MainBrainer would if it refused nothing and knew every contact. A contact that
    is looked for is found, so that a person who has moved is counted as followed.
    """

    def __init__(self) -> None:
        super().__init__(user_agent=DRY_TOKEN, timeout_seconds=1)
        self._numbers = itertools.count(1)
        self._ids: dict[int, Sequence[int]] = {}

    @override
    def send(
        self, endpoint: Endpoint, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Response:
        """Return that everything is in."""
        number = next(self._numbers)
        if endpoint.method == "GET":
            sent = int(endpoint.url.rpartition("/dry-")[2].partition("/")[0])
            # A batch without ids is asked for only if it has one contact, which is looked for.
            ids = self._ids.get(sent, (number,))
            named = b",".join(b"%d" % one for one in ids)
            counts = b'{"updated": {"count": %d, "contactIds": [%s]}}' % (len(ids), named)
            answer = b'{"status": 1, "statusText": "Done", "processedObj": %s}' % counts
        else:
            if found := _CONTACT_ID.findall(body or b""):
                self._ids[number] = array("q", map(int, found))
            answer = b'{"status": "Success", "data": {"BatchId": "dry-%d"}}' % number
        return Response(HTTPStatus.ACCEPTED, answer, _JSON)


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> Response:
    """Return a response as far as its body is not too long; each piece of it may take a timeout."""
    parts, size = [], 0
    while size <= MOST_BYTES and (part := response.read1(_READ_BYTES, decode_content=True)):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError
    headers = response.headers
    return Response(
        status=response.status,
        body=b"".join(parts)[:MOST_BYTES],
        content_type=headers.get("Content-Type", ""),
        retry_after=seconds_asked(headers.get("Retry-After"), dt.datetime.now(dt.UTC)),
    )


def _in_words(
    error: Exception, endpoint: Endpoint, timeout: float, *, has_begun: bool
) -> TransientError | ProtocolError:
    """Return what an exception means, without repeating anything it says."""
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        message = (
            f"The certificate of {endpoint.host} cannot be verified, so nothing was sent. Check "
            "'api_url' and 'auth_url', or name your own authority in REQUESTS_CA_BUNDLE."
        )
        return ProtocolError(message)
    if isinstance(error, ValueError):
        # Bad URLs, headers and proxies are ValueErrors in `urllib3`.
        message = (
            f"{endpoint} cannot be sent to {endpoint.host} ({type(error).__name__}). Check "
            "'api_url', 'auth_url', 'user_agent' and the proxies in the environment, which must be "
            "HTTP."
        )
        return ProtocolError(message)
    is_late = isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError)
    words = (words for kind, words in _WORDS.items() if isinstance(cause, kind))
    what = next(words, type(cause).__name__)
    if isinstance(error, _UNREACHABLE):
        is_proxy = isinstance(error, urllib3.exceptions.ProxyError)
        proxy = "the environment's proxy for " if is_proxy else ""
        if is_late:
            what = f"not made within {min(timeout, _CONNECT_SECONDS):.0f} s"
        message = (
            f"The connection to {proxy}{endpoint.host} failed on {endpoint}: {what}. Check "
            "'api_url' and 'auth_url'."
        )
        return UnreachableError(message)
    if is_late and has_begun:
        message = f"The response to {endpoint} was not complete after {timeout:.0f} s."
    elif is_late:
        message = f"No response to {endpoint} within {timeout:.0f} s."
    else:
        message = f"The connection to {endpoint.host} failed on {endpoint}: {what}."
    return TransientError(message)


def seconds_asked(retry_after: str | None, now: dt.datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None if it says nothing usable.

    >>> noon = dt.datetime(2026, 5, 1, 12, tzinfo=dt.timezone.utc)
    >>> seconds_asked("Fri, 01 May 2026 12:00:30 GMT", noon)
    30.0
    >>> seconds_asked("1.5", noon), seconds_asked("soon", noon), seconds_asked(None, noon)
    (1.5, None, None)
    """
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", retry_after or "", re.ASCII):
        return float(retry_after or "")
    try:
        return max(0.0, (parsedate_to_datetime(retry_after or "") - now).total_seconds())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
