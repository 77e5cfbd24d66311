"""The kinds of values that settings have, beside those of the Singer SDK."""

from __future__ import annotations

import typing as t

from singer_sdk import typing as th

KINDS: t.Final = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
"""What a JSON schema's types are called in sentences."""


def choice_of(literal: object) -> th.StringType:
    """Return the kind of a setting that is one of a `Literal`'s words."""
    return th.StringType(allowed_values=list(t.get_args(literal)))


class Bounded(th.IntegerType):
    """An integer within bounds."""

    def __init__(self, minimum: int, maximum: int | None = None) -> None:
        super().__init__(minimum=minimum, maximum=maximum)


FIELD_MAP = th.ObjectType(
    additional_properties=th.CustomType(
        {
            "type": ["string", "object", "null"],
            "properties": {
                "property_id": {"type": "string"},
                "property_name": {"type": "string"},
            },
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
    )
)
