"""One HTTP request and its response, through an adapter of `requests`.

Only the server that a request is meant for ever sees it. A session would follow redirects, keep
cookies and read `~/.netrc`; the adapter below it does none of that. Of the environment, proxies
(never for this machine) and `REQUESTS_CA_BUNDLE` count. An error is described in words of our own
and without a cause: exceptions of `requests` carry the request, and with it the token and the
contacts.
"""

from __future__ import annotations

import datetime as dt
import functools
import http.client
import itertools
import math
import os
import re
import socket
import ssl
import time
import typing as t
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from target_mainbrainer import errors
from target_mainbrainer.settings.declared import MAX_CONCURRENT_REQUESTS

DRY_TOKEN = "dry-run"  # noqa: S105 - a word in the place of a token, which opens nothing
MOST_BYTES = 16 * 1024 * 1024
"""Longer responses are cut: a thousand contacts with all their complaints take about 2 MB."""

_MOST_CONNECTIONS = MAX_CONCURRENT_REQUESTS + 2
"""Two more than a setting may ask for: for statuses and the token."""

_MOST_ENDPOINTS = 8
"""Endpoints whose prepared request is kept, because parsing an address takes 0.1 ms."""

_CONNECT_SECONDS = 10.0
_READ_BYTES = 64 * 1024
_JSON = "application/json"
# Exceptions of `requests` are OSErrors.
_FAILURES = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, UnicodeError)
_PROXY_ERRORS = (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)
_UNREACHABLE = (
    *_PROXY_ERRORS,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)
_LATE = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)

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
    def reason(self) -> str:
        """The status with its usual words, such as `503 Service Unavailable`."""
        return f"{self.status} {http.client.responses.get(self.status, '')}".rstrip()


def seconds_awake_or_asleep() -> float:
    """Return seconds of a clock that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_REALTIME))


class _Pieces(socket.SocketIO):
    """Reader of a socket until a deadline; the socket's own timeout is granted to each piece."""

    deadline: float

    @override
    def readinto(self, buffer: t.Any) -> int | None:
        if time.monotonic() > self.deadline:
            raise TimeoutError
        return super().readinto(buffer)


class _Response(http.client.HTTPResponse):
    """Response that takes no longer than the timeout as a whole, headers included."""

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None) -> None:
        super().__init__(sock, debuglevel, method)
        pieces: t.Any = self.fp.raw
        pieces.__class__ = _Pieces
        pieces.deadline = time.monotonic() + (sock.gettimeout() or math.inf)


class _Connection(HTTPConnection):
    """Sends nothing that was asked for long ago, on a machine that has slept meanwhile."""

    response_class = _Response

    @override
    def send(self, data: t.Any) -> None:
        if self.sock is None:
            self.connect()
        if seconds_awake_or_asleep() > _ASKED_AT.get() + _STALE_SECONDS:
            raise urllib3.exceptions.ConnectTimeoutError
        super().send(data)


class _TLSConnection(_Connection, HTTPSConnection):
    @override
    def connect(self) -> None:
        if self.ssl_context is None and (self.ca_certs or self.ca_cert_dir):
            self.ssl_context = _trusting(self.ca_certs, self.ca_cert_dir)
            self.ca_certs = self.ca_cert_dir = None
        super().connect()


@functools.cache
def _trusting(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Return a context that trusts these authorities, read once: the usual ones take 45 ms."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(file, folder)
    return context


@functools.cache  # asked for with each request
def _can_be_trusted(path: str) -> bool:
    """Return whether authorities that the environment names can be read."""
    try:
        _trusting(*((None, path) if Path(path).is_dir() else (path, None)))
    except OSError:
        return False
    return True


class _Adapter(HTTPAdapter):
    """Makes connections of the two kinds above."""

    @override
    def get_connection_with_tls_context(self, *args: t.Any, **options: t.Any) -> t.Any:
        pool: t.Any = super().get_connection_with_tls_context(*args, **options)
        is_tls = isinstance(pool, HTTPSConnectionPool)
        pool.ConnectionCls = _TLSConnection if is_tls else _Connection
        return pool


class Transport:
    """Connections with keep-alive for all threads.

    Args:
        user_agent: The User-Agent header.
        timeout_seconds: How long to wait for a response, from its first byte to its last.
    """

    def __init__(self, *, user_agent: str, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._adapter = _Adapter(pool_connections=4, pool_maxsize=_MOST_CONNECTIONS)
        self._verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        self._proxies_for = functools.cache(_proxies_for)  # 0.1 ms for each request
        named = {
            "User-Agent": user_agent,
            "Accept": _JSON,
            "Accept-Encoding": "gzip, deflate",
        }
        self._prepared = functools.lru_cache(_MOST_ENDPOINTS)(
            lambda endpoint: requests.Request(endpoint.method, endpoint.url, named).prepare()
        )

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()

    def send(
        self, endpoint: Endpoint, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Response:
        """Send one request, once.

        Raises:
            UnreachableError: No connection was made.
            TransientError: There is no response, or not all of it.
            ProtocolError: There is no way to talk to that server.
            SettingsError: The authorities that the environment names cannot be read.
        """
        is_tls = endpoint.url.lower().startswith("https:")
        if self._verify and is_tls and not _can_be_trusted(self._verify):
            raise errors.SettingsError(
                "REQUESTS_CA_BUNDLE (or CURL_CA_BUNDLE) names no certificates that can be read, so "
                "nothing was sent. Name a file of authorities in PEM form, or unset it."
            )
        _ASKED_AT.set(seconds_awake_or_asleep())
        try:
            request = self._prepared(endpoint).copy()
            request.prepare_body(body, None)
            request.headers.update(headers if body is None else {"Content-Type": _JSON, **headers})
            response = self._adapter.send(
                request,
                stream=True,
                timeout=(min(self._timeout, _CONNECT_SECONDS), self._timeout),
                verify=self._verify or True,
                proxies=self._proxies_for(urljoin(endpoint.url, "/")),
            )
            with response:
                return _read(response)
        except _FAILURES as error:
            problem = _in_words(error, endpoint, self._timeout)
        # Raised out here, the new exception does not even remember the other one.
        raise problem


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


def _proxies_for(origin: str) -> dict[str, str]:
    """Return the environment's proxies for a host, none for this machine.

    Raises:
        InvalidProxyURL: The proxy is none for HTTP; connections through it would be of other kinds.
    """
    is_local = urlsplit(origin).hostname in {"localhost", "127.0.0.1", "::1"}
    proxies = {} if is_local else requests.utils.get_environ_proxies(origin)
    if (requests.utils.select_proxy(origin, proxies) or "").startswith("socks"):
        raise requests.exceptions.InvalidProxyURL
    return proxies


def _read(response: requests.Response) -> Response:
    parts, size = [], 0
    while size <= MOST_BYTES and (part := response.raw.read1(_READ_BYTES, decode_content=True)):
        parts.append(part)
        size += len(part)
    headers = response.headers
    return Response(
        status=response.status_code,
        body=b"".join(parts)[:MOST_BYTES],
        content_type=headers.get("Content-Type", ""),
        retry_after=seconds_asked(headers.get("Retry-After"), dt.datetime.now(dt.UTC)),
    )


def _in_words(
    error: Exception, endpoint: Endpoint, timeout: float
) -> errors.TransientError | errors.ProtocolError:
    """Return what an exception means, without repeating anything it says."""
    chain = list(_chain(error))
    if isinstance(chain[-1], ssl.SSLCertVerificationError):
        return errors.ProtocolError(
            f"The certificate of {endpoint.host} cannot be verified, so nothing was sent. Check "
            "'api_url' and 'auth_url', or name your own authority in REQUESTS_CA_BUNDLE."
        )
    if isinstance(error, ValueError):
        # Bad URLs, headers and proxies are ValueErrors in `requests`.
        return errors.ProtocolError(
            f"{endpoint} cannot be sent to {endpoint.host} ({type(error).__name__}). Check "
            "'api_url', 'auth_url', 'user_agent' and the proxies in the environment, which must be "
            "HTTP."
        )
    is_late = isinstance(error, _LATE) or isinstance(chain[-1], _LATE)
    kind = type(chain[-1])
    what = getattr(chain[-1], "strerror", None) or f"{kind.__module__}.{kind.__name__}"
    if any(isinstance(one, _UNREACHABLE) for one in chain):
        proxy = "the environment's proxy for " if isinstance(error, _PROXY_ERRORS) else ""
        if is_late:
            what = f"not made within {min(timeout, _CONNECT_SECONDS):.0f} s"
        return errors.UnreachableError(
            f"The connection to {proxy}{endpoint.host} failed on {endpoint}: {what}. Check "
            "'api_url' and 'auth_url'."
        )
    if is_late:
        message = f"No complete response to {endpoint} within {timeout:.0f} s."
    else:
        message = f"The connection to {endpoint.host} failed on {endpoint}: {what}."
    return errors.TransientError(message)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what it comes from, down to the system's own error."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


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
