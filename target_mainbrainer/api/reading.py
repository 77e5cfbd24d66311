"""What a response means for the caller: a result, another try, or the end of the run.

What a server says is redacted before it becomes part of a message.
"""

from __future__ import annotations

import typing as t
from http import HTTPStatus

from target_mainbrainer.api.lenient_json import UnreadableResponseError
from target_mainbrainer.api.refusals import Refusal, decode_refusal, human_message
from target_mainbrainer.api.requests import values_sent
from target_mainbrainer.api.responses import (
    Accepted,
    BatchStatus,
    Token,
    decode_accepted,
    decode_status,
    decode_token,
)
from target_mainbrainer.errors import (
    AuthError,
    ProtocolError,
    RequestRefusedError,
    TooManyRequestsError,
    TransientError,
)
from target_mainbrainer.privacy import redact, redact_host

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from target_mainbrainer.api.exchange import Endpoint, Response

_T = t.TypeVar("_T")

_REFUSALS = frozenset({400, 409, 413, 422})
"""Refusals of what was sent rather than of the request (API note, section 4.3)."""

_ADVICE = {
    403: "Check that the account and its token are allowed to do this.",
    404: "Check 'api_url'.",
    405: "Check 'api_url'.",
    402: "Check the account's plan and balance.",
    406: "The account's plan or balance may be at its end; see what its pages say.",
}


def read_accepted(endpoint: Endpoint, response: Response, *, sent: bytes) -> Accepted | Refusal:
    """Return what became of a batch or a contact.

    Raises:
        RequestRefusedError: The request is refused, whatever contacts are in it.
        ProtocolError: The response is not the API's.
        TransientError: It is cut off.
    """
    _raise_for_status(endpoint, response)
    if response.is_success:
        if response.is_empty:
            return Accepted()
        return _decoded(endpoint, response, lambda body: decode_accepted(response.status, body))
    if response.status in _REFUSALS:
        return decode_refusal(response.status, response.body, response.content_type)
    raise _refused(endpoint, response, sent)


def read_status(endpoint: Endpoint, response: Response) -> BatchStatus:
    """Return how far a batch is.

    Raises:
        RequestRefusedError: It is not told.
        ProtocolError: The response is not the API's.
        TransientError: It is cut off.
    """
    _raise_for_status(endpoint, response)
    if not response.is_success:
        raise _refused(endpoint, response)
    return _decoded(endpoint, response, decode_status)


def read_check(endpoint: Endpoint, response: Response) -> None:
    """Accept every response of the API's own, "no such batch" above all.

    Raises:
        RequestRefusedError: The token may not do this.
        ProtocolError: The response is not the API's.
    """
    _raise_for_status(endpoint, response)
    if response.status == HTTPStatus.FORBIDDEN:
        raise _refused(endpoint, response)
    if response.is_success or "html" in response.content_type.lower():
        _decoded(endpoint, response, decode_status)


def read_token(endpoint: Endpoint, response: Response, *, sent: bytes) -> Token:
    """Return the new token.

    Raises:
        AuthError: The credentials are refused.
        RequestRefusedError: The address is wrong.
        ProtocolError: The response is not the API's.
        TransientError: It is cut off.
    """
    _raise_for_status(endpoint, response)
    if response.is_success:
        return _decoded(endpoint, response, decode_token)
    if response.status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        message = (
            f"{endpoint.host} answered {response.reason} to {endpoint}: no token is created there. "
            "Set 'auth_url' to the full address, which MainBrainer's public pages do not print."
        )
        raise RequestRefusedError(message)
    message = (
        f"MainBrainer refused the credentials ({response.reason} on {endpoint}"
        f"{_said(response, sent)}). Check 'username', 'password' and 'private_token'."
    )
    raise AuthError(message)


def _decoded(endpoint: Endpoint, response: Response, decode: Callable[[bytes], _T]) -> _T:
    """Decode a response that should be the API's.

    One that is cut off counts as lost: the request was probably carried out, and sending it again
    repeats the same upsert. One that is not the API's ends the run.
    """
    try:
        return decode(response.body)
    except UnreadableResponseError as error:
        is_cut_off, problem = error.cut_off, str(error)
    if is_cut_off:
        message = f"The response to {endpoint} broke off ({len(response.body)} bytes came)."
        raise TransientError(message)
    content_type = redact(response.content_type)
    kind = f" of type '{content_type}'" if content_type else ""
    message = (
        f"{endpoint.host} answered {endpoint} with {response.reason} and a body{kind} that is not "
        f"MainBrainer's: {problem}. Check 'api_url' and 'auth_url', and any proxy in between."
    )
    raise ProtocolError(message)


def _refused(endpoint: Endpoint, response: Response, sent: bytes = b"") -> RequestRefusedError:
    advice = _ADVICE.get(response.status, "Check the settings and the account.")
    message = (
        f"MainBrainer refused {endpoint} with {response.reason}{_said(response, sent)}. "
        f"No contact is to blame. {advice}"
    )
    return RequestRefusedError(message)


def _said(response: Response, sent: bytes) -> str:
    said = redact(human_message(response.body, response.content_type), values_sent(sent))
    return f", saying: {said.rstrip('.')}" if said else ""


def _raise_for_status(endpoint: Endpoint, response: Response) -> None:
    """Raise if the status alone says that there is nothing to read, whatever was asked.

    Raises:
        TooManyRequestsError: A 429.
        TransientError: Another try may help.
        ProtocolError: A redirect, or no status that an API of this kind sends.
    """
    status = response.status
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        message = f"MainBrainer answered 429 Too Many Requests to {endpoint}."
        raise TooManyRequestsError(message, retry_after=response.retry_after)
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        message = f"MainBrainer answered {response.reason} to {endpoint}."
        raise TransientError(message, retry_after=response.retry_after)
    if not response.is_success and status < HTTPStatus.BAD_REQUEST:
        host = redact_host(response.redirect_host)
        leads = f", a redirect to {host}" if host else ""
        message = (
            f"{endpoint.host} answered {response.reason} to {endpoint}{leads}. Redirects are never "
            "followed, because the token and the contacts would go with them. Check 'api_url' "
            "and 'auth_url', and any proxy in between."
        )
        raise ProtocolError(message)
