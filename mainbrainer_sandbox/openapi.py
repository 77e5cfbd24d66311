"""The sandbox's description of its API, for `/openapi.json`.

It describes what the sandbox does with its default switches, as strictly as JSON
Schema can; a fuzzer that reads it must find no answer that is not in it. Keys are
spelt as the OpenAPI reference spells them.
"""

from __future__ import annotations

from typing import Any

from mainbrainer_sandbox.reading import (
    CODES,
    E164_DIGITS,
    EMAIL_PATTERN,
    MAX_CONTACTS,
    MAX_EMAIL,
    MAX_NAME,
    SHORTEST_NATIONAL,
    URL_PATTERN,
)
from mainbrainer_sandbox.rules import INT64

_NULL_TEXT = {"type": ["string", "null"]}
_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_LIST_ID = {
    "type": ["string", "null"],
    "pattern": _UUID,
    "description": "List the contact is put in besides 'All contacts'.",
}
_EMAIL = {
    "type": ["string", "null"],
    "maxLength": MAX_EMAIL,
    "pattern": f"^(?:{EMAIL_PATTERN})?$",
    "description": "Empty is as good as not sent.",
}
_CONSENT = {
    "type": ["boolean", "null"],
    "description": "Not sent: no consent for a new contact, and no change for a known one.",
}
_PROPERTY = {
    "type": "object",
    "properties": {
        "propertyId": {**_NULL_TEXT, "description": "Decides, if it is given."},
        "propertyName": {**_NULL_TEXT, "maxLength": MAX_NAME},
        "propertyValue": {**_NULL_TEXT, "description": "Empty clears the property."},
    },
    "anyOf": [
        {"required": [key], "properties": {key: {"type": "string", "pattern": r"[^ \t\r\n]"}}}
        for key in ("propertyId", "propertyName")
    ],
}
_MOBILE_PARTS = {
    "mobileCountryCode": {"type": ["integer", "null"], "enum": [None, *sorted(CODES)]},
    "mobileNumber": {"type": ["integer", "null"], "minimum": 10 ** (SHORTEST_NATIONAL - 1)},
}
# Country code and number have 15 digits together, at most.
_GIVEN_MOBILE = {
    "required": ["mobileCountryCode", "mobileNumber"],
    "anyOf": [
        {
            "properties": {
                "mobileCountryCode": {
                    "type": "integer",
                    "enum": sorted(code for code in CODES if len(str(code)) == digits),
                },
                "mobileNumber": {"type": "integer", "maximum": 10 ** (E164_DIGITS - digits) - 1},
            }
        }
        for digits in (1, 2, 3)
    ],
}
_NO_MOBILE = {
    "properties": {"mobileCountryCode": {"type": "null"}, "mobileNumber": {"type": "null"}}
}
_CONTACT = {
    "type": "object",
    "description": "Needs a contact id, a mobile number with its country code, or an e-mail.",
    "properties": {
        "listId": _LIST_ID,
        "contactId": {"type": ["integer", "null"], "minimum": 1, "maximum": INT64},
        **_MOBILE_PARTS,
        "mobileOptIn": _CONSENT,
        "email": _EMAIL,
        "emailOptIn": _CONSENT,
        "propertyFields": {
            "type": ["array", "null"],
            "items": {"$ref": "#/components/schemas/PropertyFields"},
        },
    },
    "allOf": [
        {"anyOf": [_GIVEN_MOBILE, _NO_MOBILE]},
        {
            "anyOf": [
                {"required": ["contactId"], "properties": {"contactId": {"type": "integer"}}},
                {
                    "required": ["email"],
                    "properties": {"email": {"type": "string", "minLength": 1}},
                },
                _GIVEN_MOBILE,
            ]
        },
    ],
}
_INVALID = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "propertyId": _NULL_TEXT,
            "propertyName": _NULL_TEXT,
            "propertyValue": _NULL_TEXT,
        },
    },
}
_IDS = {"type": "array", "items": {"type": "string"}}
_COUNT = {
    "type": "object",
    "required": ["count", "contactIds"],
    "properties": {
        "count": {"type": "integer", "minimum": 0},
        "contactIds": {"type": "array", "items": {"type": "integer"}},
    },
}
_ERRORS = {
    "400": "Not JSON, a wrong JSON type, or more contacts than a request holds",
    "401": "No valid access token",
    "404": "There is no such thing",
    "405": "The method is not allowed",
    "406": "The account cannot do this",
    "409": "A contact clashes with another",
    "413": "The body is too large",
    "415": "The body is not application/json",
    "422": "A contact is refused, and with it the whole request",
    "429": "A rate limit is reached",
    "500": "Server error",
}


def _envelope(data: dict[str, Any], status: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["status", "message", "data"],
        "properties": {
            "status": {"const": status},
            "message": {"type": "string"},
            "data": {"type": "object", "required": list(data), "properties": data},
        },
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _responses(
    status: str, description: str, schema: dict[str, Any], links: dict[str, Any] | None = None
) -> dict[str, Any]:
    error = {"$ref": "#/components/schemas/Error"}
    return {
        status: {"description": description, "content": _json(schema), "links": links or {}},
        **{
            number: {"description": text, "content": _json(error)}
            for number, text in _ERRORS.items()
        },
    }


def describe(url: str) -> dict[str, Any]:
    """Return the description of a sandbox that answers at a URL."""
    contact = {"$ref": "#/components/schemas/CreateUpdateContacts"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MainBrainer sandbox",
            "version": "1",
            "description": (
                "A local stand-in for MainBrainer's contact API, as its public documentation "
                "describes it. Where that is silent, the real API may do otherwise."
            ),
        },
        "servers": [{"url": url}],
        "security": [{"bearer": []}],
        "paths": {
            "/token": {
                "post": {
                    "operationId": "createToken",
                    "summary": "Create an access token",
                    "security": [],
                    "requestBody": {
                        "required": True,
                        "content": _json({"$ref": "#/components/schemas/Credentials"}),
                    },
                    "responses": _responses(
                        "200", "The new token", {"$ref": "#/components/schemas/Token"}
                    ),
                }
            },
            "/contacts/batch": {
                "post": {
                    "operationId": "upsertContacts",
                    "summary": "Insert or update contacts; they are processed later",
                    "requestBody": {
                        "required": True,
                        "content": _json({"$ref": "#/components/schemas/Batch"}),
                    },
                    "responses": _responses(
                        "202",
                        "Accepted",
                        _envelope(
                            {
                                "BatchId": _NULL_TEXT,
                                "Processed": {"type": "null"},
                                "ContactId": {"type": "null"},
                                "InvalidProperties": _INVALID,
                                "InvalidContactIds": _IDS,
                            },
                            "Success",
                        ),
                        links={
                            "status": {
                                "operationId": "batchStatus",
                                "parameters": {"id": "$response.body#/data/BatchId"},
                            }
                        },
                    ),
                }
            },
            "/contacts/insertupdate": {
                "post": {
                    "operationId": "upsertContact",
                    "summary": "Insert or update one contact",
                    "requestBody": {"required": True, "content": _json(contact)},
                    "responses": _responses(
                        "202",
                        "Accepted",
                        _envelope(
                            {
                                "contactId": _NULL_TEXT,
                                "status": {"type": "integer"},
                                "message": _NULL_TEXT,
                                "invalidPropertiesList": _INVALID,
                                "invalidContactIdList": _IDS,
                                "balance": {},
                            },
                            "Success",
                        ),
                    ),
                }
            },
            "/contacts/{id}/Status": {
                "get": {
                    "operationId": "batchStatus",
                    "summary": "What became of a batch",
                    "parameters": [
                        {
                            "name": "id",
                            "in": "path",
                            "required": True,
                            "description": "The batch id of a 202.",
                            "schema": {"type": "string", "format": "uuid", "pattern": _UUID},
                        }
                    ],
                    "responses": _responses(
                        "200", "The status", {"$ref": "#/components/schemas/Status"}
                    ),
                }
            },
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Credentials": {
                    "type": "object",
                    "required": ["userName", "password", "privateToken"],
                    "properties": {
                        "userName": {"type": "string"},
                        "password": {"type": "string"},
                        "privateToken": {"type": "string"},
                        "validity": {"enum": ["Default", "ShortLive", "LongLive", None]},
                    },
                },
                "Token": {
                    "type": "object",
                    "required": ["access_token", "token_type", "expires_in", "issued", "expires"],
                    "properties": {
                        "access_token": {"type": "string"},
                        "token_type": {"const": "Bearer"},
                        "expires_in": {"type": "integer"},
                        "userName": {"type": "string"},
                        "issued": {"type": "string"},
                        "expires": {"type": "string"},
                        "timeZoneOffset": {"type": "string"},
                        "locale": {"type": "string"},
                    },
                },
                "PropertyFields": _PROPERTY,
                "CreateUpdateContacts": _CONTACT,
                "Batch": {
                    "type": "object",
                    "required": ["createUpdateContacts"],
                    "properties": {
                        "listId": _LIST_ID,
                        "createUpdateContacts": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MAX_CONTACTS,
                            "items": contact,
                        },
                        "webHookUrl": {
                            "type": ["string", "null"],
                            "pattern": f"^(?:{URL_PATTERN})?$",
                            "description": "Delivered to this machine only, unless switched.",
                        },
                    },
                },
                "Status": {
                    "type": "object",
                    "required": ["id", "status", "statusText", "processedObj"],
                    "properties": {
                        "id": {"type": "string"},
                        "status": {"type": "integer"},
                        "statusText": {"type": "string"},
                        "statusFailedReason": _NULL_TEXT,
                        "processedObj": {
                            "type": "object",
                            "required": ["inserted", "updated", "skipped"],
                            "properties": {
                                "inserted": _COUNT,
                                "updated": _COUNT,
                                "skipped": _COUNT,
                            },
                        },
                    },
                },
                "Error": _envelope(
                    {"invalidPropertiesList": _INVALID, "invalidContactIdList": _IDS}, "Failed"
                ),
            },
        },
    }
