"""A record becomes the right contact, or a rejection that says why; never anything else."""

from __future__ import annotations

import copy
import decimal
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_mainbrainer.config.settings import StreamSettings
from target_mainbrainer.contacts.contact import Contact, Mobile, PropertyRef
from target_mainbrainer.contacts.identity import identity_of
from target_mainbrainer.contacts.rejection import Rejection, RejectionCode
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping.mapper import Omitted, StreamMapping, compile_mapping
from tests.strategies import COLUMNS, DEEP, LIKELY_RECORDS, RECORDS, TARGETS, VALUES

D = decimal.Decimal
UUID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
EMAIL = {"email": "ola@example.com"}


def mapping(*columns: str, on_drop: t.Any = None, **config: t.Any) -> StreamMapping:
    schema: dict[str, t.Any] = {"properties": {column: {} for column in columns}}
    return compile_mapping("people", schema, [], StreamSettings(**config), on_drop=on_drop)


def mapped(record: dict[str, t.Any], **config: t.Any) -> Contact | Rejection | Omitted:
    """Map one record of a stream that announces just its columns."""
    return mapping(*record, **config).map_record(record)


def ola(**rest: t.Any) -> Contact:
    return Contact(email="ola@example.com", **rest)


def named(**properties: str) -> dict[PropertyRef, str]:
    return {PropertyRef(None, name): text for name, text in properties.items()}


# What a column is --------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["email", "Email", "EMAIL", "e_mail", "e-mail"])
def test_a_column_named_like_a_contact_field_is_that_field(column: str) -> None:
    assert mapped({column: "ola@example.com"}) == Contact(email="ola@example.com")


def test_camel_case_is_understood() -> None:
    record = {
        "contactId": "7",
        "mobileCountryCode": 47,
        "mobileNumber": "90812501",
        "mobileOptIn": "yes",
        "Email-Opt-In": 0,
        "listId": UUID,
    }
    assert mapped(record) == Contact(
        contact_id=7,
        mobile=Mobile(47, 90812501),
        mobile_opt_in=True,
        email_opt_in=False,
        list_id=UUID,
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("email", Contact(email="kari@example.com"), id="a contact field"),
        pytest.param(
            "second_mail",
            ola(properties=named(second_mail="kari@example.com")),
            id="a property",
        ),
        pytest.param(
            {"property_name": "email"},
            ola(properties=named(email="kari@example.com")),
            id="a property named like a field",
        ),
        pytest.param(
            {"property_id": UUID},
            ola(properties={PropertyRef(UUID, None): "kari@example.com"}),
            id="a property by its id",
        ),
        pytest.param(None, ola(), id="never sent"),
    ],
)
def test_field_map_says_what_a_column_is(target: t.Any, expected: Contact) -> None:
    record = EMAIL | {"mail": "kari@example.com"}
    field_map = {"mail": target} | ({"email": None} if target == "email" else {})
    assert mapped(record, field_map=field_map) == expected


def test_field_map_overrides_a_name_that_says_otherwise() -> None:
    record = {"mobile": "ola@example.com", "email": "+47 908 12 501"}
    contact = mapped(record, field_map={"mobile": "email", "email": "mobile"})
    assert contact == Contact(mobile=Mobile(47, 90812501), email="ola@example.com")


@pytest.mark.parametrize("column", ["phone", "e_mail_address", "id", "optin", "mail", "Mobile No"])
def test_nothing_else_is_guessed_to_be_an_identifier(column: str) -> None:
    assert mapped(EMAIL | {column: "x"}) == ola(properties={PropertyRef(None, column): "x"})


def test_unmapped_columns_can_be_left_out() -> None:
    record = EMAIL | {"zip": "0236", "fname": "Ola"}
    contact = mapped(record, unmapped_columns="ignore", field_map={"fname": "firstname"})
    assert contact == ola(properties=named(firstname="Ola"))


def test_metadata_is_never_sent_unless_mapped() -> None:
    record = EMAIL | {"_sdc_filename": "a.csv", "_sdc_worksheet": "x", "_sdc_extra": "y"}
    contact = mapped(record, field_map={"_sdc_filename": "source"})
    assert contact == ola(properties=named(source="a.csv"))


def test_properties_keep_the_order_of_the_record() -> None:
    contact = mapped({"b": "1", "email": "ola@example.com", "a": "2"})
    assert isinstance(contact, Contact)
    assert [ref.name for ref in contact.properties] == ["b", "a"]


@pytest.mark.parametrize(
    ("columns", "field_map", "message"),
    [
        pytest.param(
            ["email", "Email"],
            {},
            "Stream 'people': columns 'email' and 'Email' would all be the contact's email. In "
            "'field_map', set those that are not to null, or to another property.",
            id="two names for one field",
        ),
        pytest.param(
            ["email", "mail"],
            {"mail": "email"},
            "Stream 'people': columns 'email' and 'mail' would all be the contact's email. In "
            "'field_map', set those that are not to null, or to another property.",
            id="a name and field_map",
        ),
        pytest.param(
            ["zip", "postcode", "email"],
            {"postcode": "zip"},
            "Stream 'people': columns 'zip' and 'postcode' would all be property 'zip'. In "
            "'field_map', set those that are not to null, or to another property.",
            id="two columns for one property",
        ),
        pytest.param(
            ["zip", "postcode"],
            {"zip": {"property_id": UUID}, "postcode": {"property_id": UUID.upper()}},
            f"Stream 'people': columns 'zip' and 'postcode' would all be property {UUID}. In "
            "'field_map', set those that are not to null, or to another property.",
            id="two columns for one property id",
        ),
        pytest.param(
            ["mobile", "mobile_number"],
            {},
            "Stream 'people': column 'mobile' is the whole mobile number, and column "
            "'mobile_number' is the number without its country code. In 'field_map', set one of "
            "them to null.",
            id="whole and in parts",
        ),
        pytest.param(
            ["mobile", "mobileCountryCode"],
            {},
            "Stream 'people': column 'mobile' is the whole mobile number, and column "
            "'mobileCountryCode' is its country code again. In 'field_map', set 'mobile' to "
            "'mobile_number' if it holds national numbers, or 'mobileCountryCode' to null.",
            id="whole and country code",
        ),
        pytest.param(
            ["email", ""],
            {},
            "Stream 'people': column '' would be a property without a name. Give it one in "
            "'field_map', or set it to null there.",
            id="no name",
        ),
        pytest.param(
            ["email", "\ud800"],
            {},
            r"Stream 'people': column '\ud800' would be a property whose name cannot be written "
            "as UTF-8. Give it another in 'field_map', or set it to null there.",
            id="half a character",
        ),
    ],
)
def test_a_contradictory_mapping_is_said_at_once(
    columns: list[str], field_map: dict[str, t.Any], message: str
) -> None:
    with pytest.raises(MappingError) as caught:
        mapping(*columns, field_map=field_map)
    assert str(caught.value) == message


# The record --------------------------------------------------------------------------------


def test_the_samples_of_the_batch_page_keep_their_meaning() -> None:
    """The API page's own contacts, as records of columns that are named like its fields."""
    bad_id = "3fa85f64-5717-4562-b3fc-123123d23dds"  # as printed, and not ours to judge
    jennifer = {
        "contactId": 234567,
        "mobileCountryCode": 47,
        "mobileNumber": 90812501,
        "mobileOptIn": True,
        "email": "apitest@mainbrainer.com",
        "emailOptIn": True,
        "propertyfields": [
            {"propertyid": UUID, "propertyname": "firstname", "propertyvalue": "jennifer"},
            {"propertyname": "lastname", "propertyvalue": "merg"},
            {"propertyname": "Street", "propertyvalue": "16 Av Street"},
            {"propertyid": bad_id, "propertyvalue": "0236"},
        ],
    }
    mark = {
        "mobileCountryCode": 47,
        "mobileNumber": 93454496,
        "mobileOptIn": True,
        "email": "",
        "propertyfields": [
            {"propertyid": UUID, "propertyname": "firstname", "propertyvalue": "Mark"},
            {"propertyid": bad_id, "propertyvalue": "0234"},
        ],
    }
    stream = mapping(*jennifer)
    assert stream.map_record(jennifer) == Contact(
        234567,
        Mobile(47, 90812501),
        "apitest@mainbrainer.com",
        mobile_opt_in=True,
        email_opt_in=True,
        properties={
            PropertyRef(UUID, "firstname"): "jennifer",
            PropertyRef(None, "lastname"): "merg",
            PropertyRef(None, "Street"): "16 Av Street",
            PropertyRef(bad_id, None): "0236",
        },
    )
    assert stream.map_record(mark) == Contact(
        mobile=Mobile(47, 93454496),
        mobile_opt_in=True,
        properties={PropertyRef(UUID, "firstname"): "Mark", PropertyRef(bad_id, None): "0234"},
    )


@pytest.mark.parametrize(
    ("record", "config", "mobile"),
    [
        pytest.param(
            {"mobile_country_code": None, "mobile_number": 7}, {}, Mobile(None, 7), id="unknown"
        ),
        pytest.param(
            {"mobile_number": 7}, {"default_country_code": 47}, Mobile(47, 7), id="default"
        ),
        pytest.param(
            {"mobile_country_code": "46", "mobile_number": "7"},
            {"default_country_code": 47},
            Mobile(46, 7),
            id="the column counts",
        ),
        pytest.param(
            {"mobile_country_code": "junk", "mobile_number": ""}, {}, None, id="no number"
        ),
    ],
)
def test_a_number_in_parts_takes_its_country_code_from_column_or_default(
    record: dict[str, t.Any], config: dict[str, t.Any], mobile: Mobile | None
) -> None:
    assert mapped(EMAIL | record, **config) == ola(mobile=mobile)


def test_a_row_of_a_csv_file_is_understood() -> None:
    """Its tap calls every column a text, and leaves empty cells empty."""
    row = {
        "Contact-ID": "",
        "Email": " Ola@Example.com ",
        "Mobile": "90812501",
        "Mobile-Opt-In": "",
        "Email-Opt-In": "TRUE",
        "City": "Troms\u00f8",
        "_sdc_filename": "people.csv",
        "_sdc_deleted_at": "",
    }
    assert mapped(row, default_country_code=47) == Contact(
        mobile=Mobile(47, 90812501),
        email="Ola@Example.com",
        email_opt_in=True,
        properties=named(City="Troms\u00f8"),
    )


def test_values_of_all_kinds_become_text() -> None:
    record = EMAIL | {"n": 1, "d": D("12.50"), "b": True, "a": ["x", "y"], "o": {"zip": "0236"}}
    assert mapped(record) == ola(
        properties=named(n="1", d="12.50", b="true", a="x;y", o='{"zip":"0236"}')
    )


def test_absent_null_and_empty_are_three_things() -> None:
    record = EMAIL | {"null": None, "empty": ""}
    stream = ["email", "absent", "null", "empty"]
    omits = mapping(*stream).map_record(record)
    clears = mapping(*stream, null_values="clear").map_record(record)
    assert omits == ola(properties=named(empty=""))
    assert clears == ola(properties=named(null="", empty=""))


def test_a_null_identifier_or_consent_is_never_cleared() -> None:
    record = EMAIL | {"mobile": None, "contact_id": None, "email_opt_in": None, "list_id": None}
    assert mapped(record, null_values="clear") == ola()


def test_a_null_inside_a_property_array_follows_the_same_policy() -> None:
    record = EMAIL | {"propertyfields": [{"propertyname": "zip", "propertyvalue": None}]}
    assert mapped(record) == ola()
    assert mapped(record, null_values="clear") == ola(properties=named(zip=""))


@pytest.mark.parametrize(
    ("record", "code", "reason"),
    [
        pytest.param(
            {"email": " ", "mobile": None, "zip": "0236"},
            "no_identity",
            "Nothing identifies the contact: columns 'email' and 'mobile' are empty.",
            id="empty identifiers",
        ),
        pytest.param(
            {"contactId": ""},
            "no_identity",
            "Nothing identifies the contact: column 'contactId' is empty.",
            id="one empty identifier",
        ),
        pytest.param(
            {"zip": "0236"},
            "no_identity",
            "No column of the stream can identify a contact.",
            id="no identifiers",
        ),
        pytest.param(
            EMAIL | {"mobile": "0236"},
            "no_country_code",
            "Column 'mobile' has a number without a country code; set 'default_country_code', "
            "or have it written with + and the country code.",
            id="no country code",
        ),
        pytest.param(
            EMAIL | {"mobile": "+225 07 00 00 00 00"},
            "leading_zero",
            "Column 'mobile' has a number that really starts with a zero, and MainBrainer takes "
            "it as an integer, which cannot; map the column to a property instead.",
            id="leading zero",
        ),
        pytest.param({"Email": "ola"}, "invalid_email", "Column 'Email' has no '@'.", id="e-mail"),
        pytest.param(
            EMAIL | {"contact_id": "A7"},
            "invalid_contact_id",
            "Column 'contact_id' is no contact id: it should be a positive whole number.",
            id="contact id",
        ),
        pytest.param(
            EMAIL | {"mobile_opt_in": "subscribed"},
            "invalid_consent",
            "Column 'mobile_opt_in' says neither yes nor no; it should be true, yes, y or 1, or "
            "false, no, n or 0, or a word of 'consent_words', or empty if nothing is known.",
            id="consent",
        ),
        pytest.param(
            EMAIL | {"listid": "newsletter"},
            "invalid_list_id",
            "Column 'listid' is not the UUID of a list.",
            id="list id",
        ),
        pytest.param(
            EMAIL | {"mobile_number": 7, "mobile_country_code": "NO"},
            "invalid_country_code",
            "Column 'mobile_country_code' is no country calling code such as 47.",
            id="country code",
        ),
        pytest.param(
            EMAIL | {"note": "\ud800"},
            "unsendable_text",
            "Column 'note' holds half a character (a lone UTF-16 surrogate), which cannot be "
            "written as UTF-8.",
            id="half a character",
        ),
        pytest.param(
            EMAIL | {"note": DEEP},
            "unsendable_value",
            "Column 'note' is nested too deeply.",
            id="endless nesting",
        ),
        pytest.param(
            EMAIL
            | {"zip": "0236", "propertyfields": [{"propertyname": "zip", "propertyvalue": "1"}]},
            "ambiguous_property",
            "Column 'propertyfields' gives a second value to one property.",
            id="two values for one property",
        ),
        pytest.param(
            EMAIL
            | {
                "propertyfields": [
                    {"propertyname": "zip", "propertyvalue": "0236"},
                    {"propertyname": "zip", "propertyvalue": "0237"},
                ]
            },
            "ambiguous_property",
            "Column 'propertyfields' gives a second value to one property.",
            id="two values for one property inside the array",
        ),
        pytest.param(
            EMAIL | {"propertyfields": "x"},
            "invalid_properties",
            "Column 'propertyfields' is not an array of properties in the API's own shape, each "
            "with 'propertyname' or 'propertyid', and 'propertyvalue'.",
            id="property array",
        ),
    ],
)
def test_a_rejection_says_what_is_wrong_and_no_value(
    record: dict[str, t.Any], code: str, reason: str
) -> None:
    assert mapped(record) == Rejection(code, reason)


# Settings ----------------------------------------------------------------------------------


def test_a_bad_identifier_can_be_dropped_if_another_is_left() -> None:
    dropped: list[Rejection] = []
    record = {"email": "ola", "mobile": "+47 908 12 501", "contact_id": None}
    stream = mapping(*record, invalid_identifiers="drop", on_drop=dropped.append)
    assert stream.map_record(record) == Contact(mobile=Mobile(47, 90812501))
    assert stream.map_record(record | {"mobile": "1"}) == Rejection(
        "no_country_code",
        "Column 'mobile' has a number without a country code; set 'default_country_code', or "
        "have it written with + and the country code.",
    )
    assert stream.map_record(record | {"mobile": None}) == Rejection(
        "invalid_email", "Column 'email' has no '@'."
    )
    assert [rejection.code for rejection in dropped] == ["invalid_email"]


def test_a_bad_contact_id_is_never_dropped() -> None:
    """Without it the contact would be another one."""
    rejection = mapped(EMAIL | {"contact_id": "x"}, invalid_identifiers="drop")
    assert isinstance(rejection, Rejection)
    assert rejection.code == "invalid_contact_id"


@pytest.mark.parametrize(("said", "sent"), [("yes", None), ("no", False), (None, None)])
def test_consent_to_a_dropped_number_is_not_sent(said: str | None, sent: bool | None) -> None:
    """The CRM may have another number, to which nobody consented; a refusal does no harm."""
    record = EMAIL | {"mobile": "1", "mobile_opt_in": said, "email_opt_in": "yes"}
    contact = mapped(record, invalid_identifiers="drop")
    assert contact == ola(mobile_opt_in=sent, email_opt_in=True)


DELETED = EMAIL | {"zip": "0236", "email_opt_in": True, "_sdc_deleted_at": "2026-01-31T00:00:00Z"}


def test_a_deleted_record_is_skipped_or_opted_out() -> None:
    assert mapped(DELETED) is Omitted.DELETED
    assert mapped(DELETED, deleted_records="opt_out") == ola(
        mobile_opt_in=False, email_opt_in=False
    )


@pytest.mark.parametrize("unset", [None, "", " ", False])
def test_a_record_without_a_date_of_deletion_is_not_deleted(unset: object) -> None:
    assert isinstance(mapped(EMAIL | {"_sdc_deleted_at": unset}), Contact)


def test_a_deleted_record_without_an_identifier_cannot_be_opted_out() -> None:
    record = {"email": None, "id": 7, "_sdc_deleted_at": "2026-01-31T00:00:00Z"}
    assert mapped(record) is Omitted.DELETED
    rejection = mapped(record, deleted_records="opt_out")
    assert isinstance(rejection, Rejection)
    assert rejection.code == "no_identity"


# Columns that were not announced -----------------------------------------------------------


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
    assert mapping("email").map_record(DELETED) is Omitted.DELETED


def test_an_unannounced_column_that_contradicts_another_is_a_rejection() -> None:
    assert mapping("email").map_record(EMAIL | {"Email": "x"}) == Rejection(
        "unusable_columns",
        "Stream 'people': columns 'email' and 'Email' would all be the contact's email. In "
        "'field_map', set those that are not to null, or to another property.",
    )


def test_ever_new_columns_do_not_pile_up() -> None:
    stream = mapping("email")
    for number in range(300):
        column = f"column_{number}"
        assert stream.map_record(EMAIL | {column: "x"}) == ola(properties=named(**{column: "x"}))
    assert len(stream._wider) <= 100


# What the user is told ---------------------------------------------------------------------


def test_the_summary_says_how_every_column_is_used() -> None:
    field_map = {"fname": "firstname", "zip": {"property_id": UUID}, "secret": None}
    columns = ["id", "email", "mobileOptIn", "fname", "zip", "secret", "city", "_sdc_x"]
    schema: dict[str, t.Any] = {"properties": {column: {} for column in columns}}
    stream = compile_mapping("people", schema, ["id"], StreamSettings(field_map=field_map))
    assert stream.summary == [
        "email: 'email'",
        "mobile_opt_in: 'mobileOptIn'",
        f"properties of another name: 'fname' -> 'firstname', 'zip' -> {UUID}",
        "properties of the same name: 'id', 'city'",
        "not sent (null in 'field_map'): 'secret'",
        "not sent (Singer metadata): '_sdc_x'",
        "told apart by: 'id'",
    ]
    assert stream.warnings == []


def test_a_wide_stream_stays_readable() -> None:
    summary = mapping("email", *(f"column_{number}" for number in range(80))).summary
    assert len(summary) < 15
    assert all(len(line) <= 100 for line in summary)


@pytest.mark.parametrize(
    ("columns", "field_map", "warning"),
    [
        pytest.param(
            ["email", "first_name"],
            {"firstname": "firstname"},
            "'field_map' names column 'firstname', which the stream does not have. Did you mean "
            "'first_name'?",
            id="misspelt column",
        ),
        pytest.param(
            ["email"],
            {"zip": "zip"},
            "'field_map' names column 'zip', which the stream does not have.",
            id="no such column",
        ),
        pytest.param(
            ["id", "e_mail_address"],
            {},
            "no column can identify a contact, so its records will be rejected. Map one to "
            "'email', 'mobile' or 'contact_id', such as: \"field_map\": {\"e_mail_address\": "
            '"email"}.',
            id="no identifier",
        ),
        pytest.param(
            ["zip"],
            {},
            "no column can identify a contact, so its records will be rejected. Map one to "
            "'email', 'mobile' or 'contact_id', such as: \"field_map\": {\"<column>\": "
            '"email"}.',
            id="nothing that looks like one",
        ),
        pytest.param(
            ["email", "cc"],
            {"cc": "mobile_country_code"},
            "column 'cc' is the mobile country code, but no column is 'mobile_number', so it is "
            "not sent.",
            id="country code alone",
        ),
        pytest.param(
            ["email", "phone"],
            {"phone": "Mobile"},
            "column 'phone' is sent as a property named 'Mobile', because the contact field is "
            "spelt 'mobile'.",
            id="nearly a contact field",
        ),
        pytest.param([], {}, None, id="nothing announced"),
    ],
)
def test_a_doubtful_mapping_is_warned_about(
    columns: list[str], field_map: dict[str, t.Any], warning: str | None
) -> None:
    expected = [f"Stream 'people': {warning}"] if warning else []
    assert mapping(*columns, field_map=field_map).warnings == expected


# Whatever comes ----------------------------------------------------------------------------

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
        "properties": st.dictionaries(COLUMNS, st.just({}), max_size=8) | VALUES,
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
        assert str(error).encode()  # noqa: PT017 - whatever it says can be logged
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
                assert config.deleted_records == "skip"


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
