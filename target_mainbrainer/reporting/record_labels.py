"""How the log names a record: by its key, if that says nothing about a person."""

from __future__ import annotations

import typing as t

import phonenumbers

from target_mainbrainer.singer.reader import decode_json

if t.TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MOST_DIGITS = 7
"""Longer numbers are not shown: telephone numbers and national ids are."""


class RecordLabels:
    """Names the records of one stream.

    Args:
        key_properties: The stream's key.
        sensitive_columns: Columns that hold telephone numbers, or look as if they did.
        country_code: Calling code of numbers that are written without one, if there is one.
    """

    def __init__(
        self,
        key_properties: Sequence[str],
        sensitive_columns: Collection[str],
        country_code: int | None = None,
    ) -> None:
        self._key = [] if set(key_properties) & set(sensitive_columns) else list(key_properties)
        self._country_code = country_code

    def key_of(self, line: bytes) -> str | None:
        """Return the key of a RECORD message, such as `id=4711`, or None if it is not to be shown.

        Shown are short whole numbers that are no telephone numbers, and that no other column of
        the record holds too.
        """
        if not self._key:
            return None
        try:
            record = decode_json(line)["record"]
        except (ValueError, TypeError, LookupError):
            return None
        if not isinstance(record, dict):
            return None
        values = [record.get(column) for column in self._key]
        others = {_digits(value) for column, value in record.items() if column not in self._key}
        if all(
            type(value) is int and str(value) not in others and not self._is_personal(value)
            for value in values
        ):
            return " ".join(f"{k}={v}" for k, v in zip(self._key, values, strict=True))
        return None

    def _is_personal(self, number: int) -> bool:
        digits = str(abs(number))
        if len(digits) > MOST_DIGITS:
            return True
        return self._country_code is not None and phonenumbers.is_valid_number(
            phonenumbers.PhoneNumber(self._country_code, abs(number))
        )


def _digits(value: object) -> str:
    """Return the digits of what is written as a number, "" of anything else.

    >>> _digits("+47 22 33"), _digits(4722), _digits("p22@example.com")
    ('472233', '4722', '')
    """
    digits = str(value).translate(_SEPARATORS) if isinstance(value, str | int) else ""
    return digits if digits.isdecimal() else ""


_SEPARATORS = str.maketrans("", "", "+-()./ \u00a0")
