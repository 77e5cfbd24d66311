"""JSON of undocumented spelling: keys in any case, numbers as text, values where none is expected.

The pages contradict each other about names and kinds (API note, C3 and C9). So keys are compared
without case and underscores, a value of the wrong kind counts as absent, and nothing in here
overflows or recurses without an end.
"""

from __future__ import annotations

import json
import math
import re
import typing as t

import msgspec

if t.TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_INT64 = 2**63
_LONGEST_NUMBER = 30
"""Digits; a longer number can be no value of this API, and converting it may take for ever."""

_DEEPEST = 20
_TRAILING_COMMA = re.compile(rb'("(?:[^"\\]|\\.)*+"?)|,(?=\s*+[}\]])', re.DOTALL)
"""Strings are matched whole, so that a comma inside one stays, and open ones to the very end."""

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,19}(\.0+)?\s*", re.ASCII)


class UnreadableResponseError(Exception):
    """A response is not what the API sends. The message holds nothing of its body.

    Attributes:
        cut_off: It begins like a response of the API, but the end of it is missing.
    """

    def __init__(self, reason: str, *, cut_off: bool = False) -> None:
        super().__init__(reason)
        self.cut_off = cut_off


def decode(body: bytes) -> t.Any:  # noqa: ANN401 - any JSON value
    """Decode JSON, even with the trailing comma that the batch page's own sample has.

    Numbers that no field of the API can hold (NaN, 1e400, a thousand digits) become null.

    Raises:
        UnreadableResponseError: It is not JSON.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    for text in (body, _TRAILING_COMMA.sub(rb"\1", body)):
        try:
            return _DECODER.decode(text.decode("utf-8"))
        except (ValueError, RecursionError):
            continue
    reason = "it is not JSON"
    raise UnreadableResponseError(reason, cut_off=_is_cut_off(body))


def decode_object(body: bytes) -> dict[str, t.Any]:
    """Decode a JSON object.

    Raises:
        UnreadableResponseError: It is not JSON, or not an object.
    """
    value = decode(body)
    if not isinstance(value, dict):
        reason = "it is not a JSON object"
        raise UnreadableResponseError(reason)
    return value


def folded(value: object) -> dict[str, t.Any]:
    """Return an object with its keys in lower case and without underscores; {} for all else.

    Of keys that become the same, the last one counts that is not empty. Where the difference
    matters, look at `all_named`.

    >>> folded({"Batch_Id": 1, "batchId": None, "message": ""})
    {'batchid': 1, 'message': ''}
    """
    found: dict[str, t.Any] = {}
    if isinstance(value, dict):
        for key, item in value.items():
            name = _fold(key)
            if name not in found or item not in _EMPTY:
                found[name] = item
    return found


def all_named(value: object, *names: str) -> list[t.Any]:
    """Return the values of all keys that become one of `names` when folded.

    >>> all_named({"status": "Error", "Status": "Success", "data": {}}, "status")
    ['Error', 'Success']
    """
    if not isinstance(value, dict):
        return []
    return [item for key, item in value.items() if _fold(key) in names]


def text_of(value: object) -> str:
    """Return a plain value as text; "" for null, objects and lists."""
    if value is None or isinstance(value, (dict, list)):
        return ""
    return str(value).strip()


def integer_of(value: object) -> int | None:
    """Return a 64-bit integer in whatever way it is written (API note, C9), else None.

    >>> [integer_of(value) for value in ("17", 17, "+17", 17.0, "x", True, 17.5, 10**19)]
    [17, 17, 17, 17, None, None, None, None]
    """
    number: int | None = None
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value.partition(".")[0])
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    return number if number is not None and -_INT64 <= number < _INT64 else None


def items_of(value: object) -> list[t.Any]:
    """Return a list as it is, null as an empty one, and anything else as the only element."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def leaves(
    value: object,
    path: str = "",
    key: str = "",
    *,
    without: Collection[str] = (),
    depth: int = 0,
) -> Iterator[tuple[str, str, object]]:
    """Yield (path as spelt, nearest key folded, value) of all that is no object or list.

    >>> list(leaves({"Data": {"contact_ids": [5, 6]}}))
    [('Data.contact_ids', 'contactids', 5), ('Data.contact_ids', 'contactids', 6)]

    Args:
        value: Any JSON value.
        path: Where it stands.
        key: The nearest key above it, folded.
        without: Folded keys to pass over, with all that is below them.
        depth: How deep it stands; what is deeper than 20 is passed over.
    """
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        for name, item in value.items():
            if (inner := _fold(name)) not in without:
                where = f"{path}.{name}" if path else name
                yield from leaves(item, where, inner, without=without, depth=depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path, key, without=without, depth=depth + 1)
    else:
        yield path, key, value


_EMPTY: tuple[object, ...] = (None, "", [], {})


def _fold(key: str) -> str:
    return key.replace("_", "").lower()


def _keep_all(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    """Make an object of its pairs. A repeated key is kept beside the first, folded alike."""
    made: dict[str, t.Any] = {}
    for key, value in pairs:
        name = key
        while name in made:
            name += "_"
        made[name] = value
    return made


def _integer(text: str) -> int | None:
    return int(text) if len(text) <= _LONGEST_NUMBER else None


def _float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _is_cut_off(body: bytes) -> bool:
    if body.lstrip()[:1] not in (b"", b"{"):
        return False
    try:
        msgspec.json.decode(_TRAILING_COMMA.sub(rb"\1", body))
    except (ValueError, RecursionError) as error:
        return "truncated" in str(error)
    return False


_DECODER = json.JSONDecoder(
    object_pairs_hook=_keep_all,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=lambda _: None,
)
