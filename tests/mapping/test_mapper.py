"""A record becomes the right contact, or a rejection with its reason; never anything else."""

import copy
import gc
import math
import typing as t
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from target_mainbrainer.contacts import (
    Contact,
    Mobile,
    Rejection,
    RejectionCode,
    identity_of,
)
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping.mapper import Omitted, StreamMapping, compile_mapping
from target_mainbrainer.settings.declared import StreamSettings
from tests.loads import cases
from tests.mapping.one_record import EMAIL, GB, NO, D, mapped, mapping, named, ola, rejected
from tests.strategies import COLUMNS, LIKELY_RECORDS, RECORDS, TARGETS, VALUES

DELETED = {"_sdc_deleted_at": "2026-01-31T00:00:00Z"}
NO46 = Mobile(46, 701740605)
NOT_FROM_47: t.Any = {"mobile_country_code": 46, "mobile_number": 4746464646}


def refused(record: t.Any, **config: t.Any) -> str:
    """Return the code and the reason with which a record is rejected."""
    rejection = rejected(record, **config)
    return f"{rejection.code}: {rejection.reason}"


@cases(
    "record default mobile",
    *(({"mobile_number": 90812501}, 47, NO), (NOT_FROM_47, 47, Mobile(46, 4746464646))),
    ({"mobile_country_code": "46", "mobile_number": "70 174 06 05"}, 47, NO46),
    ({"mobile_country_code": "junk", "mobile_number": ""}, None, None),
    ({"mobile": "908 12 501"}, 47, NO),
    *(({"mobile": "07700 900123", "mobile_country": gb}, 47, GB) for gb in ("GB", " gb ", "+44")),
    ({"mobile": "908 12 501", "mobile_country": ""}, 47, NO),
    ({"mobile": "+46 70 174 06 05", "mobile_country": "Sverige"}, 47, NO46),
    ({"mobile": 701740605, "mobile_country": "SE"}, 47, NO46),
    ({"mobile": "701740605", "mobile_country_code": 46}, 47, NO46),
    ({"mobile_number": "701740605", "mobile_country": "SE"}, 47, NO46),
    ({"mobile": "", "mobile_country": "Sverige"}, 47, None),
    ids=str,
)
def test_a_number_gets_a_country(record: t.Any, default: int | None, mobile: Mobile | None) -> None:
    """A number is completed by the country beside it or the default."""
    assert mapped(EMAIL | record, default_country_code=default) == ola(mobile=mobile)


def test_a_row_of_a_csv_file_is_understood() -> None:
    """Its tap calls every column a text, and leaves empty cells empty."""
    row = {"Contact-ID": "", "Email": " Ola@Example.com ", "Mobile": "90812501", "City": "Tromsø"}
    row |= {"Mobile-Opt-In": "", "Email-Opt-In": "TRUE"} | {"_sdc_filename": "p"}
    city = named(City="Tromsø")
    contact = mapped(row | {"_sdc_deleted_at": ""}, default_country_code=47)
    assert contact == Contact(None, NO, "Ola@Example.com", email_opt_in=True, properties=city)


def test_absent_null_and_empty_are_three_things() -> None:
    record = EMAIL | {"null": None, "empty": ""}
    stream = ["email", "absent", "null", "empty"]
    assert mapping(*stream).map_record(record) == ola(properties=named(empty=""))
    clears = mapping(*stream, null_values="clear").map_record(record)
    assert clears == ola(properties=named(null="", empty=""))


def test_a_null_identifier_or_consent_is_never_cleared() -> None:
    record = EMAIL | {"mobile": None, "contact_id": None, "email_opt_in": None, "list_id": None}
    assert mapped(record, null_values="clear") == ola()


NUMBER = {"mobile_number": 90812501}
SWEDEN = {"mobile": "070 174 06 05", "mobile_country": "Sverige"}
REASONS: dict[str, dict[str, t.Any]] = {
    "no_identity: Nothing identifies the contact: there is no value in 'email' and 'mobile'.": (
        {"email": " ", "mobile": None, "zip": "1"}
    ),
    "no_identity: Nothing identifies the contact: there is no value in 'contactId'.": {
        "contactId": "",
        "zip": "0236",
    },
    "no_identity: No column of the stream can identify a contact.": {"zip": "0236"},
    "no_country_code: Column 'mobile' has a number without a ": EMAIL | {"mobile": "0236"},
    "leading_zero: Column 'mobile' has a number that": EMAIL | {"mobile": "+225 0700000000"},
    "invalid_email: Column 'Email' has no '@'.": {"Email": "ola"},
    "invalid_contact_id: Column 'contact_id' is not a contact": EMAIL | {"contact_id": "A7"},
    "invalid_consent: Column 'mobile_opt_in' says neither ": EMAIL | {"mobile_opt_in": "ja"},
    "invalid_list_id: Column 'listid' is not the UUID of a list.": EMAIL | {"listid": "news"},
    "invalid_list_id: Column 'list_id' is not the UUID": EMAIL | {"list_id": 10**5000},
    "invalid_country_code: Column 'mobile_country' is neither the ISO code of a country, ": SWEDEN,
    "invalid_country_code: Column 'mobile_country_code' is": NUMBER | {"mobile_country_code": "N"},
    "no_country_code: Column 'mobile_number' has a": NUMBER | {"mobile_country_code": None},
    "unsendable_text: Column 'note' contains an unpaired ": EMAIL | {"note": "\ud800"},
}


@cases("reason", *REASONS)
def test_a_rejection_names_the_fault_and_no_value(reason: str) -> None:
    assert refused(REASONS[reason]).startswith(reason)


def test_a_bad_identifier_can_be_dropped_if_another_is_left() -> None:
    dropped: Counter[str] = Counter()
    record = {"email": "ola", "mobile": "+47 908 12 501", "contact_id": None}
    stream = mapping(*record, invalid_identifiers="drop", dropped=dropped)
    assert stream.map_record(record) == Contact(mobile=NO)
    assert dropped == {"invalid_email": 1}
    neither = refused(record | {"mobile": "1"}, invalid_identifiers="drop")
    assert neither.startswith("no_country_code: Column 'mobile' has a number without a country c")
    alone = refused(record | {"mobile": None}, invalid_identifiers="drop")
    assert alone == "invalid_email: Column 'email' has no '@'."


def test_a_bad_contact_id_is_never_dropped() -> None:
    """Without it the contact would be another one."""
    rejection = refused(EMAIL | {"contact_id": "x"}, invalid_identifiers="drop")
    assert rejection.startswith("invalid_contact_id: ")


@cases("said sent", ("yes", None), ("no", False), (None, None))
@cases("dropped kept", ("mobile", "email"), ("email", "mobile"))
def test_consent_to_a_dropped_identifier_is_not_sent(
    dropped: str, kept: str, said: str | None, sent: bool | None
) -> None:
    """The CRM may have another one, without a consent; a refusal does no harm."""
    good = {"email": "ola@example.com", "mobile": "+47 908 12 501"}
    record = good | {dropped: "1", f"{dropped}_opt_in": said}
    for other in (True, None):  # no consent is made up beside it
        contact = mapped(record | {f"{kept}_opt_in": other}, invalid_identifiers="drop")
        assert getattr(contact, dropped) is None
        assert getattr(contact, f"{dropped}_opt_in") is sent
        assert getattr(contact, f"{kept}_opt_in") is other


def test_a_deleted_record_is_skipped_or_opted_out() -> None:
    record = EMAIL | DELETED | {"zip": "0236", "email_opt_in": True}
    assert mapped(record) is Omitted.DELETED
    no = ola(mobile_opt_in=False, email_opt_in=False)
    assert mapped(record, deleted_records="opt_out") == no
    known = Contact(7, mobile_opt_in=False, email_opt_in=False)
    assert mapped(DELETED | {"contact_id": 7}, deleted_records="opt_out") == known


NO_DATES = [math.nan, D("NaN"), "NaN", "NaT", "0000-00-00", "0000-00-00 00:00:00"]


@cases("unset", None, "", " ", False, D(0), "0", "false", "FALSE", "null", *NO_DATES)
def test_a_record_without_a_date_of_deletion_is_not_deleted(unset: object) -> None:
    assert isinstance(mapped(EMAIL | {"_sdc_deleted_at": unset}), Contact)


def test_a_deleted_record_without_an_identifier_cannot_be_opted_out() -> None:
    record = DELETED | {"email": None, "id": 7}
    assert mapped(record) is Omitted.DELETED
    assert mapped(record, deleted_records="opt_out") is Omitted.DELETED_WITHOUT_IDENTITY
    assert refused(record | {"email": "ola"}, deleted_records="opt_out").startswith("invalid_ema")


@cases(
    "row", {"email": "", "name": " "}, {"email": None}, {"zip": "\t", "_sdc_filename": "people.csv"}
)
def test_an_empty_row_is_left_out(row: t.Any) -> None:
    assert mapped(row) is Omitted.EMPTY


@cases("row", {"email": "", "name": "Ola"}, {"email": None, "id": 0}, {"_sdc_filename": "x"}, {})
def test_a_row_with_any_value_is_no_empty_row(row: t.Any) -> None:
    assert rejected(row).code == "no_identity"


BAD, EMAIL_NO = EMAIL | {"mobile": "1"}, {"email_opt_in": "no"}
GOOD_NUMBER = {"mobile": "+4790812501"}


@cases(
    "record withdrawal",
    (BAD | EMAIL_NO, ola(email_opt_in=False)),
    (BAD | {"email_opt_in": "yes", "mobile_opt_in": 0, "zip": "1"}, ola(mobile_opt_in=False)),
    (EMAIL | EMAIL_NO | GOOD_NUMBER | {"note": "\ud800"}, ola(mobile=NO, email_opt_in=False)),
    (EMAIL_NO | {"email": "ola"} | GOOD_NUMBER, Contact(mobile=NO, email_opt_in=False)),
    (EMAIL | EMAIL_NO | {"mobile_opt_in": "perhaps"}, ola(email_opt_in=False)),
    *((BAD | {"email_opt_in": "yes"}, None), (BAD | {"email_opt_in": None}, None)),
    ({"mobile": "1", "mobile_opt_in": "no"}, Contact(mobile_opt_in=False)),
    ({"mobile": "", "email_opt_in": "no"}, Contact(email_opt_in=False)),
    (EMAIL | EMAIL_NO | {"contact_id": "x"}, None),
    (BAD | DELETED, ola(mobile_opt_in=False, email_opt_in=False)),
)
def test_the_no_of_a_rejected_record_is_not_lost(record: t.Any, withdrawal: Contact | None) -> None:
    """It is sent alone, to those of its identifiers that are good."""
    assert rejected(record, deleted_records="opt_out").withdrawal == withdrawal


@cases("column", "_sdc_path", "__sdc_row", "_smart_source_file")
def test_what_a_tap_adds_to_a_record_is_not_sent(column: str) -> None:
    """Tap-google-sheets and tap-spreadsheets-anywhere have names of their own for it."""
    assert mapped(EMAIL | {column: 5}) == ola()
    assert mapped({"email": "", column: 5}) is Omitted.EMPTY


def test_a_list_of_one_is_its_value() -> None:
    assert mapped({"email": ["ola@example.com"], "mobile": []}) == ola()
    assert mapped({"mobile": ["+47 908 12 501"], "email": [" "]}) == Contact(mobile=NO)


@cases("column", "email", "mobile")
@cases("value", ["+4790812501", "a@example.com"], [{"value": "x"}], {"a": 1})
def test_a_list_of_several_is_rejected_as_such(column: str, value: object) -> None:
    several = f"Column '{column}' contains several values; choose one with a stream map."
    assert rejected({column: value}).reason == several


# Columns that a record has and its stream's schema does not


def test_an_unannounced_column_is_treated_as_if_it_had_been_announced() -> None:
    record = EMAIL | {"mobile": "+47 908 12 501", "zip": "0236", "_sdc_x": 1, "fname": "Ola"}
    expected = ola(mobile=NO, properties=named(zip="0236", firstname="Ola"))
    for announced in ([], ["email"], ["zip", "other"], record):
        stream = mapping(*announced, field_map={"fname": "firstname"})
        assert stream.map_record(record) == expected


def test_metadata_that_the_sdk_hides_from_the_schema_can_still_be_mapped() -> None:
    record = EMAIL | {"_sdc_extracted_at": "2026-01-31T00:00:00Z", "_sdc_sequence": 7}
    stream = mapping("email", field_map={"_sdc_extracted_at": "seen"})
    assert stream.map_record(record) == ola(properties=named(seen="2026-01-31T00:00:00Z"))
    assert mapping("email").map_record(record) == ola()
    assert mapping("email").map_record(EMAIL | DELETED) is Omitted.DELETED


def test_an_unannounced_column_that_contradicts_another_is_a_rejection() -> None:
    outcome = mapping("email").map_record(EMAIL | {"Email": "x"})
    assert isinstance(outcome, Rejection)
    assert outcome.code == "unusable_columns"
    assert "columns 'email' and 'Email' would all be the contact's email." in outcome.reason


def test_ever_new_columns_do_not_pile_up() -> None:
    def mappings_in_memory() -> int:
        gc.collect()
        return sum(isinstance(one, StreamMapping) for one in gc.get_objects())

    stream, before = mapping("email"), mappings_in_memory()
    for number in range(300):
        stream.map_record(EMAIL | {f"column_{number}": "x"})
    assert mappings_in_memory() - before <= 100


# Any record becomes a contact or a rejection, or is left out


SETTINGS = st.builds(
    StreamSettings,
    field_map=st.just({}) | st.dictionaries(COLUMNS, TARGETS, max_size=5),
    unmapped_columns=st.sampled_from(["property", "ignore"]),
    default_country_code=st.sampled_from([None, 47, 44, 1, 225]),
    invalid_identifiers=st.sampled_from(["reject", "drop"]),
    null_values=st.sampled_from(["omit", "clear"]),
    deleted_records=st.sampled_from(["skip", "opt_out"]),
)
SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "properties": st.dictionaries(COLUMNS, st.just({}) | VALUES, max_size=8),
        "additionalProperties": st.booleans(),
    },
)


@settings(max_examples=200)
@given(SCHEMAS, SETTINGS, st.lists(RECORDS | LIKELY_RECORDS, max_size=4))
def test_every_record_becomes_a_contact_or_a_rejection_or_is_left_out(
    schema: dict[str, t.Any], config: StreamSettings, records: list[dict[str, t.Any]]
) -> None:
    try:
        stream = compile_mapping("people", schema, ["id"], config)
    except MappingError as error:
        assert str(error).encode()  # noqa: PT017 - a mapping may be wrong, or not
        return
    for line in [*stream.summary, *stream.warnings, *stream.hints]:
        assert line.encode()
    for record in records:
        before = copy.copy(record)
        outcome = stream.map_record(record)
        assert record.keys() == before.keys()
        assert all(record[column] is before[column] for column in record)
        match outcome:
            case Contact():
                assert identity_of(outcome) is not None
                for ref, text in outcome.properties.items():
                    assert (ref.property_id or ref.name or "").encode()
                    assert text.encode() or not text
                assert (outcome.email or "x").encode()
            case Rejection(code, reason):
                assert code in list(RejectionCode)
                assert reason.encode()
                assert reason.endswith(".")
                texts = {value for value in record.values() if isinstance(value, str)}
                assert not any(len(text) > 5 and text in reason for text in texts - {*record})
            case Omitted():
                assert config.deleted_records == "skip" or outcome is not Omitted.DELETED


@given(
    st.fixed_dictionaries(
        {"email": st.just("ola@example.com")},
        optional={"mobile_opt_in": VALUES, "email_opt_in": VALUES, "x": VALUES},
    ),
    SETTINGS,
)
def test_no_setting_turns_consent_on(record: dict[str, t.Any], config: StreamSettings) -> None:
    config = StreamSettings(**(vars(config) | {"field_map": {}}))
    outcome = compile_mapping("people", {}, [], config).map_record(record)
    if isinstance(outcome, Contact):
        for field in ("mobile_opt_in", "email_opt_in"):
            said = record.get(field)
            word = said.strip().lower() if isinstance(said, str) else said
            if getattr(outcome, field):
                assert word in ("true", "yes", "y", "1") or word == 1
