"""What the log points at, and what it leaves alone."""

from __future__ import annotations

import json
import typing as t

import pytest

from target_mainbrainer.contacts import PropertyRef
from target_mainbrainer.mapping.columns import consent_lookalikes, lookalikes, sensitive_columns_of
from target_mainbrainer.mapping.mapper import compile_mapping
from target_mainbrainer.settings.declared import StreamSettings
from tests.mapping.one_record import mapping
from tests.messages import record, schema

if t.TYPE_CHECKING:
    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget

EMAIL = """
e_post E-post epost epostadresse e-postadress Email e-mail mail mailadresse email_address EMAIL2
sähköposti sähköpostiosoite netfang work_email kunde_epost billing_email E-mail_1_-_Value
"""
MOBILE = """
mobil Mobilnummer mobilnr mobile_phone mobiltelefon telefon telefonnummer Telefon-Nr. tlf tlfnr
phone phone_number cell cellphone msisdn gsm handy Handynummer puhelin puhelinnumero matkapuhelin
farsími
símanúmer sms_number work_phone kontakt_tlf2 billing_phone Phone_1_-_Value
default_phone shipping_phone
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
avmeldt_epost
avmäldt avanmäld avregistrerad reservert Reservasjon_reserveret afmeldt frabedt frabedt_sms
abgemeldet Newsletter_abbestellt Widerruf Widerspruch gesperrt Werbesperre keine_werbung
suoramarkkinointikielto kielletty peruutettu afskráð ikke_epost ingen_reklam
"""
NEITHER = "city mailing_list idea postnummer postcode mobility telemetry emailed_at notes sim_lock"


def roles(*columns: str) -> dict[str, t.Any]:
    return {column: PropertyRef(None, column) for column in columns}


@pytest.mark.parametrize(
    ("columns", "field", "is_consent"),
    [(EMAIL, "email", False), (MOBILE, "mobile", False), (CONSENT, "", True), (NEITHER, "", False)],
    ids=["address", "number", "consent", "neither"],
)
def test_a_column_is_pointed_at_by_its_name(columns: str, field: str, is_consent: bool) -> None:
    """A column of consent is never taken for an identifier."""
    for column in columns.split():
        assert lookalikes(roles(column)) == ([(column, field)] if field else [])
        assert field or consent_lookalikes(roles(column)) == [column] * is_consent


@pytest.mark.parametrize("column", OPT_OUT.split())
def test_a_column_that_says_no_with_a_yes_is_never_advised_as_consent(column: str) -> None:
    assert lookalikes(roles(column)) == []
    (hint,) = mapping("email", column).hints
    assert f"'{column}' may say who has opted out. A yes there would mean no" in hint
    assert '"stream_maps": {"people": {"' in hint
    (warning,) = mapping("email", column, field_map={column: "email_opt_in"}).warnings
    assert "its name suggests that a yes there means no" in warning


def test_a_column_that_says_yes_with_a_yes_gets_no_stream_map() -> None:
    for column in {*CONSENT.split(), "email_opt_in", "accepts_marketing"} - {*OPT_OUT.split()}:
        assert mapping("email", column, field_map={column: "email_opt_in"}).warnings == []


def test_a_column_of_true_and_false_is_no_identifier() -> None:
    assert lookalikes(roles("mobil", "e_post"), booleans=["mobil"]) == [("e_post", "email")]


def test_what_may_identify_gets_one_hint_and_consent_another() -> None:
    identifiers, consent = mapping("id", "e_post", "mobil", "sms", "idea").hints
    assert identifiers == (
        "Stream 'people': 'id', 'e_post' and 'mobil' may identify contacts but are not mapped. If "
        'so, add those that do: "field_map": {"id": "contact_id", "e_post": "email", '
        '"mobil": "mobile"}. A contact_id is MainBrainer\'s own id of a contact, and no other '
        "system's."
    )
    assert consent == (
        "Stream 'people': 'sms' may say what people have consented to. If so, map them to "
        "'email_opt_in' or 'mobile_opt_in' in 'field_map'."
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


def test_no_number_and_no_address_is_shown_in_the_log_whatever_its_column_is_called() -> None:
    sensitive = sensitive_columns_of(roles("telefonnummer", "e_post", "id", "sms", "city"))
    assert sensitive == {"telefonnummer", "e_post"}
    stream = mapping("kundenr", "number", field_map={"kundenr": "mobile", "number": "email"})
    assert stream.sensitive_columns == {"kundenr", "number"}


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ("unsubscribed", "boolean", "\"email_opt_in\": \"'no' if unsubscribed else ''\""),
        ("unsubscribed_at", "string", "\"email_opt_in\": \"'no' if unsubscribed_at else ''\""),
        ("sms_optout", "boolean", "\"mobile_opt_in\": \"'no' if sms_optout else ''\""),
        ("Opted Out", ["boolean", "null"], "'no' if _['Opted Out'] else ''"),
        ("unsubscribedAt", "string", "'no' if unsubscribedAt else"),
        ("avmeldt_person", "string", "if str(avmeldt_person).lower() in ("),
        ("optout", "string", "if str(optout).lower() in ('true', 'yes', 'y', 'x', '1', 'ja') else"),
    ],
)
def test_the_stream_map_of_the_hint_fits_the_column(
    column: str, kind: t.Any, expected: str
) -> None:
    announced = {"properties": {"email": {}, column: {"type": kind}}}
    (hint,) = compile_mapping("people", announced, [], StreamSettings()).hints
    assert expected in hint
    assert hint.endswith(f'"field_map": {{"{column}": null}}.')


@pytest.mark.parametrize("column", ["optout", "Opted out", "unsubscribed_at"])
def test_the_stream_map_of_the_hint_turns_a_yes_into_a_no(
    run_target: RunTarget, crm: RunningSandbox, column: str
) -> None:
    """A date in a column of dates and a yes in any other; and never a yes."""
    columns = {name: {"type": "string"} for name in ("email", column)}
    people = [record(**{"email": f"{said}@example.com", column: said}) for said in SAID]
    people.append(record(**{"email": "nothing@example.com", column: ""}))
    hint = next(h for h in mapping(*columns).hints if "opted out" in h)
    maps, _ = json.JSONDecoder().raw_decode(hint[hint.index('"stream_maps": ') + 15 :])
    ended = run_target(schema(columns, key=()), *people, stream_maps=maps, field_map={column: None})
    assert ended.code == 0, ended.errors
    nos = {"true", "Ja", "2026-01-31"} if column.endswith("at") else {"true", "Ja"}
    for contact in crm.contacts():
        said = contact["email"].partition("@")[0]
        assert contact["email_opt_in"] is (False if said in nos else None), said


SAID = ["true", "Ja", "2026-01-31"]
