"""Ids of contacts and lists."""

from __future__ import annotations

import decimal
import typing as t

import pytest

from target_mainbrainer.mapping.identifiers import INT64_MAX, parse_contact_id, parse_list_id
from tests.mapping.refusals import code_of


@pytest.mark.parametrize(
    "contact_id", [0, -1, INT64_MAX + 1, "12a", "1.0", 1.5, True, "-5", "\u00b2", {}, "9" * 5000]
)
def test_a_contact_id_is_a_positive_int64(contact_id: object) -> None:
    assert parse_contact_id(str(INT64_MAX)) == INT64_MAX
    assert parse_contact_id(decimal.Decimal("7.0")) == parse_contact_id("7".zfill(50)) == 7
    assert code_of(parse_contact_id, contact_id) == "invalid_contact_id"


@pytest.mark.parametrize("list_id", ["3fa85f64-5717-4562-b3fc-123123d23dds", 7])
def test_a_list_id_is_a_uuid(list_id: object) -> None:
    assert code_of(parse_list_id, list_id) == "invalid_list_id"


@pytest.mark.parametrize("parse", [parse_contact_id, parse_list_id])
@pytest.mark.parametrize("empty", [None, "", "  ", "\t\n"])
def test_an_empty_id_is_absent(parse: t.Callable[[object], object], empty: object) -> None:
    assert parse(empty) is None
