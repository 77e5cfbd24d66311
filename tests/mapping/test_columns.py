"""What a column is: a field of the contact, a property, or nothing."""

import typing as t

import pytest

from target_mainbrainer.contacts import Contact, PropertyRef
from target_mainbrainer.errors import MappingError
from tests.loads import cases
from tests.mapping.one_record import EMAIL, NO, UUID, mapped, mapping, mapping_of, named, ola

KARI = "kari@example.com"


@cases("column", "email", "Email", "EMAIL", "e_mail", "e-mail")
def test_a_column_named_like_a_contact_field_is_that_field(column: str) -> None:
    assert mapped({column: "ola@example.com"}) == Contact(email="ola@example.com")


def test_camel_case_is_understood() -> None:
    record = {"contactId": "7", "mobileCountryCode": 47, "mobileNumber": "90812501"}
    record |= {"mobileOptIn": "yes", "Email-Opt-In": 0, "listId": UUID}
    assert mapped(record) == Contact(7, NO, None, True, False, {}, UUID)


@cases(
    "target expected",
    *(("email", Contact(email=KARI)), ({"field": "email", "optional": True}, Contact(email=KARI))),
    *(("second_mail", ola(properties=named(second_mail=KARI))), (None, ola())),
    ({"property_name": "email"}, ola(properties=named(email=KARI))),
    ({"property_id": UUID}, ola(properties={PropertyRef(UUID, None): KARI})),
    ids=str,
)
def test_field_map_decides_what_a_column_is(target: t.Any, expected: Contact) -> None:
    record = EMAIL | {"mail": KARI}
    field_map = {"mail": target} | ({"email": None} if expected.email == KARI else {})
    assert mapped(record, field_map=field_map) == expected


SWAPPED = {"mobile": "ola@example.com", "email": "+47 908 12 501"}
IGNORE = {"unmapped_columns": "ignore", "field_map": {"fname": "firstname"}}
METADATA = {"_sdc_filename": "a.csv", "_sdc_worksheet": "x", "_sdc_extra": "y"}


@cases(
    "record config expected",
    (SWAPPED, {"field_map": {"mobile": "email", "email": "mobile"}}, ola(mobile=NO)),
    (EMAIL | {"zip": "0236", "fname": "Ola"}, IGNORE, ola(properties=named(firstname="Ola"))),
    (
        EMAIL | METADATA,
        {"field_map": {"_sdc_filename": "source"}},
        ola(properties=named(source="a.csv")),
    ),
    ids=["other names", "unmapped columns are left out", "metadata is not sent unless mapped"],
)
def test_settings_decide_which_columns_are_sent(
    record: t.Any, config: t.Any, expected: Contact
) -> None:
    assert mapped(record, **config) == expected


@cases("column", "phone", "e_mail_address", "id", "optin", "mail", "Mobile No")
def test_nothing_else_is_guessed_to_be_an_identifier(column: str) -> None:
    assert mapped(EMAIL | {column: "x"}) == ola(properties={PropertyRef(None, column): "x"})


MAPPED: dict[str, t.Any] = {"mail": "email", "phone": "mobile", "ok": "email_opt_in", "zip": "zip"}


@cases(
    "columns said",
    ("mail phone", "'field_map' maps column 'ok' to the contact's email_opt_in"),
    ("mail ok", "'field_map' maps column 'phone' to the contact's mobile"),
    ("zip ok phone", "'field_map' maps column 'mail' to the contact's email"),
    (
        "mail ok Phone",
        'Did you mean \'Phone\'\\? If .* map it to {"field": "mobile", "optional": true}',
    ),
)
def test_a_stream_that_lacks_an_identifier_or_opt_in_is_an_error(columns: str, said: str) -> None:
    with pytest.raises(MappingError, match=said):
        mapping(*columns.split(), field_map=MAPPED)


def test_a_missing_column_is_no_error_if_it_may_be_missing_or_nothing_is_there() -> None:
    fields = {"ok": "email_opt_in", "phone": "mobile"}
    optional = {name: {"field": field, "optional": True} for name, field in fields.items()}
    assert mapping("mail", "zip", field_map=MAPPED | optional).warnings == []
    assert mapping("email", field_map=MAPPED).warnings  # another stream altogether
    assert len(mapping("mail", "phone", "ok", field_map=MAPPED).warnings) == 1  # a property


WOULD_BE = "' would all be the contact's email. In 'field_map', set those that are not to null"
BY_ID = {"zip": {"property_id": UUID}, "post": {"property_id": UUID.upper()}}
BOTH = "'mobile' and 'mobile_number' would all be the contact's mobile."
MARK = "the name of column 'email' starts with a byte order mark (U+FEFF), as"
CODES = "would all be the contact's mobile_country_code."


@cases(
    "columns field_map message",
    ("email Email", {}, f"columns 'email' and 'Email{WOULD_BE}"),
    ("email mail", {"mail": "email"}, f"columns 'email' and 'mail{WOULD_BE}"),
    ("zip post", {"post": "zip"}, "columns 'zip' and 'post' would all be property 'zip'."),
    ("zip post", BY_ID, f"columns 'zip' and 'post' would all be property {UUID}. In 'field_m"),
    *(("mobile mobile_number", {}, BOTH), ("mobile_country_code mobile_country", {}, CODES)),
    ("email ", {}, "column '' would be a property without a name"),
    ("email", {"email": " "}, "column 'email' would be a property without a name"),
    ("\ud800", {}, r"column '\ud800' would be a property without a name, or with one that cannot"),
    ("\ufeffemail", {}, MARK),
)
def test_a_contradictory_mapping_is_an_error(columns: str, field_map: t.Any, message: str) -> None:
    with pytest.raises(MappingError, match=r"^Stream 'people': ") as caught:
        mapping(*columns.split(" "), field_map=field_map)
    assert message in str(caught.value)


# What the user is told of how columns are used


def test_the_summary_lists_the_use_of_every_column() -> None:
    field_map = {"fname": "firstname", "zip": {"property_id": UUID}, "secret": None}
    field_map["src"] = {"property_name": "source", "send": "once"}
    columns = ["id", "email", "mobileOptIn", *field_map, "city", "_sdc_x"]
    stream = mapping_of(dict.fromkeys(columns), key=["id"], field_map=field_map)
    assert stream.summary == [
        "email: 'email'",
        "mobile_opt_in: 'mobileOptIn'",
        f"properties of another name: 'fname' -> 'firstname', 'zip' -> {UUID}",
        "properties of the same name: 'id', 'city'",
        "properties sent once, when the contact is created: 'src' -> 'source'",
        "not sent (null in 'field_map'): 'secret'",
        "not sent (Singer metadata): '_sdc_x'",
        "key: 'id'",
    ]
    assert stream.warnings == []


LACKS = "'field_map' names column 'firstname', which the stream does not have."
OPPOSITE = "its name suggests that a yes there means no"
OWN_ID = "counts as MainBrainer's own id of a contact because of its name"


@cases(
    "columns field_map warning",
    ("first_name", {"firstname": "x"}, f"{LACKS} Did you mean 'first_name'?"),
    ("email", {"firstname": "firstname"}, LACKS),
    ("zip", {}, "Map one to 'email', 'mobile' or 'contact_id' in 'field_map'."),
    ("email unsubscribed", {"unsubscribed": "email_opt_in"}, OPPOSITE),
    ("email contactID", {}, OWN_ID),
    ("email phone", {"phone": "Mobile"}, "is sent as a property named 'Mobile', because the"),
)
def test_a_doubtful_mapping_is_warned_about(columns: str, field_map: t.Any, warning: str) -> None:
    said = mapping(*columns.split(), field_map=field_map).warnings[0]
    assert said.startswith("Stream 'people': ")
    assert warning in said
    assert mapping().warnings == [], "nothing is announced"
