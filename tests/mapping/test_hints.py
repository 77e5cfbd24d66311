"""What the log points at, and what it leaves alone."""

import json
import re
import typing as t

from target_mainbrainer.contacts import PropertyRef
from target_mainbrainer.mapping.columns import consent_lookalikes, lookalikes, sensitive_columns_of
from tests.loads import Load, Record, cases, person, record, schema
from tests.mapping.one_record import mapping, mapping_of

EMAIL = """
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
suoramarkkinointikielto kielletty peruutettu afskráð ikke_epost ingen_reklam
"""
NEITHER = "city mailing_list idea postnummer postcode mobility telemetry emailed_at notes sim_lock"


def roles(*columns: str) -> dict[str, t.Any]:
    return {column: PropertyRef(None, column) for column in columns}


@cases(
    "columns field is_consent",
    (EMAIL, "email", False),
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


def test_a_consent_column_gets_no_stream_map() -> None:
    for column in {*CONSENT.split(), "email_opt_in", "accepts_marketing"} - {*OPT_OUT.split()}:
        assert mapping("email", column, field_map={column: "email_opt_in"}).warnings == []


def test_a_column_of_true_and_false_is_no_identifier() -> None:
    assert lookalikes(roles("mobil", "e_post"), booleans=["mobil"]) == [("e_post", "email")]


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


NOT_SAID = "not in ('', 'none', '[]', '{}', 'false', 'no', 'n', '0', '0.0', 'nei', 'nej', 'ei'"


@cases(
    "column kind said",
    ("unsubscribed", {"type": "boolean"}, "\"email_opt_in\": \"'no' if unsubscribed else ''\""),
    ("Opted Out", {"type": ["boolean", "null"]}, "'no' if _['Opted Out'] else ''"),
    ("unsubscribed_at", {}, f"'no' if str(unsubscribed_at).strip().lower() {NOT_SAID}"),
)
def test_the_stream_map_of_the_hint_fits_the_column(column: str, kind: t.Any, said: str) -> None:
    (hint,) = mapping_of({"email": {}, column: kind}).hints
    assert said in hint
    assert hint.endswith(f'"field_map": {{"{column}": null}}.')


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
    load.ok(schema(columns), *people, **advised)
    assert [*load.all_of("email_opt_in").values()] == [True, False, False, None]


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
