"""Bytes there and back: the one seam at which the network could be swapped out.

Only the server that a request is meant for ever sees it: redirects are not followed, cookies are
not kept, `~/.netrc` is not read. Of the environment, proxies (never for this machine) and
`REQUESTS_CA_BUNDLE` count. What goes wrong is told in words of our own and without a cause:
exceptions of `requests` carry the request, and with it the token and the contacts.
"""

from __future__ import annotations

import datetime as dt
import http.client
import os
import socket
import ssl
import typing as t
import zlib
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit

import requests
import urllib3
from typing_extensions import override

from target_mainbrainer.api.connections import CURRENT, ReadyFirstAdapter, Sending
from target_mainbrainer.api.exchange import Endpoint, Response
from target_mainbrainer.api.retry import seconds_asked
from target_mainbrainer.errors import ProtocolError, TransientError, UnreachableError
from target_mainbrainer.settings.checks import is_loopback
from target_mainbrainer.settings.declared import MAX_CONCURRENT_REQUESTS

if t.TYPE_CHECKING:
    from target_mainbrainer.api.connections import Authorize

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
