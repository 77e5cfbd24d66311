"""Connections that are ready before a request may leave, and that end at a deadline.

`requests` takes its connections from `urllib3`, which connects as part of sending. A permit of the
plan must not be spent on that: with slow connections, requests that were let off evenly would
arrive together. So a connection is made first, then the caller is asked, and the request leaves.
"""

from __future__ import annotations

import functools
import http.client
import io
import ssl
import time
import typing as t
from contextvars import ContextVar
from dataclasses import dataclass, field

from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidProxyURL
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

if t.TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from _typeshed import WriteableBuffer
    from urllib3.poolmanager import PoolManager, ProxyManager

    Authorize: t.TypeAlias = Callable[[Callable[[], bool]], Mapping[str, str] | None]
    """Is called with a connection ready, and with a function that says whether it still is.

    Returns the headers with which the request leaves at once, or None after having waited, so
    that the connection has to be looked at again.
    """

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
