"""A record against its stream's schema: never more strictly than the SDK's own validator.

`jsonschema-rs` looks at every record, because `jsonschema`, which the SDK uses, takes more than
half the time of a run. What the quick one refuses `jsonschema` is asked about, and a record is
refused only if both refuse it: they differ about `contentEncoding`, patterns and drafts. What is
wrong is told without the value, which the libraries' messages repeat.
"""

from __future__ import annotations

import decimal
import functools
import typing as t

import jsonschema
import jsonschema_rs
from referencing import Registry

from target_mainbrainer.contacts.rejection import Rejection, RejectionCode
from target_mainbrainer.contacts.too_deep import holds_too_deep
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping.columns import (
    METADATA_PREFIX,
    is_deleted,
)
from target_mainbrainer.wording import listed, shown

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Record: t.TypeAlias = "dict[str, t.Any]"
Validate: t.TypeAlias = "Callable[[Record], Rejection | None]"


def compile_validator(
    schema: Mapping[str, t.Any], key_properties: Sequence[str], *, stream: str = ""
) -> Validate:
    """Return a function that says what does not fit about a record, or None if it fits.

    - Formats (`date-time`, ...) are not asserted; the SDK does not, either.
    - Columns of Singer metadata (`_sdc_*`) are not looked at; the SDK takes them out, too.
    - A record that was deleted in the source always fits: log-based taps send little more than
      the key then.
    - References outside the schema are refused rather than fetched.

    >>> validate = compile_validator({"properties": {"age": {"type": "integer"}}}, [])
    >>> validate({"age": 4}) is None
    True
    >>> validate({"age": "four"}).reason
    "Column 'age' does not fit the stream's schema: it should be an integer."

    Args:
        schema: As announced.
        key_properties: Columns that no record may lack.
        stream: The stream's name, for messages.

    Raises:
        MappingError: The schema is not a JSON schema.
    """
    checked = _without_metadata(schema)
    quick = _compiled(stream, checked)
    # It takes a while to make, and only a record that does not fit needs it.
    sdks = functools.cache(functools.partial(_sdks_validator, checked))
    is_valid = quick.is_valid if quick is not None else None
    keys = frozenset(key_properties)

    def validate(record: Record) -> Rejection | None:
        if not keys <= record.keys():
            return _missing(sorted(keys - record.keys()))
        try:
            if is_valid is not None and is_valid(record):
                return None
        except (ValueError, RecursionError):
            pass  # It holds something that is not JSON; what it means is seen below.
        return None if is_deleted(record) else _finding(quick, sdks(), record)

    return validate


def _missing(keys: list[str]) -> Rejection:
    columns = f"column{'s' if len(keys) > 1 else ''} {listed(keys)}"
    reason = f"The record lacks {columns}, by which the stream's records are told apart."
    return Rejection(RejectionCode.MISSING_KEY, reason)


def _without_metadata(schema: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a schema that does not mind `_sdc_*` columns."""
    changed = dict(schema)
    if isinstance(properties := schema.get("properties"), dict):
        changed["properties"] = {
            name: what for name, what in properties.items() if not name.startswith(METADATA_PREFIX)
        }
    if isinstance(required := schema.get("required"), list):
        changed["required"] = [
            name for name in required if not str(name).startswith(METADATA_PREFIX)
        ]
    if schema.get("additionalProperties", True) is not True:
        patterns = schema.get("patternProperties")
        changed["patternProperties"] = {f"^{METADATA_PREFIX}": True} | (patterns or {})
    return changed


def _compiled(stream: str, schema: dict[str, t.Any]) -> jsonschema_rs.Validator | None:
    """Compile a schema by the draft it names, else by draft 7 or, if need be, draft 4.

    Draft 7 is what taps mean. Draft 4 is what older ones write without saying so, with
    `"exclusiveMaximum": true`. None if only the SDK's validator knows what to do with it, such as
    a pattern in Python's own dialect.
    """
    drafts: list[Callable[..., jsonschema_rs.Validator]] = [jsonschema_rs.validator_for]
    if not isinstance(schema.get("$schema"), str):
        drafts = [jsonschema_rs.Draft7Validator, jsonschema_rs.Draft4Validator]
    first: Exception | None = None
    for draft in drafts:
        try:
            return draft(schema, validate_formats=False, offline=True)
        except (
            jsonschema_rs.ValidationError,
            jsonschema_rs.ReferencingError,
            ValueError,
            RecursionError,
        ) as error:
            first = first or error
    if _sdks_validator(schema) is not None and "$ref" not in repr(schema):
        return None
    where = ""
    if isinstance(first, jsonschema_rs.ValidationError) and first.instance_path:
        where = f" at '{shown('.'.join(map(str, first.instance_path)))}'"
    message = (
        f"Stream '{shown(stream)}': its schema is not a valid JSON schema{where}. Correct it in "
        "the tap, or with the tap's schema overrides."
    )
    raise MappingError(message) from first


def _sdks_validator(schema: dict[str, t.Any]) -> jsonschema.Draft202012Validator | None:
    """Return the validator that the SDK would use, or None if it would refuse the schema."""
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except (jsonschema.SchemaError, ValueError, RecursionError):
        return None
    return jsonschema.Draft202012Validator(schema, registry=Registry())


def _finding(
    quick: jsonschema_rs.Validator | None,
    sdks: jsonschema.Draft202012Validator | None,
    record: Record,
) -> Rejection | None:
    """Say what does not fit about a record that the quick validator has refused."""
    try:
        if too_deep := [column for column, value in record.items() if holds_too_deep(value)]:
            return _too_deep(f"Column {listed(too_deep[:1])}")
        as_json = t.cast("Record", _as_json(record))
        if sdks is not None and _is_valid_to_the_sdk(sdks, as_json):
            return None
        errors = list(quick.iter_errors(as_json)) if quick is not None else []
    except (ValueError, RecursionError):
        return _too_deep("The record")
    if not errors:
        return _unexplained(sdks, as_json) if quick is None else None
    error = errors[0]
    wanted = _wanted(error.kind)
    if error.instance_path:
        reason = (
            f"Column '{shown(str(error.instance_path[0]))}' does not fit the stream's schema: "
            f"{'inside, ' if len(error.instance_path) > 1 else ''}{wanted}."
        )
    else:
        reason = f"The record does not fit the stream's schema: {wanted}."
    others = {str(e.instance_path[0]) for e in errors[1:] if e.instance_path}
    others -= {str(step) for step in error.instance_path[:1]}
    if others:
        reason = f"{reason[:-1]}; neither does {listed(sorted(others))}."
    return Rejection(RejectionCode.SCHEMA_MISMATCH, reason)


def _too_deep(what: str) -> Rejection:
    reason = f"{what} is nested too deeply to be checked against the stream's schema."
    return Rejection(RejectionCode.SCHEMA_MISMATCH, reason)


def _is_valid_to_the_sdk(sdks: jsonschema.Draft202012Validator, record: Record) -> bool:
    try:
        return sdks.is_valid(record)
    except Exception:  # noqa: BLE001 - it raises what it will at odd schemas, with which it ends a run
        return False


def _unexplained(sdks: jsonschema.Draft202012Validator | None, record: Record) -> Rejection:
    """Name the columns that do not fit, where only the SDK's validator can say so."""
    errors = list(sdks.iter_errors(record)) if sdks is not None else []
    columns = sorted({str(error.absolute_path[0]) for error in errors if error.absolute_path})
    what = f"column{'s' if len(columns) > 1 else ''} {listed(columns)}" if columns else "it"
    reason = f"The record does not fit the stream's schema: {what} breaks a rule of it."
    return Rejection(RejectionCode.SCHEMA_MISMATCH, reason)


_KINDS = {
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
}


def _wanted(kind: jsonschema_rs.ValidationErrorKind) -> str:
    """Say what a schema wants, in words that hold nothing of the record."""
    match kind:
        case jsonschema_rs.ValidationErrorKind.Type():
            return f"it should be {' or '.join(_KINDS.get(name, name) for name in kind.types)}"
        case jsonschema_rs.ValidationErrorKind.Required():
            return f"it lacks '{shown(str(kind.property))}'"
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties():
            return f"it should not have {listed(list(kind.unexpected))}"
        case _:
            return f"it breaks the rule '{kind.name}'"


def _as_json(value: object) -> object:
    """Return a value as the validator can read it: the JSON that it would have been.

    Half a character becomes a whole one, and NaN some number, so that the validator can see
    them at all; that they cannot be sent is for the mapping to say.
    """
    if isinstance(value, float | decimal.Decimal):
        return value if decimal.Decimal(value).is_finite() else 0
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_as_json(str(key)): _as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_json(item) for item in value]
        case None | bool() | int():
            return value
        case _:  # a date, a UUID, bytes: what JSON has only as text
            return type(value).__name__
