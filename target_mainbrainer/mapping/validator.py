"""A record against its stream's schema, no more strictly than the SDK's own validator.

`jsonschema`, which the SDK uses, takes more than half the time of a run, so `jsonschema-rs` looks
at the records. Rules that the two read differently are passed over. A rejection describes the
fault with "it" in the place of the value.
"""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable, Iterable, Mapping, Sequence

import jsonschema_rs

from target_mainbrainer.contacts import Record, Rejection, RejectionCode
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping.columns import METADATA_PREFIXES, is_deleted
from target_mainbrainer.words import listed, shown

Validate: t.TypeAlias = "Callable[[Record], Rejection | None]"

_DRAFTS = (
    jsonschema_rs.Draft202012Validator,
    jsonschema_rs.Draft7Validator,
    jsonschema_rs.Draft4Validator,
)
"""The SDK's draft, then those of older taps: `"items": [...]`, `"exclusiveMaximum": true`."""

_DISPUTED = {
    *("$schema", "$dynamicRef", "contentEncoding", "contentMediaType", "dependencies"),
    "propertyNames",  # its fault repeats the name of a member, which may be an e-mail address
}
_REVERSING = {"not", "oneOf", "if"}
"""Rules that refuse more when a part of them refuses less."""

_OF_NAMES = {"properties", "definitions", "$defs"}
_OF_VALUES = {"enum", "const", "default", "examples"}
_OF_TEXTS = {"type", "required"}
"""Taps that add "null" to a type that has it already repeat it, which the drafts do not allow."""


def compile_validator(
    schema: Mapping[str, t.Any], key_properties: Sequence[str], *, stream: str = ""
) -> Validate:
    """Return a function that returns the fault of a record, or None if it fits.

    - Formats (`date-time`, ...) are not asserted; the SDK does not, either.
    - Columns of Singer metadata (`_sdc_*`) are not looked at; the SDK removes them, too.
    - A record that was deleted in the source always fits: log-based taps send little more than
      the key then.
    - References outside the schema are refused rather than fetched.

    >>> validate = compile_validator({"properties": {"age": {"type": "integer"}}}, [])
    >>> validate({"age": 4}) is None
    True
    >>> print(validate({"age": "four"}).reason)
    Column 'age' does not fit the stream's schema: it is not of type "integer".

    Args:
        schema: As announced, before stream maps and flattening.
        key_properties: Columns that no record may lack.
        stream: The stream's name, for messages.

    Raises:
        MappingError: The schema is not a JSON schema.
    """
    validator = _compiled(stream, _lenient(_without_metadata(schema)))
    is_valid = validator.is_valid
    keys = frozenset(key_properties)

    def validate(record: Record) -> Rejection | None:
        if not keys <= record.keys():
            names = listed(sorted(keys - record.keys()))
            reason = f"The record has no {names}, which the stream's key consists of."
            return Rejection(RejectionCode.MISSING_KEY, reason)
        try:
            if is_valid(record):
                return None
        except (ValueError, RecursionError):
            pass  # It contains something that is not JSON, which is looked at below.
        return None if is_deleted(record) else _finding(validator, record)

    return validate


def _without_metadata(schema: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a schema that allows any `_sdc_*` columns."""

    def kept(names: Iterable[t.Any]) -> list[t.Any]:
        return [name for name in names if not str(name).startswith(METADATA_PREFIXES)]

    changed = dict(schema)
    if isinstance(properties := schema.get("properties"), dict):
        changed["properties"] = {name: properties[name] for name in kept(properties)}
    if isinstance(required := schema.get("required"), list):
        changed["required"] = kept(required)
    if schema.get("additionalProperties", True) is not True:
        patterns = schema.get("patternProperties") or {}
        changed["patternProperties"] = {f"^({'|'.join(METADATA_PREFIXES)})": True} | patterns
    return changed


def _lenient(schema: t.Any) -> t.Any:  # noqa: ANN401 - any part of a schema
    """Return a schema without the rules that validators read differently.

    A pattern counts only if it looks the same in the dialects of Python and JavaScript.
    """
    if isinstance(schema, list):
        return [_lenient(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    pattern = schema.get("pattern", "")
    is_dialect = isinstance(pattern, str) and ("\\" in pattern or "(?" in pattern)
    changed: dict[str, t.Any] = {}
    for rule, value in schema.items():
        if rule in _OF_NAMES and isinstance(value, dict):
            changed[rule] = {name: _lenient(part) for name, part in value.items()}
        elif rule not in _DISPUTED and not (rule == "pattern" and is_dialect):
            changed[rule] = value if rule in _OF_VALUES else _lenient(value)
        if rule in _OF_TEXTS and isinstance(value, list):
            changed[rule] = [text for at, text in enumerate(value) if text not in value[:at]]
        if rule in _REVERSING and changed.get(rule) != value:
            del changed[rule]
    return changed


def _compiled(stream: str, schema: dict[str, t.Any]) -> jsonschema_rs.Validator:
    errors: list[Exception] = []
    for draft in _DRAFTS:
        try:
            return draft(schema, validate_formats=False, offline=True, mask="it")
        except (ValueError, RecursionError) as error:
            errors.append(error)
    where = ""
    if isinstance(errors[0], jsonschema_rs.ValidationError) and errors[0].instance_path:
        where = f" at '{shown('.'.join(map(str, errors[0].instance_path)))}'"
    raise MappingError(
        f"Stream '{shown(stream)}': its schema is not a valid JSON schema{where}. Correct it in "
        "the tap, or with the tap's schema overrides."
    ) from errors[0]


def _finding(validator: jsonschema_rs.Validator, record: Record) -> Rejection | None:
    """Return the fault of a record that does not fit as it is; as JSON it may."""
    try:
        error = next(iter(validator.iter_errors(_as_json(record))), None)
    except (TypeError, ValueError, RecursionError):  # no JSON, or nested too deeply: for mapping
        return None
    if error is None:
        return None
    path = error.instance_path
    what = f"Column '{shown(str(path[0]))}'" if path else "The record"
    inside = "inside, " if len(path) > 1 else ""
    message = error.message
    if path and error.kind.name in {"additionalProperties", "unevaluatedProperties"}:
        message = message.partition(" (")[0]  # names of members follow, which may be an address
    reason = f"{what} does not fit the stream's schema: {inside}{shown(message)}."
    return Rejection(RejectionCode.SCHEMA_MISMATCH, reason)


def _as_json(record: Record) -> t.Any:  # noqa: ANN401 - any JSON value
    """Return a record as the validator can read it: the JSON that it would have been.

    An unpaired surrogate becomes a question mark, and NaN some number, so that the validator can
    read them at all; the mapping refuses them.
    """
    text = json.dumps(record, default=float, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(text, parse_constant=lambda _: 0)
