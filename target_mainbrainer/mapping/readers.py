"""How one field of a contact is read from its column; what cannot be read names the column."""

from __future__ import annotations

import typing as t
from functools import partial

from target_mainbrainer.contacts.rejection import Rejection
from target_mainbrainer.mapping.columns import ContactField
from target_mainbrainer.mapping.phone import (
    parse_country_code,
    parse_mobile,
    parse_national_number,
)
from target_mainbrainer.mapping.values import InvalidValueError
from target_mainbrainer.wording import shown

if t.TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_mainbrainer.contacts.contact import Mobile

Record: t.TypeAlias = "dict[str, t.Any]"
_T = t.TypeVar("_T")
Reader: t.TypeAlias = "Callable[[Record], _T | None]"


class RefusedError(Exception):
    """Carries a rejection out of the pass over a record."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.code)
        self.rejection = rejection


def of_column(column: str, parse: Callable[[object], _T], value: object) -> _T:
    """Return what a column's value means; name the column if it means nothing."""
    try:
        return parse(value)
    except InvalidValueError as invalid:
        raise refusal(column, invalid) from None


def refusal(column: str, invalid: InvalidValueError) -> RefusedError:
    """Return what to raise about a column's value."""
    reason = f"Column '{shown(column)}' {invalid.what}."
    return RefusedError(Rejection(invalid.code, reason))


def reader(column: str | None, parse: Callable[[object], _T | None]) -> Reader[_T] | None:
    """Return a function that reads one field of a contact from its column; None if it has none."""
    if column is None:
        return None

    def read(record: Record) -> _T | None:
        value = record.get(column)
        if value is None:
            return None
        try:
            return parse(value)
        except InvalidValueError as invalid:
            raise refusal(column, invalid) from None

    return read


def mobile_reader(
    column_of: Mapping[ContactField, str], default_country_code: int | None
) -> Reader[Mobile] | None:
    """Return a function that reads the mobile number from one column or two; None without any."""
    if (whole := column_of.get(ContactField.MOBILE)) is not None:
        return reader(whole, partial(parse_mobile, default_country_code=default_country_code))
    number_column = column_of.get(ContactField.MOBILE_NUMBER)
    read_code = reader(column_of.get(ContactField.MOBILE_COUNTRY_CODE), parse_country_code)
    if number_column is None:
        return None

    def read(record: Record) -> Mobile | None:
        value = record.get(number_column)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        code = (read_code and read_code(record)) or default_country_code
        return of_column(number_column, partial(parse_national_number, country_code=code), value)

    return read
