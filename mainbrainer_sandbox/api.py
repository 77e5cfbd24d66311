"""The four endpoints of the API over HTTP, as documented (sections 2 to 9).

A request is checked in this order: a fault, if one is set; the path and the method;
the token (401); the rate limit (429); the content type; the account's rights;
what is in the body. Which order the real API has is unknown.
"""

from __future__ import annotations

import contextlib
import email.utils
import logging
import math
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response

from mainbrainer_sandbox import responses
from mainbrainer_sandbox.engine import Credentials, Waiting
from mainbrainer_sandbox.reading import (
    UNREADABLE,
    Problem,
    Reading,
    RefusedError,
    TokenRequest,
    decode,
    problems_ahead,
    read,
)
from mainbrainer_sandbox.responses import ApiError, fail
from mainbrainer_sandbox.serving import reset
from mainbrainer_sandbox.store import Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from mainbrainer_sandbox.engine import Engine
    from mainbrainer_sandbox.faults import Fault

_LOG = logging.getLogger(__name__)

MAX_BODY_BYTES = 32 * 1024 * 1024
_ENDPOINT = re.compile(
    r"/(?:(?P<token>token)|contacts/(?:(?P<batch>batch)|(?P<insertupdate>insertupdate)"
    r"|(?P<status>[^/]+)/status))/?",
    re.IGNORECASE,
)
_BEARER = {"WWW-Authenticate": "Bearer"}


class Call:
    """One request on its way through the API."""

    def __init__(self, engine: Engine, scope: Scope, receive: Receive) -> None:
        self.http = HttpRequest(scope, receive)
        self.started = engine.now()
        engine.store.last_request += 1
        self.number = engine.store.last_request
        self.endpoint, self.id = route(scope["path"])
        self.faults: list[Fault] = engine.faults.triggered(self.endpoint)
        self.contacts = 0

    def fault(self, kind: str) -> Fault | None:
        """Return the first fault of this kind that applies to this request."""
        return next((one for one in self.faults if one.kind == kind), None)


def route(path: str) -> tuple[str | None, str]:
    """Return the endpoint that a path means in any casing, or None, and the id in it.

    >>> route("/Contacts/Batch/")
    ('batch', '')
    >>> route("/contacts/x/Status")
    ('status', 'x')
    """
    found = _ENDPOINT.fullmatch(path)
    return (found.lastgroup, (found["status"] or "").lower()) if found else (None, "")


class Api:
    """The API as an ASGI application.

    Args:
        engine: The state it works on.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._endpoints: dict[str, Callable[[Call], Awaitable[Response]]] = {
            "token": self._token,
            "batch": self._batch,
            "insertupdate": self._insertupdate,
            "status": self._status,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and record it."""
        engine = self._engine
        call = Call(engine, scope, receive)
        response = None
        try:
            response = await self._respond(call)
            if response is None:
                reset(scope)
                # Until the server has noticed, or it would answer 500 itself.
                while (await receive())["type"] != "http.disconnect":
                    pass
            else:
                await response(scope, receive, send)
        except ClientDisconnect:
            pass
        except Exception:  # noqa: BLE001 - answered, and logged with its traceback
            # A bug of the sandbox: the traceback says where, and shows no contact.
            _LOG.exception("The sandbox failed on request %d.", call.number)
            response = self._error(ApiError(500, "The sandbox itself has failed; see its log."))
            await response(scope, receive, send)
        finally:
            engine.store.record(
                Request(
                    call.number,
                    call.started,
                    engine.now(),
                    call.http.method,
                    # A path that is not the API's may contain anything, so it is not kept.
                    scope["path"] if call.endpoint else "(other)",
                    response.status_code if response else 0,
                    call.contacts,
                    ", ".join(one.text for one in call.faults) or None,
                )
            )

    async def _respond(self, call: Call) -> Response | None:
        """Return the answer, or None if the connection is to be dropped instead."""
        for one in call.faults:
            if one.kind == "latency":
                await self._engine.pause(one.value)
        if call.fault("reset"):
            # The whole request first: urllib3 passes over a reset that comes while it sends.
            await call.http.body()
            return None
        hang = call.fault("hang")
        if hang:
            await self._engine.pause(hang.value or None)
            return None
        try:
            if fault := call.fault("status"):
                is_busy = fault.status == HTTPStatus.TOO_MANY_REQUESTS or fault.value
                headers = self._retry_after(fault.value or 1) if is_busy else {}
                fail(fault.status, "A fault set in the sandbox.", headers)
            response = await self._answer(call)
        except ApiError as error:
            response = self._error(error)
        if call.fault("lost"):
            return None
        if call.fault("html"):
            return HTMLResponse(responses.HTML.format("It works"))
        if call.fault("cut"):
            body = bytes(response.body)
            return Response(
                body[: len(body) // 2], response.status_code, media_type="application/json"
            )
        return response

    def _error(self, error: ApiError) -> Response:
        return responses.error_response(error, self._engine.switches.error_body)

    async def _answer(self, call: Call) -> Response:
        if call.endpoint is None:
            fail(404, "There is nothing here.")
        method = "GET" if call.endpoint == "status" else "POST"
        if call.http.method != method:
            fail(405, "This method is not allowed here.", {"Allow": method})
        if call.endpoint != "token":
            self._admit(call)
        return await self._endpoints[call.endpoint](call)

    def _admit(self, call: Call) -> None:
        """Check the bearer token, and count the request towards its limits."""
        engine = self._engine
        token = engine.token_of(call.http.headers.get("authorization", ""))
        if token is None:
            fail(401, "The request needs a valid access token.", _BEARER)
        exceeded = engine.limiter.take(token, *engine.switches.limits())
        if exceeded is not None:
            limit, seconds = exceeded
            fail(429, f"The {limit} limit of requests is reached.", self._retry_after(seconds))

    def _retry_after(self, seconds: float) -> dict[str, str]:
        form = self._engine.switches.retry_after
        if form == "none":
            return {}
        if form == "seconds":
            return {"Retry-After": str(max(1, math.ceil(seconds)))}
        # A date has whole seconds: the next one, or it would be too early.
        moment = math.ceil(self._engine.now() + seconds)
        return {"Retry-After": email.utils.formatdate(moment, usegmt=True)}

    async def _body(self, call: Call) -> bytes:
        """Return the body of a request."""
        kind = call.http.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            fail(415, "The body must be application/json.")
        chunks, size = [], 0
        async for chunk in call.http.stream():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                fail(413, "The body is too large.")
            chunks.append(chunk)
        return b"".join(chunks)

    # -- the endpoints -------------------------------------------------------------------

    async def _token(self, call: Call) -> Response:
        """`POST /token` (section 7)."""
        engine = self._engine
        try:
            given = decode(await self._body(call), TokenRequest)
        except RefusedError as refused:
            problem = refused.problem
            raise ApiError(problem.status, problem.text, [problem]) from None
        credentials = (given.user_name, given.password, given.private_token)
        if credentials != msgspec.structs.astuple(Credentials()):
            fail(401, "The credentials are wrong.", _BEARER)
        token, issued, expires = engine.issue(given.validity or "Default")
        return responses.json_response(
            200,
            {
                "access_token": token,
                "token_type": "Bearer",
                # In the page's sample this is 120 for two hours: minutes.
                "expires_in": int((expires - issued) // 60),
                "userName": given.user_name,
                "issued": responses.timestamp(issued),
                "expires": responses.timestamp(expires),
                "timeZoneOffset": "UTC+00.00",
                "locale": "en-US",
            },
        )

    async def _batch(self, call: Call) -> Response:
        """`POST /contacts/batch` (section 4)."""
        batch_id, reading = await self._accept(call, "batch")
        return responses.batch_accepted(None if call.fault("noid") else batch_id, reading.reported)

    async def _insertupdate(self, call: Call) -> Response:
        """`POST /contacts/insertupdate` (section 5).

        The contact is processed before the answer, which then contains its id, unless an
        earlier batch is delayed.
        """
        engine = self._engine
        batch_id, reading = await self._accept(call, "single")
        details = (engine.store.batch(batch_id) or {}).get("details", {})
        ids = [*details.get("inserted", []), *details.get("updated", [])]
        return responses.contact_accepted(ids[0] if ids else None, reading.reported)

    async def _status(self, call: Call) -> Response:
        """`GET /contacts/{id}/Status` (section 6)."""
        batch = self._engine.store.batch(call.id)
        if batch is None:
            fail(404, "There is no batch with this id.")
        return responses.batch_status(batch, is_odd=call.fault("odd") is not None)

    # -- accepting and refusing ----------------------------------------------------------

    async def _accept(self, call: Call, kind: str) -> tuple[str, Reading]:
        """Accept a request's contacts for processing, or refuse them all."""
        engine = self._engine
        body = await self._body(call)
        if engine.keep_bodies:
            with contextlib.suppress(*UNREADABLE):
                engine.bodies[call.number] = msgspec.json.decode(body)
        reading = read(body, kind, engine.switches, engine.store.properties)
        call.contacts = reading.sent
        columns = {
            "kind": kind,
            "request": call.number,
            "received": call.started,
            "sent": reading.sent,
        }
        problems = reading.problems or self._look_ahead(reading, kind)
        if problems:
            # A wrong JSON type is found before anything is looked at closely, so it comes first.
            status = min(one.status for one in problems)
            engine.store.refuse(problems, status=status, **columns)
            raise responses.refusal(status, problems, engine.switches.refusal_names)
        number, batch_id = engine.store.accept(reading, **columns)
        if not call.fault("stuck"):
            late, skip = call.fault("late"), call.fault("skip")
            engine.add(
                Waiting(
                    number,
                    reading.contacts,
                    due=engine.now() + (late.value if late else 0),
                    fails=call.fault("fail") is not None,
                    skip_first=int(skip.value) or 1 if skip else 0,
                )
            )
        return batch_id, reading

    def _look_ahead(self, reading: Reading, kind: str) -> list[Problem]:
        """Return or report the problems that depend on the contacts there are.

        Only two switches make any.
        """
        engine = self._engine
        switches = engine.switches
        if switches.clash == "allow" and switches.unknown_contact_id.startswith("create"):
            return []
        ahead = engine.store.rehearse(reading.contacts, switches)
        return problems_ahead(reading, ahead, switches, kind)
