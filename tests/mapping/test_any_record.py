"""Any record becomes a contact or a rejection, or is left out."""

import copy
import typing as t

from hypothesis import given, settings
from hypothesis import strategies as st

from target_mainbrainer.contacts import Contact, Rejection, RejectionCode, identity_of
from target_mainbrainer.errors import MappingError
from target_mainbrainer.mapping.mapper import Omitted, compile_mapping
from target_mainbrainer.settings.declared import StreamSettings
from tests.strategies import COLUMNS, LIKELY_RECORDS, RECORDS, TARGETS, VALUES

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
