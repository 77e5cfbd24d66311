"""What a column is: a field of the contact, a property, or nothing."""

import json
import re
import typing as t

import pytest

from target_mainbrainer.contacts import Contact, PropertyRef
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping.columns import consent_lookalikes, lookalikes, sensitive_columns_of
from tests.loads import Load, Record, cases, person, record, schema
from tests.mapping.one_record import EMAIL, NO, UUID, mapped, mapping, mapping_of, named, ola

KARI = "kari@example.com"


CAMEL: Record = {"contactId": "7", "mobileCountryCode": 47, "mobileNumber": "90812501"}
CAMEL |= {"mobileOptIn": "yes", "Email-Opt-In": 0, "listId": UUID}
MAIL, TWO = EMAIL | {"mail": KARI}, {"email": None, "mail": {"field": "email", "optional": True}}
SWAPPED = {"mobile": "ola@example.com", "email": "+47 908 12 501"}
METADATA = {"_sdc_filename": "a.csv", "_sdc_worksheet": "x", "_sdc_extra": "y"}


@cases(
    "record field_map expected",
    # A column named like a field of the contact is that field, and nothing else is guessed to be.
    *(
        ({one: KARI}, {}, Contact(email=KARI))
        for one in ["email", "Email", "EMAIL", "e_mail", "e-mail"]
    ),
    (CAMEL, {}, Contact(7, NO, None, True, False, {}, UUID)),
    *(
        (EMAIL | {name: "x"}, {}, ola(properties={PropertyRef(None, name): "x"}))
        for name in ("phone", "e_mail_address", "id", "optin", "mail", "Mobile No")
    ),
    # `field_map` decides what a column is.
    (MAIL, {"email": None, "mail": "email"}, Contact(email=KARI)),
    (MAIL, TWO, Contact(email=KARI)),
    (MAIL, {"mail": "second_mail"}, ola(properties=named(second_mail=KARI))),
    (MAIL, {"mail": {"property_name": "email"}}, ola(properties=named(email=KARI))),
    (MAIL, {"mail": {"property_id": UUID}}, ola(properties={PropertyRef(UUID, None): KARI})),
    (MAIL, {"mail": None}, ola()),
    (SWAPPED, {"mobile": "email", "email": "mobile"}, ola(mobile=NO)),
    # Metadata is not sent unless it is mapped.
    (EMAIL | METADATA, {"_sdc_filename": "source"}, ola(properties=named(source="a.csv"))),
)
def test_what_a_column_is(record: Record, field_map: Record, expected: Contact) -> None:
    assert mapped(record, field_map=field_map) == expected


MAPPED: dict[str, t.Any] = {"mail": "email", "phone": "mobile", "ok": "email_opt_in", "zip": "zip"}


@cases(
    "columns said",
    ("mail phone", "'field_map' maps column 'ok' to the contact's email_opt_in"),
    ("mail ok", "'field_map' maps column 'phone' to the contact's mobile"),
    ("zip ok phone", "'field_map' maps column 'mail' to the contact's email"),
    ("email", "column 'ok' .* the stream, which has 'email', has no such column"),
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
    assert mapping("city", field_map=MAPPED).warnings  # another stream altogether
    assert mapping("email", "zip", field_map=MAPPED | optional).warnings  # the field is there
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


@cases(
    "columns field_map warning",
    ("first_name", {"firstname": "x"}, f"{LACKS} Did you mean 'first_name'?"),
    ("email", {"firstname": "firstname"}, LACKS),
    ("zip", {}, "Map one to 'email', 'mobile' or 'contact_id' in 'field_map'."),
    ("email unsubscribed", {"unsubscribed": "email_opt_in"}, OPPOSITE),
    ("email contactID", {}, "counts as MainBrainer's own id of a contact because of its name"),
    ("email phone", {"phone": "Mobile"}, "is sent as a property named 'Mobile', because the"),
)
def test_a_doubtful_mapping_is_warned_about(columns: str, field_map: t.Any, warning: str) -> None:
    said = mapping(*columns.split(), field_map=field_map).warnings[0]
    assert said.startswith("Stream 'people': ")
    assert warning in said
    assert mapping().warnings == [], "nothing is announced"


# What the log points at, and what it leaves alone


ADDRESS = """
e_post E-post epost epostadresse e-postadress Email e-mail mail mailadresse email_address EMAIL2
sähköposti sähköpostiosoite netfang work_email kunde_epost billing_email E-mail_1_-_Value
"""
MOBILE = """
mobil Mobilnummer mobilnr mobile_phone mobiltelefon telefon telefonnummer Telefon-Nr. tlf tlfnr
phone phone_number cell cellphone msisdn gsm handy Handynummer puhelin puhelinnumero matkapuhelin
farsími símanúmer sms_number work_phone kontakt_tlf2 billing_phone Phone_1_-_Value default_phone
shipping_phone
"""
CONSENT = """
sms send_sms sms_ok email_ok samtykke samtykke_epost samtykke_sms samtycke suostumus samþykki
einwilligung nyhetsbrev nyhedsbrev uutiskirje newsletter opt_in optInEmail email_consent
sms_consent mobil_samtykke marketing_email avmeldt reservert markkinointilupa
"""
OPT_OUT = """
unsubscribed is_unsubscribed unsubscribed_at optout opted_out HasOptedOutOfEmail HasOptedOutOfFax
email_opt_out do_not_email doNotCall DoNotContact do_not_market dnc no_sms emailBlacklisted
smsBlacklisted consent_withdrawn consent_withdrew_at unsub_time hs_email_optout sms_optout avmeldt
avmeldt_epost UNSUB_TIME avmäldt avanmäld avregistrerad reservert Reservasjon_reserveret afmeldt
frabedt frabedt_sms abgemeldet Newsletter_abbestellt Widerruf Widerspruch gesperrt Werbesperre
keine_werbung donotbulkemail donotphone dontAllowSMS marketingSuspended Unsubscribed_from_all_email
suoramarkkinointikielto kielletty peruutettu afskráð ikke_epost ingen_reklam dnd no_email_marketing
not_subscribed marketing_disabled exclude_from_marketing newsletter_declined gdpr_objection stop_sms
marketing_suppressed refuses_marketing no_consent marketing_block never_email block_email nei_takk
nej_tack spärrad reservasjon kein_newsletter
"""
NEITHER = "city mailing_list idea postnummer postcode mobility telemetry emailed_at notes sim_lock "
NEITHER += "note notification_ok nothing email_notifications reservasjonsnummer blocked non_stop"


def roles(*columns: str) -> dict[str, t.Any]:
    return {column: PropertyRef(None, column) for column in columns}


@cases(
    "columns field is_consent",
    (ADDRESS, "email", False),
    (MOBILE, "mobile", False),
    (CONSENT, "", True),
    (NEITHER, "", False),
    ids=["address", "number", "consent", "neither"],
)
def test_a_column_is_pointed_at_by_its_name(columns: str, field: str, is_consent: bool) -> None:
    """A column of consent is never taken for an identifier."""
    for column in columns.split():
        assert lookalikes(roles(column)) == ([(column, field)] if field else [])
        assert field or consent_lookalikes(roles(column)) == [column] * is_consent


@cases("column", *OPT_OUT.split())
def test_an_opt_out_column_is_never_advised_as_consent(column: str) -> None:
    assert lookalikes(roles(column)) == []
    (hint,) = mapping("email", column).hints
    assert f"'{column}' may say who has opted out. A yes there would mean no" in hint
    assert '"stream_maps": {"people": {"' in hint
    (warning,) = mapping("email", column, field_map={column: "email_opt_in"}).warnings
    assert "its name suggests that a yes there means no" in warning


def test_a_column_of_true_and_false_is_no_identifier() -> None:
    assert lookalikes(roles("mobil", "e_post"), booleans=["mobil"]) == [("e_post", "email")]
    assert mapping_of({"mobil": {"type": [[1], "boolean"]}}).hints, "a type that is none"


def test_what_may_identify_gets_one_hint_and_consent_another() -> None:
    identifiers, consent = mapping("id", "e_post", "mobil", "sms", "idea").hints
    assert identifiers == (
        "Stream 'people': 'e_post' and 'mobil' may identify contacts. If so, add those that do: "
        '"field_map": {"e_post": "email", "mobil": "mobile"}.'
    )
    assert consent == (
        "Stream 'people': 'sms' may say what people have consented to. If so, map what fits "
        "to 'email_opt_in' or 'mobile_opt_in' in 'field_map'."
    )


def test_nothing_is_said_about_a_kind_of_identifier_that_is_mapped() -> None:
    (hint,) = mapping("id", "email", "backup_mail", "e_post", "mobil").hints
    assert '"field_map": {"mobil": "mobile"}.' in hint
    assert "e_post" not in hint
    assert mapping("id", "email", "mobile", "telefon", "e_post").hints == []
    assert mapping("id", "email", "mobile_number", "telefon").hints == []
    assert mapping("id", "email", "email_opt_in", "nyhetsbrev").hints == []
    assert mapping("email", "phone", field_map={"phone": "telephone"}).hints == []
    assert mapping("email", "sms", field_map={"sms": None}).hints == []


def test_columns_with_numbers_and_addresses_are_sensitive() -> None:
    sensitive = sensitive_columns_of(roles("telefonnummer", "e_post", "id", "sms", "city"))
    assert sensitive == {"telefonnummer", "e_post"}
    stream = mapping("kundenr", "number", field_map={"kundenr": "mobile", "number": "email"})
    assert stream.sensitive_columns == {"kundenr", "number"}


def settings_of(hint: str) -> Record:
    """The settings that a hint advises."""
    advised = hint[hint.index('"stream_maps"') : -1]
    return t.cast("Record", json.loads(f"{{{advised}}}"))


NOES = ["true", "Ja", " x", "2026-01-31", "1", "opted out"]
NOTHINGS: list[object] = ["", " ", "False", "nei", "0", None, 0, 0.0, False, [], {}]


@cases("said", *NOES, *NOTHINGS, True, 1, 1.0, ["sms"], ids=repr)
def test_the_stream_map_of_the_hint_turns_any_yes_into_a_no(load: Load, said: object) -> None:
    """A date, a word of any language and a number too; an empty value and a no have no effect."""
    row: Record = {"id": 1, "email": "p@example.com", "Opted out": said}
    (hint,) = mapping(*row).hints
    load.ok(schema({name: {} for name in row}), record(**row), **settings_of(hint))
    assert load.contact["email_opt_in"] is (None if said in NOTHINGS else False)
    assert "Opted out" not in load.contact["properties"]


def test_several_opt_out_columns_get_one_stream_map(load: Load) -> None:
    """With a map for each, the last one would count, and the noes of the others would be lost."""
    names = ("a_optout", "b_optout", "sms_optout")
    columns: Record = {"id": {}, "email": {}} | {name: {"type": "boolean"} for name in names}
    (hint,) = mapping_of(columns, key=["id"]).hints
    rows = [(False, False, True), (True, False, False), (False, True, False)]
    people = [person(n, **dict(zip(names, row, strict=True))) for n, row in enumerate(rows)]
    load.ok(schema(columns), *people, **settings_of(hint))
    opt_ins = [*load.all_of("email_opt_in", "mobile_opt_in").values()]
    assert opt_ins == [(None, False), (False, None), (False, None)]


def test_a_no_beside_a_mapped_yes_overrules_it(load: Load) -> None:
    columns: Record = {"id": {}, "email": {}, "News?": {}, "unsubscribed": {}}
    field_map = {"News?": "email_opt_in"}
    (hint,) = mapping(*columns, field_map=field_map).hints
    advised = settings_of(hint)
    advised["field_map"] = field_map | advised["field_map"]
    said = [("yes", ""), ("yes", "x"), ("no", ""), ("", "")]
    people = [person(n, unsubscribed=no, **{"News?": yes}) for n, (yes, no) in enumerate(said)]
    sparse = [person(4, unsubscribed=True), person(5, **{"News?": "yes"}), person(6)]
    load.ok(schema(columns), *people, *sparse, **advised)
    answers = [*load.all_of("email_opt_in").values()]
    assert answers == [True, False, False, None, False, True, None]


@cases(
    "prefs opt_in",
    *(({"unsubscribed": "yes"}, False), ({"unsubscribed": ""}, None), ({}, None), (None, None)),
)
def test_the_map_reads_inside_objects(load: Load, prefs: object, opt_in: bool | None) -> None:
    """Maps come before flattening, so the name of the flattened column is not known to them."""
    inside = {"type": ["object", "null"], "properties": {"unsubscribed": {"type": "string"}}}
    people = [schema({"id": {}, "email": {}, "prefs": inside}), person(1, prefs=prefs)]
    flat = {"flattening_enabled": True, "flattening_max_depth": 1}
    (line,) = re.findall(r"'prefs__unsubscribed' may say .+", load.run(*people, **flat).log)
    load.ok(*people, **flat, **settings_of(line))
    assert load.contact["email_opt_in"] is opt_in


@cases(
    "column",
    *("unsubscribe_url", "UNSUB_REASON", "unsub_campaign_id", "unsubscribedChannelIds"),
    *("OPTIN_TIME", "OPTIN_IP", "consent_date", "optInSource", "unsubscribe_status"),
)
def test_what_only_belongs_to_a_consent_is_not_advised_as_one(column: str) -> None:
    """Everybody may have a link to unsubscribe, and a time of consent is neither yes nor no."""
    assert mapping("email", column).hints == []


def test_a_column_inside_of_an_object_is_pointed_at_by_its_own_name() -> None:
    """As flattening names it; the key of an object inside is no person's id."""
    names = ("properties__email", "attributes__phone_number", "address__id")
    assert lookalikes(roles(*names)) == [(names[0], "email"), (names[1], "mobile")]
