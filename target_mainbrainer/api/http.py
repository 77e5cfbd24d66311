"""Bytes there and back: the one seam at which the network could be swapped out.

Nothing but the server it is meant for ever sees a request: redirects are not followed, cookies
are not kept, `~/.netrc` is not read. Of the environment, proxies (never for this machine) and
`REQUESTS_CA_BUNDLE` count. What goes wrong is told in words of our own and without a cause:
exceptions of `requests` carry the request, and with it the token and the contacts.
"""

from __future__ import annotations

import datetime as dt
import http.client
import os
import socket
import ssl
import time
import typing as t
import zlib
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from target_mainbrainer.api.exchange import Endpoint, Response
from target_mainbrainer.api.retry import seconds_asked
from target_mainbrainer.config.addresses import is_loopback
from target_mainbrainer.errors import ProtocolError, TransientError

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Authorize: t.TypeAlias = Callable[[Callable[[], bool]], Mapping[str, str] | None]

MOST_BYTES = 16 * 1024 * 1024
"""Longer answers are cut: a thousand contacts with all their complaints take about 2 MB."""

_READ_BYTES = 64 * 1024
_CONNECT_SECONDS = 10.0
_NO_CONTENT = 204


class Transport:
    """Connections with keep-alive for all threads.

    An adapter of `requests` without its `Session`, which would follow redirects, keep cookies and
    read `~/.netrc`, none of which is wanted, and takes as long to prepare a request as the rest
    of it takes.

    Args:
        user_agent: Who we say we are.
        timeout_seconds: How long to wait for an answer.
        connections: How many to keep open to a host.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        *,
        user_agent: str,
        timeout_seconds: float,
        connections: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout_seconds
        self._clock = clock
        self._proxies: dict[str, dict[str, str]] = {}
        self._verify = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
        }
        self._prepared: dict[Endpoint, requests.PreparedRequest] = {}
        self._adapter = HTTPAdapter(pool_connections=4, pool_maxsize=connections)

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()

    def send(self, call: Endpoint, body: bytes | None, authorize: Authorize) -> Response:
        """Send one request, once.

        Raises:
            TransientError: No answer, or not all of it.
            ProtocolError: There is no way to talk to that server.
        """
        deadline = self._clock() + self._timeout
        try:
            while (headers := authorize(lambda: True)) is None:
                pass
            request = self._request(call, body, headers)
            with self._adapter.send(
                request,
                stream=True,
                timeout=(min(self._timeout, _CONNECT_SECONDS), self._timeout),
                verify=self._verify,
                proxies=self._proxies_for(call),
            ) as response:
                return self._read(response, call, deadline)
        except _FAILURES as error:
            problem = self._in_words(error, call)
        # Raised out here, the new exception does not even remember the other one.
        raise problem

    def _request(
        self, call: Endpoint, body: bytes | None, headers: Mapping[str, str]
    ) -> requests.PreparedRequest:
        prepared = self._prepared.get(call)
        if prepared is None:
            prepared = requests.Request(call.method, call.url, headers=self._headers).prepare()
            if call.method == "POST":  # the others' addresses are different every time
                self._prepared[call] = prepared
        request = requests.PreparedRequest()
        request.method, request.url = prepared.method, prepared.url
        request.headers = prepared.headers.copy()
        if body is not None:
            request.body = body
            request.headers["Content-Type"] = "application/json"
            request.headers["Content-Length"] = str(len(body))
        request.headers.update(headers)
        return request

    def _read(self, response: requests.Response, call: Endpoint, deadline: float) -> Response:
        parts, size = [], 0
        while size <= MOST_BYTES and (part := response.raw.read1(_READ_BYTES, decode_content=True)):
            parts.append(part)
            size += len(part)
            if self._clock() > deadline:
                message = f"The response to {call} was not complete after {self._timeout:.0f} s."
                raise TransientError(message)
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
            redirect_host=_host(headers.get("Location", ""), call),
            is_whole=response.status_code == _NO_CONTENT
            or "Content-Length" in headers
            or "chunked" in headers.get("Transfer-Encoding", "").lower(),
        )

    def _proxies_for(self, call: Endpoint) -> dict[str, str]:
        """Return the environment's proxies, none for this machine; looked up once per host."""
        host = call.host
        if host not in self._proxies:
            local = is_loopback(urlsplit(call.url).hostname or "")
            self._proxies[host] = {} if local else requests.utils.get_environ_proxies(call.url)
        return self._proxies[host]

    def _in_words(self, error: Exception, call: Endpoint) -> TransientError | ProtocolError:
        """Say what an exception means, without repeating anything it says."""
        root = _root_of(error)
        if isinstance(root, ssl.SSLCertVerificationError):
            message = (
                f"The certificate of {call.host} cannot be verified, so nothing was sent. Check "
                "'api_url' and 'auth_url', or name your own authority in REQUESTS_CA_BUNDLE."
            )
            return ProtocolError(message)
        if isinstance(error, ValueError):
            # Bad URLs, headers and proxies are ValueErrors in `requests`.
            message = (
                f"{call} cannot be sent to {call.host} ({type(error).__name__}). Check 'api_url', "
                "'auth_url', 'user_agent' and the proxies in the environment."
            )
            return ProtocolError(message)
        if isinstance(root, TimeoutError) or isinstance(
            error, (requests.Timeout, urllib3.exceptions.TimeoutError)
        ):
            return TransientError(f"No response to {call} within {self._timeout:.0f} s.")
        proxy = "the environment's proxy for " if isinstance(error, _PROXY_ERRORS) else ""
        what = _what(root)
        return TransientError(f"The connection to {proxy}{call.host} failed on {call}: {what}.")


def _host(location: str, call: Endpoint) -> str:
    """Return where a redirect leads, as far as it can be told: the host, without user or query."""
    if not location:
        return ""
    try:
        host = urlsplit(location).hostname
    except ValueError:
        return "an unreadable address"
    return host or call.host


_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    UnicodeError,
)
_PROXY_ERRORS = (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)
_WORDS: dict[type[BaseException], str] = {
    http.client.RemoteDisconnected: "closed without an answer",
    ConnectionResetError: "reset",
    ConnectionRefusedError: "refused",
    BrokenPipeError: "broken while sending",
    http.client.IncompleteRead: "the answer broke off",
    urllib3.exceptions.IncompleteRead: "the answer broke off",
    http.client.BadStatusLine: "what came back is not HTTP",
    zlib.error: "the answer cannot be unpacked",
    socket.gaierror: "the host's name cannot be resolved",
}


def _what(error: BaseException) -> str:
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    return type(error).__name__


_DEEPEST = 10


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
