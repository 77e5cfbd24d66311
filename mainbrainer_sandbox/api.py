"""The four endpoints of the API over HTTP, as documented (sections 2 to 9).

A request meets, in this order: a fault, if one is set; the path and the method;
the User-Agent; the token (401); the rate limit (429); the content type; the
account's rights; what is in the body. Which order the real API has is unknown.
"""

from __future__ import annotations

import email.utils
import logging
import math
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, Response

from mainbrainer_sandbox.engine import timestamp
from mainbrainer_sandbox.reading import Keys, Problem, Reading
from mainbrainer_sandbox.store import Request
from mainbrainer_sandbox.worker import status_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Message, Receive, Scope, Send

    from mainbrainer_sandbox.engine import Engine
    from mainbrainer_sandbox.faults import Strike

_LOG = logging.getLogger(__name__)

MAX_BODY_BYTES = 32 * 1024 * 1024
_NO_CONTACT = "No contact of the request was created or updated."
_HTML = "<!DOCTYPE html><title>{0}</title><h1>{0}</h1><p>This is not the API's JSON.</p>"
_TOKEN_KEYS = Keys(
    {
        "userName": "username",
        "password": "password",
        "privateToken": "private_token",
        "validity": "validity",
    },
    lenient=True,
)
_PATHS = {
    ("token",): "token",
    ("contacts", "batch"): "batch",
    ("contacts", "insertupdate"): "insertupdate",
}
_METHODS = {"token": "POST", "batch": "POST", "insertupdate": "POST", "status": "GET"}


class ApiError(Exception):
    """Ends a request with an error answer.

    Args:
        status: The status of the answer.
        text: A sentence, without contact data.
        problems: The reasons of a refusal, contact by contact.
        headers: Headers of the answer.
    """

    def __init__(
        self,
        status: int,
        text: str,
        *,
        problems: list[Problem] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.problems = problems or []
        self.headers = dict(headers or {})


class Call:
    """One request on its way through the API."""

    def __init__(self, engine: Engine, scope: Scope, receive: Receive) -> None:
        self.http = HttpRequest(scope, receive)
        self.received = engine.now()
        self.started = engine.clock()
        self.number = engine.next_number()
        self.endpoint, self.id = route(scope["path"], strict=engine.switches.paths == "strict")
        self.strikes: list[Strike] = engine.faults.strikes(self.endpoint)
        self.contacts = 0
        self.body: Any = None

    def strike(self, *kinds: str) -> Strike | None:
        """Return the first fault of one of these kinds that meets this request."""
        return next((one for one in self.strikes if one.kind in kinds), None)


def route(path: str, *, strict: bool) -> tuple[str | None, str]:
    """Return the endpoint a path means, or None, and the id in it.

    >>> route("/Contacts/Batch/", strict=False)
    ('batch', '')
    >>> route("/contacts/x/Status", strict=True)
    ('status', 'x')
    """
    parts = path.split("/")[1:]
    if not strict:
        if parts and not parts[-1]:
            parts.pop()
        parts = [part.lower() for part in parts]
    endpoint = _PATHS.get(tuple(parts))
    if endpoint is not None:
        return endpoint, ""
    match parts:
        case ["contacts", batch_id, "Status" | "status" as word] if batch_id and (
            word == "Status" or not strict
        ):
            return "status", batch_id
        case _:
            return None, ""


class Api:
    """The API as an ASGI application.

    Args:
        engine: What it is the face of.
        abort: Resets the connection of a request, or closes it at once.
    """

    def __init__(self, engine: Engine, abort: Callable[[Scope], None]) -> None:
        self._engine = engine
        self._abort = abort
        self._endpoints: dict[str, Callable[[Call], Awaitable[Response]]] = {
            "token": self._token,
            "batch": self._batch,
            "insertupdate": self._insertupdate,
            "status": self._status,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and put it on record."""
        call = Call(self._engine, scope, receive)
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            response = await self._respond(call)
            if response is None:
                await self._drop(scope, receive)
            else:
                await response(scope, receive, watch)
        except ClientDisconnect:
            pass
        except Exception:  # noqa: BLE001 - answered, and logged with its traceback
            # A mistake of the sandbox's own; where it is, but not with which contact.
            _LOG.exception("The sandbox failed on request %d.", call.number)
            error = ApiError(500, "The sandbox itself has failed; see its log.")
            await self._error(error)(scope, receive, watch)
        finally:
            engine = self._engine
            engine.record(
                Request(
                    call.number,
                    call.started,
                    engine.clock(),
                    call.received,
                    call.http.method,
                    # A path that is not the API's may hold anything, so it is not kept.
                    scope["path"] if call.endpoint else "(other)",
                    status,
                    call.contacts,
                    ", ".join(one.fault.text for one in call.strikes) or None,
                    call.body,
                )
            )

    async def _drop(self, scope: Scope, receive: Receive) -> None:
        """Reset the connection and wait until the server has noticed."""
        self._abort(scope)
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _respond(self, call: Call) -> Response | None:
        """Return the answer, or None if the connection is to be dropped instead."""
        for one in call.strikes:
            if one.kind == "latency":
                await self._engine.pause(one.value)
        if call.strike("reset"):
            return None
        hang = call.strike("hang")
        if hang:
            await self._engine.pause(hang.value or None)
            return None
        try:
            planned = call.strike("status")
            if planned:
                raise self._planned(planned)
            response = await self._answer(call)
        except ApiError as error:
            response = self._error(error)
        if call.strike("lost"):
            return None
        if call.strike("html"):
            return HTMLResponse(_HTML.format("It works"))
        if call.strike("cut"):
            return Response(
                bytes(response.body)[: len(response.body) // 2],
                response.status_code,
                media_type="application/json",
            )
        return response

    def _planned(self, strike: Strike) -> ApiError:
        status = strike.fault.status
        headers = {}
        if status == HTTPStatus.TOO_MANY_REQUESTS or strike.value:
            headers = self._retry_after(strike.value or 1)
        return ApiError(status, "The sandbox was told to answer so.", headers=headers)

    async def _answer(self, call: Call) -> Response:
        engine, headers = self._engine, call.http.headers
        if call.endpoint is None:
            text = "There is nothing here."
            raise ApiError(404, text)
        if call.http.method != _METHODS[call.endpoint]:
            text = "This method is not allowed here."
            raise ApiError(405, text, headers={"Allow": _METHODS[call.endpoint]})
        if engine.switches.user_agent == "required" and not headers.get("user-agent"):
            text = "A User-Agent is required."
            raise ApiError(400, text)
        if call.endpoint != "token":
            self._admit(call)
        return await self._endpoints[call.endpoint](call)

    def _admit(self, call: Call) -> None:
        """Check the bearer token, and count the request towards its limits."""
        engine = self._engine
        scheme, _, token = call.http.headers.get("authorization", "").partition(" ")
        name = engine.knows(token.strip()) if scheme.lower() == "bearer" else None
        if name is None:
            text = "The request needs a valid access token."
            raise ApiError(401, text, headers={"WWW-Authenticate": "Bearer"})
        exceeded = engine.limiter.take(name, engine.switches)
        if exceeded is not None:
            text = f"The {exceeded.limit} limit of requests is reached."
            raise ApiError(429, text, headers=self._retry_after(exceeded.retry_after))

    def _retry_after(self, seconds: float) -> dict[str, str]:
        form = self._engine.switches.retry_after
        if form == "none":
            return {}
        if form == "seconds":
            return {"Retry-After": str(max(1, math.ceil(seconds)))}
        # A date has whole seconds: the next one, or it would be too early.
        moment = math.ceil(self._engine.now() + seconds)
        return {"Retry-After": email.utils.formatdate(moment, usegmt=True)}

    async def _json(self, call: Call) -> Any:  # noqa: ANN401 - whatever was sent
        """Return the parsed body of a request."""
        kind = call.http.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self._engine.switches.content_type == "required" and not (
            kind == "application/json" or (kind.startswith("application/") and "+json" in kind)
        ):
            text = "The body must be application/json."
            raise ApiError(415, text)
        chunks, size = [], 0
        async for chunk in call.http.stream():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                text = "The body is too large."
                raise ApiError(413, text)
            chunks.append(chunk)
        try:
            body = msgspec.json.decode(b"".join(chunks))
        except (msgspec.MsgspecError, RecursionError, ValueError):
            text = "The body is not JSON."
            raise ApiError(400, text) from None
        if self._engine.keep_bodies:
            call.body = body
        return body

    # -- the endpoints -------------------------------------------------------------------

    async def _token(self, call: Call) -> Response:
        """`POST /token` (section 7)."""
        engine = self._engine
        body = await self._json(call)
        call.body = None
        if type(body) is not dict:
            text = "The body must be a JSON object."
            raise ApiError(400, text)
        given = _TOKEN_KEYS.named(body)
        validity = given.pop("validity", None) or "Default"
        for name in ("username", "password", "private_token"):
            if type(given.get(name)) is not str:
                text = "User name, password and private token are required."
                raise ApiError(400, text)
        if validity not in ("Default", "ShortLive", "LongLive"):
            text = "The validity is Default, ShortLive or LongLive."
            raise ApiError(400, text)
        if given != msgspec.to_builtins(engine.credentials):
            text = "The credentials are wrong."
            raise ApiError(401, text, headers={"WWW-Authenticate": "Bearer"})
        token = engine.issue(validity)
        lifetime = token.expires - token.issued
        unit = 60 if engine.switches.expires_in == "minutes" else 1
        return _json(
            200,
            {
                "access_token": token.text,
                "token_type": "Bearer",
                "expires_in": int(lifetime // unit),
                "userName": engine.credentials.username,
                "issued": timestamp(token.issued),
                "expires": timestamp(token.expires),
                "timeZoneOffset": "UTC+00.00",
                "locale": "en-US",
            },
        )

    async def _batch(self, call: Call) -> Response:
        """`POST /contacts/batch` (section 4)."""
        body = await self._json(call)
        reading = self._engine.reader().read_batch(body)
        _, batch_id = await self._accept(call, reading, "batch")
        portal = self._engine.switches.response_shape != "openapi"
        shown = (
            None if self._engine.switches.batch_id == "absent" or call.strike("noid") else batch_id
        )
        data: dict[str, Any] = {"BatchId" if portal else "batchId": shown}
        if portal:
            data |= {"Processed": None, "ContactId": None}
        else:
            data |= {"processed": None, "contactId": None, "status": 0, "message": None}
        return _json(
            202, _envelope("Batch request accepted", data, reading.reported, portal=portal)
        )

    async def _insertupdate(self, call: Call) -> Response:
        """`POST /contacts/insertupdate` (section 5)."""
        engine = self._engine
        body = await self._json(call)
        reading = engine.reader().read_single(body)
        held_up = engine.worker.held_up()
        number, _ = await self._accept(call, reading, "single")
        contact_id = None
        late = call.strike("late", "stuck")
        delayed = engine.switches.processing_delay_seconds > 0
        if not (held_up or late or delayed or engine.switches.single_answer == "null"):
            ids = await engine.worker.expect(number)
            contact_id = str(ids[0]) if ids else None
        portal = engine.switches.response_shape == "portal"
        data: dict[str, Any]
        if portal:
            data = {"BatchId": None, "Processed": None, "ContactId": contact_id}
        else:
            data = {"contactId": contact_id, "status": 0, "message": None}
        return _json(
            202, _envelope("Contact request accepted", data, reading.reported, portal=portal)
        )

    async def _status(self, call: Call) -> Response:
        """`GET /contacts/{id}/Status` (section 6)."""
        batch = self._engine.store.batch(call.id.lower())
        if batch is None:
            text = "There is no batch with this id."
            raise ApiError(self._engine.switches.unknown_status, text)
        return _json(200, status_body(batch, self._engine.switches))

    # -- accepting and refusing ----------------------------------------------------------

    async def _accept(self, call: Call, reading: Reading, kind: str) -> tuple[int, str]:
        """Keep a request's contacts until they are processed, or refuse them."""
        engine = self._engine
        call.contacts = reading.sent
        if engine.switches.account_status:
            problem = Problem("", engine.switches.account_message, engine.switches.account_status)
            raise self._refused(call, [problem], kind, reading.sent)
        if reading.problems:
            raise self._refused(call, reading.problems, kind, reading.sent)
        await self._look_ahead(call, reading, kind)
        due: float | None = engine.now() + engine.switches.processing_delay_seconds
        late = call.strike("late")
        if late:
            due = engine.now() + late.value
        fate = None
        if call.strike("stuck"):
            due = None
        if call.strike("fail"):
            fate = "fail"
        skip = call.strike("skip")
        if skip:
            fate = f"skip={int(skip.value) or 1}"
        accepted = engine.store.accept(
            reading, kind=kind, request=call.number, received=call.received, due=due, fate=fate
        )
        engine.worker.wake()
        return accepted

    async def _look_ahead(self, call: Call, reading: Reading, kind: str) -> None:
        """Refuse or report what can only be seen against the contacts there are.

        Needed by three switches alone. Batches that wait are processed first, or a
        contact that is about to exist would be called unknown.
        """
        engine = self._engine
        conflict = engine.switches.clash == "conflict"
        unknown = engine.switches.unknown_contact_id
        if not conflict and unknown not in {"report", "refuse"}:
            return
        if not engine.worker.held_up():
            await engine.worker.settle()
        ahead = engine.store.rehearse(
            [msgspec.structs.replace(sent) for sent in reading.contacts], engine.switches
        )

        def problems(places: list[int], text: str, status: int) -> list[Problem]:
            place = "createUpdateContacts[{}]." if kind == "batch" else ""
            return [
                Problem(
                    f"{place.format(at)}contactId",
                    text,
                    status,
                    at,
                    reading.contacts[at].contact_id,
                )
                for at in places
            ]

        found = []
        if conflict:
            text = "Another contact has this mobile and e-mail."
            found += problems(ahead.clashes, text, 409)
        text = "No contact has this contact id."
        if unknown == "refuse":
            found += problems(ahead.unknown_ids, text, 422)
        elif unknown == "report":
            reading.reported += problems(ahead.unknown_ids, text, 422)
        if found:
            raise self._refused(call, found, kind, reading.sent)

    def _refused(self, call: Call, problems: list[Problem], kind: str, sent: int) -> ApiError:
        """Put a refusal on record and return its answer."""
        switches = self._engine.switches
        # A wrong JSON type is found before anything is looked at closely, so it comes first.
        status = min(one.status for one in problems)
        if switches.refusal_status != "by_cause" and status in {400, 422}:
            status = int(switches.refusal_status)
        self._engine.store.refuse(
            problems,
            kind=kind,
            request=call.number,
            received=call.received,
            sent=sent,
            status=status,
        )
        shown = problems
        if switches.refusal_names != "all":
            shown = problems[:1] if switches.refusal_names == "first" else []
        sentences = [f"{one.where}: {one.text}" if one.where else one.text for one in shown]
        return ApiError(status, " ".join([_NO_CONTACT, *sentences]), problems=shown)

    def _error(self, error: ApiError) -> Response:
        """Return an error in the form the switch asks for."""
        form = self._engine.switches.error_body
        if form == "empty":
            return Response(status_code=error.status, headers=error.headers)
        if form == "html":
            page = _HTML.format(f"{error.status} {_reason(error.status)}")
            return HTMLResponse(page, error.status, headers=error.headers)
        if form == "problem":
            body = {
                "type": "about:blank",
                "title": _reason(error.status),
                "status": error.status,
                "traceId": f"00-{uuid.uuid4().hex}-0000000000000000-00",
                "errors": _errors(error.problems) or {"": [error.text]},
            }
            return _json(error.status, body, error.headers, "application/problem+json")
        portal = self._engine.switches.response_shape == "portal"
        return _json(
            error.status,
            _envelope(error.text, {}, error.problems, portal=portal, status="Failed"),
            error.headers,
        )


def _reason(status: int) -> str:
    return HTTPStatus(status).phrase


def _errors(problems: list[Problem]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for one in problems:
        errors.setdefault(one.where, []).append(one.text)
    return errors


def _envelope(
    message: str,
    data: dict[str, Any],
    problems: list[Problem],
    *,
    portal: bool,
    status: str = "Success",
) -> dict[str, Any]:
    """Return an answer in the API's envelope, with the invalid lists in one of two spellings.

    An invalid property comes without its value: the sandbox repeats no contact data.
    """
    properties = [
        {"propertyId": one.property_id, "propertyName": one.property_name, "propertyValue": None}
        for one in problems
        if one.property_id is not None or one.property_name is not None
    ]
    ids = [str(one.contact_id) for one in problems if one.contact_id is not None]
    if portal:
        data |= {"InvalidProperties": properties, "InvalidContactIds": ids}
    else:
        data |= {"invalidPropertiesList": properties, "invalidContactIdList": ids, "balance": None}
    return {"status": status, "message": message, "data": data}


def _json(
    status: int,
    body: dict[str, Any],
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    return Response(msgspec.json.encode(body), status, dict(headers or {}), media_type)
