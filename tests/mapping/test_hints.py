"""What the log points at, and what it leaves alone."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.config.settings import StreamSettings
from target_mainbrainer.contacts import PropertyRef
from target_mainbrainer.mapping.columns import consent_lookalikes, lookalikes, sensitive_columns_of
from target_mainbrainer.mapping.mapper import StreamMapping, compile_mapping

EMAIL = """
e_post E-post epost epostadresse e-postadress Email e-mail mail mailadresse email_address EMAIL2
sähköposti sähköpostiosoite netfang work_email kunde_epost
"""
MOBILE = """
mobil Mobilnummer mobilnr mobile_phone mobiltelefon telefon telefonnummer Telefon-Nr. tlf tlfnr
phone phone_number cell cellphone msisdn gsm handy Handynummer puhelin puhelinnumero matkapuhelin
farsími
símanúmer sms_number work_phone kontakt_tlf2
"""
CONSENT = """
sms send_sms sms_ok email_ok samtykke samtykke_epost samtykke_sms samtycke suostumus samþykki
einwilligung nyhetsbrev nyhedsbrev uutiskirje newsletter opt_in optInEmail email_consent
sms_consent mobil_samtykke marketing_email avmeldt reservert markkinointilupa
"""
NEITHER = "city mailing_list idea postnummer postcode mobility telemetry emailed_at notes sim_lock"


def roles(*columns: str) -> dict[str, t.Any]:
    return {column: PropertyRef(None, column) for column in columns}


@pytest.mark.parametrize("column", EMAIL.split())
def test_a_column_named_like_an_address_is_pointed_at(column: str) -> None:
    assert lookalikes(roles(column)) == [(column, "email")]


@pytest.mark.parametrize("column", MOBILE.split())
def test_a_column_named_like_a_number_is_pointed_at(column: str) -> None:
    assert lookalikes(roles(column)) == [(column, "mobile")]


@pytest.mark.parametrize("column", CONSENT.split())
def test_a_column_of_consent_is_never_taken_for_an_identifier(column: str) -> None:
    assert lookalikes(roles(column)) == []
    assert consent_lookalikes(roles(column)) == [column]


@pytest.mark.parametrize("column", NEITHER.split())
def test_other_columns_are_left_alone(column: str) -> None:
    assert lookalikes(roles(column)) == []
    assert consent_lookalikes(roles(column)) == []


def test_a_column_of_true_and_false_is_no_identifier() -> None:
    assert lookalikes(roles("mobil", "e_post"), booleans=["mobil"]) == [("e_post", "email")]


def mapping(*columns: str, **settings: t.Any) -> StreamMapping:
    schema: dict[str, t.Any] = {"properties": {column: {} for column in columns}}
    return compile_mapping("people", schema, [], StreamSettings(**settings))


def test_what_may_identify_gets_one_hint_and_consent_another() -> None:
    identifiers, consent = mapping("id", "e_post", "mobil", "sms", "idea").hints
    assert identifiers == (
        "Stream 'people': 'id', 'e_post' and 'mobil' may identify contacts but are not mapped. If "
        'so, add what fits of: "field_map": {"id": "contact_id", "e_post": "email", '
        '"mobil": "mobile"}. A contact_id is MainBrainer\'s own id of a contact, and no other '
        "system's."
    )
    assert consent == (
        "Stream 'people': 'sms' may say what people have consented to. If so, map what fits to "
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
