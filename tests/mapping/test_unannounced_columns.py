"""Columns that a record has and its stream's schema does not."""

from __future__ import annotations

import gc

from target_mainbrainer.contacts import Contact, Rejection
from target_mainbrainer.mapping.mapper import Omitted, StreamMapping
from tests.mapping.one_record import EMAIL, mapping, named, ola


def test_an_unannounced_column_is_treated_as_if_it_had_been_announced() -> None:
    record = EMAIL | {"mobile": "+47 908 12 501", "zip": "0236", "_sdc_x": 1, "fname": "Ola"}
    field_map = {"fname": "firstname"}
    expected = mapping(*record, field_map=field_map).map_record(record)
    assert isinstance(expected, Contact)
    for announced in ([], ["email"], ["zip", "other"]):
        assert mapping(*announced, field_map=field_map).map_record(record) == expected


def test_metadata_that_the_sdk_hides_from_the_schema_can_still_be_mapped() -> None:
    record = EMAIL | {"_sdc_extracted_at": "2026-01-31T00:00:00Z", "_sdc_sequence": 7}
    stream = mapping("email", field_map={"_sdc_extracted_at": "seen"})
    assert stream.map_record(record) == ola(properties=named(seen="2026-01-31T00:00:00Z"))
    assert mapping("email").map_record(record) == ola()


def test_an_unannounced_deletion_is_seen() -> None:
    assert (
        mapping("email").map_record(EMAIL | {"_sdc_deleted_at": "2026-01-31T00:00:00Z"})
        is Omitted.DELETED
    )


def test_an_unannounced_column_that_contradicts_another_is_a_rejection() -> None:
    assert mapping("email").map_record(EMAIL | {"Email": "x"}) == Rejection(
        "unusable_columns",
        "Stream 'people': columns 'email' and 'Email' would all be the contact's email. In "
        "'field_map', set those that are not to null, or to another property.",
    )


def mappings_in_memory() -> int:
    return sum(isinstance(one, StreamMapping) for one in gc.get_objects())


def test_ever_new_columns_do_not_pile_up() -> None:
    stream = mapping("email")
    gc.collect()
    before = mappings_in_memory()
    for number in range(300):
        column = f"column_{number}"
        assert stream.map_record(EMAIL | {column: "x"}) == ola(properties=named(**{column: "x"}))
    gc.collect()
    assert mappings_in_memory() - before <= 100
