"""The answers of the API as its pages print them, and the forms that an error can have."""

from __future__ import annotations

import datetime as dt
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from starlette.responses import HTMLResponse, Response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mainbrainer_sandbox.reading import Problem

HTML = "<!DOCTYPE html><title>{0}</title><h1>{0}</h1><p>This is not the API's JSON.</p>"

# Made up, because no page says what they are.
_STATES = {"queued": (0, "Queued"), "completed": (2, "Completed"), "failed": (3, "Failed")}


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
        problems: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.problems = problems
        self.headers = headers or {}


def fail(status: int, text: str, headers: Mapping[str, str] | None = None) -> NoReturn:
    """End a request with an error answer."""
    raise ApiError(status, text, headers=headers)


def json_response(
    status: int,
    body: dict[str, Any],
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """Return an answer of JSON."""
    return Response(msgspec.json.encode(body), status, dict(headers or {}), media_type)


def batch_accepted(batch_id: str | None, reported: list[Problem]) -> Response:
    """Return the 202 of a batch, spelt as the portal prints it (section 4.2)."""
    properties, ids = _invalid(reported)
    data = {
        "BatchId": batch_id,
        "Processed": None,
        "ContactId": None,
        "InvalidProperties": properties,
        "InvalidContactIds": ids,
    }
    body = {"status": "Success", "message": "Batch request accepted", "data": data}
    return json_response(202, body)


def contact_accepted(contact_id: int | None, reported: list[Problem]) -> Response:
    """Return the 202 of one contact, spelt as the OpenAPI reference prints it (section 5)."""
    properties, ids = _invalid(reported)
    data = {
        "contactId": None if contact_id is None else str(contact_id),
        "status": 0,
        "message": None,
        "invalidPropertiesList": properties,
        "invalidContactIdList": ids,
        "balance": None,
    }
    body = {"status": "Success", "message": "Contact request accepted", "data": data}
    return json_response(202, body)


def batch_status(batch: dict[str, Any], *, is_odd: bool) -> Response:
    """Return the status of a batch (section 6); an odd one has unheard-of words."""
    code, text = (17, "Ferdig") if is_odd else _STATES[batch["state"]]
    body = {
        "id": batch["id"],
        "status": code,
        "statusText": text,
        "statusFailedReason": batch["failed_reason"],
        "processedObj": {
            which: {"count": batch[which], "contactIds": batch["details"].get(which, [])}
            for which in ("inserted", "updated", "skipped")
        },
    }
    return json_response(200, body)


def refusal(status: int, problems: list[Problem], names: str) -> ApiError:
    """Return the refusal of a request that names all, the first or none of its problems."""
    named = {"all": problems, "first": problems[:1], "none": []}[names]
    sentences = [f"{one.where}: {one.text}" if one.where else one.text for one in named]
    return ApiError(
        status, " ".join(["No contact of the request was created or updated.", *sentences]), named
    )


def error_response(error: ApiError, form: str) -> Response:
    """Return an error in the form that the switch `error_body` names."""
    reason = HTTPStatus(error.status).phrase
    if form == "empty":
        return Response(status_code=error.status, headers=error.headers)
    if form == "html":
        page = HTML.format(f"{error.status} {reason}")
        return HTMLResponse(page, error.status, headers=error.headers)
    if form == "problem":
        errors: dict[str, list[str]] = {}
        for one in error.problems:
            errors.setdefault(one.where, []).append(one.text)
        body = {
            "type": "about:blank",
            "title": reason,
            "status": error.status,
            "traceId": f"00-{uuid.uuid4().hex}-0000000000000000-00",
            "errors": errors or {"": [error.text]},
        }
        return json_response(error.status, body, error.headers, "application/problem+json")
    properties, ids = _invalid(error.problems)
    data = {"invalidPropertiesList": properties, "invalidContactIdList": ids, "balance": None}
    body = {"status": "Failed", "message": error.text, "data": data}
    return json_response(error.status, body, error.headers)


def _invalid(problems: Sequence[Problem]) -> tuple[list[dict[str, str | None]], list[str]]:
    """Return the invalid properties, without values, and the invalid contact ids."""
    properties = [
        {"propertyId": one.property_id, "propertyName": one.property_name, "propertyValue": None}
        for one in problems
        if one.property_id is not None or one.property_name is not None
    ]
    return properties, [str(one.contact_id) for one in problems if one.contact_id is not None]


def timestamp(seconds: float) -> str:
    """Return a time as the sample of `POST /token` writes it, with seven digits of a second.

    >>> timestamp(0)
    '1970-01-01T00:00:00.0000000+00:00'
    """
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}0+00:00"
