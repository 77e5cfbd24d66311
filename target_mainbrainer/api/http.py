"""Bytes there and back: the one seam at which the network could be swapped out.

Only the server that a request is meant for ever sees it: redirects are not followed, cookies are
not kept, `~/.netrc` is not read. Of the environment, proxies (never for this machine) and
`REQUESTS_CA_BUNDLE` count. What goes wrong is told in words of our own and without a cause:
exceptions of `requests` carry the request, and with it the token and the contacts.
"""

from __future__ import annotations

import datetime as dt
import functools
import http.client
import io
import itertools
import os
import re
import socket
import ssl
import time
import typing as t
import zlib
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidProxyURL
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from target_mainbrainer.config.addresses import is_loopback
from target_mainbrainer.config.limits import MAX_CONCURRENT_REQUESTS
from target_mainbrainer.errors import (
    ProtocolError,
    TransientError,
    UnreachableError,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from _typeshed import WriteableBuffer
    from urllib3.poolmanager import PoolManager, ProxyManager

    Authorize: t.TypeAlias = Callable[[Callable[[], bool]], Mapping[str, str] | None]
    """Is called with a connection ready, and with a function that says whether it still is.

    Returns the headers with which the request leaves at once, or None after having waited, so
    that the connection has to be looked at again.
    """


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


_CONNECT_SECONDS = 10.0
_SWITCHING_PROTOCOLS = 101


@dataclass
class Sending:
    """One request on its way.

    Attributes:
        authorize: Says when it may leave, and with which headers.
        timeout: Seconds for the whole response, from when the request leaves.
        is_connected: A connection was made.
        deadline: When to stop reading, by `time.monotonic`.
    """

    authorize: Authorize
    timeout: float
    is_connected: bool = False
    deadline: float = field(default_factory=time.monotonic)

    @property
    def connect_timeout(self) -> float:
        """Seconds to make a connection."""
        return min(self.timeout, _CONNECT_SECONDS)


CURRENT: ContextVar[Sending] = ContextVar("CURRENT")
"""What this thread sends; `urllib3` has no place in which to hand it down."""


class _Reader(io.RawIOBase):
    """Reads from a socket until a deadline, which a timeout for each piece does not keep."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        # It keeps the socket open as long as somebody reads, even if the connection is closed.
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    @override
    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is read until the deadline, and is not an interim one."""

    def __init__(self, sock: socket.socket, *, method: str | None = None) -> None:
        super().__init__(sock, method=method)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock, CURRENT.get().deadline))

    @override
    def begin(self) -> None:
        super().begin()
        # 100 Continue and 103 Early Hints come before the response; 101 would be one.
        while self.status // 100 == 1 and self.status != _SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


class _ReadyFirst(HTTPConnection):
    """Connects, asks whether it may send, and sends."""

    response_class = _Response
    _tunnel_options: tuple[tuple[t.Any, ...], dict[str, t.Any]] | None = None

    @override
    def set_tunnel(self, *args: t.Any, **options: t.Any) -> None:
        self._tunnel_options = args, options
        super().set_tunnel(*args, **options)

    @override
    def connect(self) -> None:
        sending = CURRENT.get()
        sending.deadline = time.monotonic() + sending.connect_timeout
        super().connect()
        sending.is_connected = True

    @override
    def request(  # type: ignore[override] # `http.client` and `urllib3` differ about it themselves
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        **options: t.Any,
    ) -> None:
        sending = CURRENT.get()
        if self.sock is None:  # else `urllib3` has just looked whether it is alive
            self._connect_again()
        while (added := sending.authorize(self._is_alive)) is None:
            if not self._is_alive():
                self._connect_again()
        sending.deadline = time.monotonic() + sending.timeout
        if self.sock is not None:
            self.sock.settimeout(sending.timeout)
        super().request(method, url, headers={**headers, **added}, **options)

    def _is_alive(self) -> bool:
        """Return whether the server has not closed the connection.

        With TLS there may be something to read on a live one: tickets to resume it later with.
        """
        if self.sock is None:
            return False
        # Asked once: what arrives between two looks would make a live one seem closed.
        if self.is_connected:
            return True
        try:
            self.sock.settimeout(0)
            self.sock.recv(1)
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        except OSError:
            return False
        else:
            return False  # closed, or a server that speaks before it is asked
        finally:
            self.sock.settimeout(CURRENT.get().timeout)

    def _connect_again(self) -> None:
        self.close()
        if self._tunnel_options is not None:
            args, options = self._tunnel_options
            self.set_tunnel(*args, **options)
        self.connect()


class _ReadyFirstTLS(_ReadyFirst, HTTPSConnection):
    """The same with TLS; authorities are read once, not for each connection."""

    @override
    def connect(self) -> None:
        if self.ssl_context is None and (self.ca_certs or self.ca_cert_dir):
            self.ssl_context = _trusting(self.ca_certs, self.ca_cert_dir)
            self.ca_certs = self.ca_cert_dir = None
        super().connect()


@functools.cache
def _trusting(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Return a context that trusts these authorities; reading the usual ones takes 45 ms."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(file, folder)
    return context


class _Pool(HTTPConnectionPool):
    ConnectionCls = _ReadyFirst  # type: ignore[assignment] # it is one


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _ReadyFirstTLS  # type: ignore[assignment] # it is one


class ReadyFirstAdapter(HTTPAdapter):
    """Sends what `CURRENT` describes."""

    @override
    def init_poolmanager(self, *args: t.Any, **options: t.Any) -> None:
        super().init_poolmanager(*args, **options)
        _use_pools(self.poolmanager)

    @override
    def proxy_manager_for(self, proxy: str, **options: t.Any) -> ProxyManager:
        if proxy.lower().startswith("socks"):
            message = "SOCKS proxies are not supported"
            raise InvalidProxyURL(message)
        manager: ProxyManager = super().proxy_manager_for(proxy, **options)
        _use_pools(manager)
        return manager


def _use_pools(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}


MOST_BYTES = 16 * 1024 * 1024
"""Longer responses are cut: a thousand contacts with all their complaints take about 2 MB."""

_MOST_CONNECTIONS = MAX_CONCURRENT_REQUESTS + 2
"""Two more than a setting may ask for: for statuses and the token."""

_READ_BYTES = 64 * 1024
_NO_CONTENT = 204
_DEEPEST = 10
_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    UnicodeError,
)
_PROXY_ERRORS = (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)
_WORDS: dict[type[BaseException], str] = {
    http.client.RemoteDisconnected: "closed without a response",
    ConnectionResetError: "reset",
    ConnectionRefusedError: "refused",
    BrokenPipeError: "broken while sending",
    http.client.IncompleteRead: "the response broke off",
    urllib3.exceptions.IncompleteRead: "the response broke off",
    http.client.BadStatusLine: "what came back is not HTTP",
    zlib.error: "the response cannot be unpacked",
    socket.gaierror: "the host's name cannot be resolved",
}


class _Session(requests.Session):
    """A session that sends what it is told to and nothing else."""

    def __init__(self, *, user_agent: str) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.verify = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )
        self.headers.clear()
        self.headers.update(
            {
                "User-Agent": user_agent,
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
            }
        )
        for scheme in ("http://", "https://"):
            self.mount(
                scheme, ReadyFirstAdapter(pool_connections=4, pool_maxsize=_MOST_CONNECTIONS)
            )

    @override
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return that there is none: even to look at it, `requests` would read the whole body."""


class Transport:
    """Connections with keep-alive for all threads.

    Args:
        user_agent: What the User-Agent header says.
        timeout_seconds: How long to wait for a whole response.
    """

    def __init__(self, *, user_agent: str, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._proxies: dict[str, dict[str, str]] = {}
        self._session = _Session(user_agent=user_agent)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def send(self, endpoint: Endpoint, body: bytes | None, authorize: Authorize) -> Response:
        """Send one request, once.

        Args:
            endpoint: What is asked.
            body: What is sent.
            authorize: Is called with a connection ready: waits for a permit and a token.

        Raises:
            TransientError: There is no response, or not all of it.
            ProtocolError: There is no way to talk to that server.
        """
        sending = Sending(authorize, self._timeout)
        before = CURRENT.set(sending)
        response = None
        try:
            response = self._session.request(
                endpoint.method,
                endpoint.url,
                data=body,
                headers=None if body is None else {"Content-Type": "application/json"},
                stream=True,
                timeout=(sending.connect_timeout, self._timeout),
                allow_redirects=False,
                proxies=self._proxies_for(endpoint),
            )
            with response:
                return _read(response, endpoint)
        except _FAILURES as error:
            has_begun = response is not None
            problem = _in_words(error, endpoint, sending, has_begun=has_begun)
        finally:
            CURRENT.reset(before)
        # Raised out here, the new exception does not even remember the other one.
        raise problem

    def _proxies_for(self, endpoint: Endpoint) -> dict[str, str]:
        """Return the environment's proxies, none for this machine; looked up once per host."""
        host = endpoint.host
        if host not in self._proxies:
            local = is_loopback(urlsplit(endpoint.url).hostname or "")
            self._proxies[host] = {} if local else requests.utils.get_environ_proxies(endpoint.url)
        return self._proxies[host]


def _read(response: requests.Response, endpoint: Endpoint) -> Response:
    parts, size = [], 0
    while size <= MOST_BYTES and (part := response.raw.read1(_READ_BYTES, decode_content=True)):
        parts.append(part)
        size += len(part)
    headers = response.headers
    return Response(
        status=response.status_code,
        body=b"".join(parts)[:MOST_BYTES],
        content_type=headers.get("Content-Type", ""),
        retry_after=seconds_asked(
            headers.get("Retry-After"),
            date=headers.get("Date"),
            now=dt.datetime.now(dt.UTC),
        ),
        redirect_host=_host(headers.get("Location", ""), endpoint),
        is_whole=response.status_code == _NO_CONTENT
        or "Content-Length" in headers
        or "chunked" in headers.get("Transfer-Encoding", "").lower(),
    )


def _host(location: str, endpoint: Endpoint) -> str:
    """Return where a redirect leads, as far as it can be told: the host, without user or query."""
    if not location:
        return ""
    try:
        host = urlsplit(location).hostname
    except ValueError:
        return "an unreadable address"
    return host or endpoint.host


def _in_words(
    error: Exception, endpoint: Endpoint, sending: Sending, *, has_begun: bool
) -> TransientError | ProtocolError:
    """Return what an exception means, without repeating anything it says."""
    root = _root_of(error)
    if isinstance(root, ssl.SSLCertVerificationError):
        message = (
            f"The certificate of {endpoint.host} cannot be verified, so nothing was sent. Check "
            "'api_url' and 'auth_url', or name your own authority in REQUESTS_CA_BUNDLE."
        )
        return ProtocolError(message)
    if isinstance(error, ValueError):
        # Bad URLs, headers and proxies are ValueErrors in `requests`.
        message = (
            f"{endpoint} cannot be sent to {endpoint.host} ({type(error).__name__}). Check "
            "'api_url', 'auth_url', 'user_agent' and the proxies in the environment."
        )
        return ProtocolError(message)
    kind = TransientError if sending.is_connected else UnreachableError
    is_late = isinstance(root, TimeoutError) or isinstance(
        error, (requests.Timeout, urllib3.exceptions.TimeoutError)
    )
    if is_late and has_begun:
        return kind(f"The response to {endpoint} was not complete after {sending.timeout:.0f} s.")
    if is_late and sending.is_connected:
        return kind(f"No response to {endpoint} within {sending.timeout:.0f} s.")
    proxy = "the environment's proxy for " if isinstance(error, _PROXY_ERRORS) else ""
    advice = "" if sending.is_connected else " Check 'api_url' and 'auth_url'."
    what = f"not made within {sending.connect_timeout:.0f} s" if is_late else _what(root)
    return kind(f"The connection to {proxy}{endpoint.host} failed on {endpoint}: {what}.{advice}")


def _what(error: BaseException) -> str:
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    return type(error).__name__


def _root_of(error: BaseException) -> BaseException:
    """Return what an exception goes back to; `requests` and `urllib3` wrap in several ways."""
    for _ in range(_DEEPEST):
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        if inner is None:
            break
        error = inner
    return error


DRY_TOKEN = "dry-run"  # noqa: S105 - a word in the place of a token, which opens nothing
_JSON = "application/json"


class DryTransport(Transport):
    """Answers as MainBrainer would if it refused nothing and knew every contact.

    A contact that is looked for is found, so that a person who has moved is counted as followed.
    """

    def __init__(self) -> None:
        super().__init__(user_agent=DRY_TOKEN, timeout_seconds=1)
        self._numbers = itertools.count(1)

    @override
    def send(self, endpoint: Endpoint, body: bytes | None, authorize: Authorize) -> Response:
        """Return that everything is in."""
        while authorize(_is_connected) is None:
            continue
        number = next(self._numbers)
        if endpoint.method == "GET":
            counts = b'{"updated": {"count": 1, "contactIds": [%d]}}' % number
            answer = b'{"status": 1, "statusText": "Done", "processedObj": %s}' % counts
        else:
            ids = b'{"BatchId": "dry-%d", "contactId": %d}' % (number, number)
            answer = b'{"status": "Success", "data": %s}' % ids
        return Response(HTTPStatus.ACCEPTED, answer, _JSON)


def _is_connected() -> bool:
    return True


_LONGEST_ASKED_SECONDS = 365 * 86_400.0


def seconds_asked(retry_after: str | None, *, date: str | None, now: dt.datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None if it says nothing usable.

    A date is compared with the server's own `Date`, so that a wrong clock on either side does
    not matter. More than a year is cut to a year.

    >>> noon = dt.datetime(2026, 5, 1, 12, tzinfo=dt.timezone.utc)
    >>> seconds_asked("Fri, 01 May 2026 12:00:30 GMT", date=None, now=noon)
    30.0
    >>> seconds_asked("1.5", date=None, now=noon), seconds_asked("soon", date=None, now=noon)
    (1.5, None)
    """
    if retry_after is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]{1,9})?\s*", retry_after, re.ASCII):
        seconds = float(retry_after)
    else:
        moment = _moment(retry_after)
        if moment is None:
            return None
        seconds = (moment - (_moment(date) or now)).total_seconds()
    return min(max(0.0, seconds), _LONGEST_ASKED_SECONDS)


def _moment(date: str | None) -> dt.datetime | None:
    """Return a date of a header in UTC, None if it is absent, unreadable or out of all bounds."""
    try:
        moment = parsedate_to_datetime(date or "")
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
