"""A record becomes the right contact, or a rejection with its reason; never anything else."""

import copy
import gc
import math
import typing as t

from hypothesis import given, settings
from hypothesis import strategies as st

from target_mainbrainer.contacts import Contact, Mobile, Rejection, RejectionCode, identity_of
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping.mapper import Omitted, StreamMapping, compile_mapping
from target_mainbrainer.settings.declared import StreamSettings
from tests.loads import Record, cases
from tests.mapping.one_record import EMAIL, GB, NO, D, mapped, mapping, named, ola
from tests.strategies import COLUMNS, LIKELY_RECORDS, RECORDS, TARGETS, VALUES

DATE = "2026-01-31T00:00:00Z"
DELETED = {"_sdc_deleted_at": DATE}
NO46 = Mobile(46, 701740605)
NOT_FROM_47: Record = {"mobile_country_code": 46, "mobile_number": 4746464646}
NORWAY: Record = {"default_country_code": 47}
CLEAR, DROP = {"null_values": "clear"}, {"invalid_identifiers": "drop"}
OPT_OUT = {"deleted_records": "opt_out"}
NOES: Record = {"mobile_opt_in": False, "email_opt_in": False}
NULLS = dict.fromkeys(("mobile", "contact_id", "email_opt_in", "list_id"))
# A tap for CSV calls every column a text, and leaves empty cells empty.
ROW = {"Contact-ID": "", "Email": " Ola@Example.com ", "Mobile": "90812501", "City": "Tromsø"}
ROW |= {"Mobile-Opt-In": "", "Email-Opt-In": "TRUE", "_sdc_filename": "p", "_sdc_deleted_at": ""}
CITY = named(City="Tromsø")
NUMBER = {"mobile_number": 90812501}
GOOD_NUMBER = {"mobile": "+4790812501"}
SEEN = EMAIL | {"_sdc_extracted_at": DATE}
SWEDEN = {"mobile": "070 174 06 05", "mobile_country": "Sverige"}
NO_IDENTITY = "no_identity: Nothing identifies the contact: there is no value in"
NO_CODE = (
    "no_country_code: Column 'mobile' has a number without a country code; set "
    "'default_country_code', or have it written with + and the country code."
)
SEVERAL = "Column '{}' contains several values; choose one with a stream map."
SEVERAL_VALUES = [["+4790812501", "a@example.com"], [{"value": "x"}], {"a": 1}]
NO_DATES = [math.nan, D("NaN"), "NaN", "NaT", "0000-00-00", "0000-00-00 00:00:00"]
NO_DATES += [None, "", " ", False, D(0), "0", "false", "FALSE", "null"]
COUNTRY = "invalid_country_code: Column 'mobile_country' is neither the ISO code of a country, "


@cases(
    "record config expected",
    # A number is completed by the country beside it, or the default.
    (EMAIL | NUMBER, NORWAY, ola(mobile=NO)),
    (EMAIL | NOT_FROM_47, NORWAY, ola(mobile=Mobile(46, 4746464646))),
    (EMAIL | {"mobile_country_code": "46", "mobile_number": "70 174 06 05"}, {}, ola(mobile=NO46)),
    (EMAIL | {"mobile_country_code": "junk", "mobile_number": ""}, {}, ola()),
    *(
        (EMAIL | {"mobile": "07700 900123", "mobile_country": gb}, NORWAY, ola(mobile=GB))
        for gb in ("GB", " gb ", "+44")
    ),
    (EMAIL | {"mobile": "908 12 501", "mobile_country": ""}, NORWAY, ola(mobile=NO)),
    (EMAIL | SWEDEN | {"mobile": "+46 70 174 06 05"}, NORWAY, ola(mobile=NO46)),
    (EMAIL | {"mobile": 701740605, "mobile_country": "SE"}, NORWAY, ola(mobile=NO46)),
    (EMAIL | {"mobile": "701740605", "mobile_country_code": 46}, NORWAY, ola(mobile=NO46)),
    (EMAIL | {"mobile_number": "701740605", "mobile_country": "SE"}, NORWAY, ola(mobile=NO46)),
    (EMAIL | SWEDEN | {"mobile": ""}, NORWAY, ola()),
    (ROW, NORWAY, Contact(None, NO, "Ola@Example.com", email_opt_in=True, properties=CITY)),
    # Absent, null and empty are three things; an identifier or a consent is never cleared.
    (EMAIL | {"null": None, "empty": ""}, {}, ola(properties=named(empty=""))),
    (EMAIL | {"null": None, "empty": ""}, CLEAR, ola(properties=named(null="", empty=""))),
    (EMAIL | NULLS, CLEAR, ola()),
    # A rejection names the fault, and no value.
    ({"email": " ", "mobile": None, "zip": "1"}, {}, f"{NO_IDENTITY} 'email' and 'mobile'."),
    ({"contactId": "", "zip": "0236"}, {}, f"{NO_IDENTITY} 'contactId'."),
    ({"zip": "0236"}, {}, "no_identity: No column of the stream can identify a contact."),
    (EMAIL | {"mobile": "0236"}, {}, NO_CODE),
    (EMAIL | {"mobile": "+225 0700000000"}, {}, "leading_zero: Column 'mobile' has a number that"),
    ({"Email": "ola"}, {}, "invalid_email: Column 'Email' has no '@'."),
    (EMAIL | {"contact_id": "A7"}, {}, "invalid_contact_id: Column 'contact_id' is not a contact"),
    (EMAIL | {"mobile_opt_in": "ja"}, {}, "invalid_consent: Column 'mobile_opt_in' says neither "),
    (EMAIL | {"listid": "news"}, {}, "invalid_list_id: Column 'listid' is not the UUID of a list."),
    (EMAIL | {"list_id": 10**5000}, {}, "invalid_list_id: Column 'list_id' is not the UUID"),
    (SWEDEN, {}, COUNTRY),
    (NUMBER | {"mobile_country_code": "N"}, {}, "invalid_country_code: Column 'mobile_country_"),
    (NUMBER | {"mobile_country_code": None}, {}, "no_country_code: Column 'mobile_number' has a"),
    (EMAIL | {"note": "\ud800"}, {}, "unsendable_text: Column 'note' contains an unpaired "),
    (EMAIL | {"note": math.nan}, {}, "not_a_number: Column 'note' "),
    # A bad identifier can be dropped if another is left, but never an id: it would be another one.
    ({"email": "ola", "mobile": "+47 908 12 501", "contact_id": None}, DROP, Contact(mobile=NO)),
    ({"email": "ola", "mobile": "1"}, DROP, NO_CODE),
    ({"email": "ola", "mobile": None}, DROP, "invalid_email: Column 'email' has no '@'."),
    (EMAIL | {"contact_id": "x"}, DROP, "invalid_contact_id: "),
    # A deleted record is left out or opted out, if it has an identifier.
    (EMAIL | DELETED | {"zip": "0236", "email_opt_in": True}, {}, Omitted.DELETED),
    (EMAIL | DELETED | {"zip": "0236", "email_opt_in": True}, OPT_OUT, ola(**NOES)),
    (DELETED | {"contact_id": 7}, OPT_OUT, Contact(7, **NOES)),
    (DELETED | {"email": None, "id": 7}, {}, Omitted.DELETED),
    (DELETED | {"email": None, "id": 7}, OPT_OUT, Omitted.DELETED_WITHOUT_IDENTITY),
    (DELETED | {"email": "ola", "id": 7}, OPT_OUT, "invalid_email: "),
    *((EMAIL | {"_sdc_deleted_at": unset}, {}, ola()) for unset in NO_DATES),
    # An empty row is left out, and one with any value is not.
    ({"email": "", "name": " "}, {}, Omitted.EMPTY),
    ({"email": None}, {}, Omitted.EMPTY),
    ({"zip": "\t", "_sdc_filename": "people.csv"}, {}, Omitted.EMPTY),
    ({"email": "", "name": "Ola"}, {}, "no_identity: "),
    ({"email": None, "id": 0}, {}, "no_identity: "),
    ({"_sdc_filename": "x"}, {}, "no_identity: "),
    ({}, {}, "no_identity: "),
    # What a tap adds to a record is not sent, such as that of Google Sheets or spreadsheets.
    *((EMAIL | {own: 5}, {}, ola()) for own in ("_sdc_path", "__sdc_row", "_smart_source_file")),
    ({"email": "", "_smart_source_file": 5}, {}, Omitted.EMPTY),
    # A list of one is its value, and one of several is rejected as such.
    ({"email": ["ola@example.com"], "mobile": []}, {}, ola()),
    ({"mobile": ["+47 908 12 501"], "email": [" "]}, {}, Contact(mobile=NO)),
    *(
        ({"email": some}, {}, f"invalid_email: {SEVERAL.format('email')}")
        for some in SEVERAL_VALUES
    ),
    *(
        ({"mobile": some}, {}, f"invalid_mobile: {SEVERAL.format('mobile')}")
        for some in SEVERAL_VALUES
    ),
)
def test_what_a_record_becomes(record: Record, config: Record, expected: object) -> None:
    """A contact, a rejection with this code and a reason that begins so, or nothing."""
    outcome = mapped(record, **config)
    if isinstance(expected, str):
        assert isinstance(outcome, Rejection)
        assert f"{outcome.code}: {outcome.reason}".startswith(expected)
    else:
        assert outcome == expected


@cases("said sent", ("yes", None), ("no", False), (None, None))
@cases("dropped kept", ("mobile", "email"), ("email", "mobile"))
def test_consent_to_a_dropped_identifier_is_not_sent(
    dropped: str, kept: str, said: str | None, sent: bool | None
) -> None:
    """The CRM may have another one, without a consent; a refusal does no harm."""
    record = EMAIL | {"mobile": "+47 908 12 501"} | {dropped: "1", f"{dropped}_opt_in": said}
    for other in (True, None):  # no consent is made up beside it
        contact = mapped(record | {f"{kept}_opt_in": other}, **DROP)
        assert getattr(contact, dropped) is None
        assert getattr(contact, f"{dropped}_opt_in") is sent
        assert getattr(contact, f"{kept}_opt_in") is other


BAD, EMAIL_NO = EMAIL | {"mobile": "1"}, {"email_opt_in": "no"}


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
    (BAD | DELETED, ola(**NOES)),
)
def test_the_no_of_a_rejected_record_is_not_lost(record: Record, withdrawal: object) -> None:
    """It is sent alone, to those of its identifiers that are good."""
    outcome = mapped(record, **OPT_OUT)
    assert isinstance(outcome, Rejection)
    assert outcome.withdrawal == withdrawal


# Columns that a record has and its stream's schema does not


UNANNOUNCED = EMAIL | {"mobile": "+47 908 12 501", "zip": "0236", "_sdc_x": 1, "fname": "Ola"}
OLA_WITH_ALL = ola(mobile=NO, properties=named(zip="0236", firstname="Ola"))
FIRST_NAME = {"fname": "firstname", "_sdc_extracted_at": "seen"}


@cases(
    "announced record field_map expected",
    *((names, UNANNOUNCED, FIRST_NAME, OLA_WITH_ALL) for names in ("", "email", "zip other")),
    ("email mobile zip _sdc_x fname", UNANNOUNCED, FIRST_NAME, OLA_WITH_ALL),
    # Metadata that the SDK hides from the schema can still be mapped.
    ("email", SEEN, FIRST_NAME, ola(properties=named(seen=DATE))),
    ("email", SEEN, {}, ola()),
    ("email", EMAIL | DELETED, {}, Omitted.DELETED),
)
def test_an_unannounced_column_is_treated_as_if_it_had_been_announced(
    announced: str, record: Record, field_map: Record, expected: Contact | Omitted
) -> None:
    assert mapping(*announced.split(), field_map=field_map).map_record(record) == expected


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
                for field in () if config.field_map else ("mobile_opt_in", "email_opt_in"):
                    said = record.get(field)
                    word = said.strip().lower() if isinstance(said, str) else said
                    is_yes = word in ("true", "yes", "y", "1") or word == 1
                    assert is_yes or not getattr(outcome, field), "no setting makes a yes of it"
            case Rejection(code, reason):
                assert code in list(RejectionCode)
                assert reason.encode()
                assert reason.endswith(".")
                texts = {value for value in record.values() if isinstance(value, str)}
                assert not any(len(text) > 5 and text in reason for text in texts - {*record})
            case Omitted():
                assert config.deleted_records == "skip" or outcome is not Omitted.DELETED
