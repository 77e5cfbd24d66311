"""Identification, partial update and consent, by table and against a tiny model."""

import itertools
import typing as t

from hypothesis import given
from hypothesis import strategies as st

from mainbrainer_sandbox import rules
from mainbrainer_sandbox.rules import Contact, Known, Sent
from mainbrainer_sandbox.switches import Switches

mobiles = st.sampled_from([(None, None), (44, 7700900001), (44, 7700900002), (1, 2025550101)])
emails = st.sampled_from([None, "a@example.com", "A@example.com", "b@example.com"])
consents = st.sampled_from([None, True, False])
values = st.dictionaries(st.sampled_from("xyz"), st.sampled_from([None, "1", "2"]), max_size=3)


ids, lists = st.sampled_from([None, None, 100, 101, 7]), st.sampled_from([None, "l", "m"])


@st.composite
def sents(draw: st.DrawFn) -> Sent:
    contact_id, mobile, email = draw(ids), draw(mobiles), draw(emails)
    has_identity = contact_id or mobile[1] or email
    opt_ins = draw(consents), draw(consents)
    identity = (contact_id, *mobile, email if has_identity else "c@example.com")
    return Sent(*identity, *opt_ins, draw(values), draw(lists))


class Model:
    """The pages' rules again, as slow and plain as can be."""

    def __init__(self) -> None:
        self.contacts: dict[int, dict[str, t.Any]] = {}

    def upsert(self, sent: Sent) -> None:
        fields = fields_of(sent)
        found = sent.contact_id
        if found is None:
            identity = (fields["mobile"], fields["email"])
            same = [n for n, c in self.contacts.items() if (c["mobile"], c["email"]) == identity]
            new = next(n for n in itertools.count(100) if n not in self.contacts)
            found = min(same) if same else new
        empty = dict.fromkeys(("mobile", "email", "sms", "mail")) | {"lists": set()}
        contact = self.contacts.setdefault(found, empty)
        contact |= {name: value for name, value in fields.items() if value is not None}
        contact["lists"] |= {sent.list_id} - {None}
        contact |= {f"property {key}": value for key, value in sent.properties.items()}


def fields_of(one: Sent | Contact) -> dict[str, t.Any]:
    number = one.mobile_number
    mobile = None if number is None else (one.mobile_country_code, number)
    consent = {"sms": one.mobile_opt_in, "mail": one.email_opt_in}
    return {"mobile": mobile, "email": one.email} | consent


def as_model(contact: Contact) -> dict[str, t.Any]:
    properties = {f"property {key}": value for key, value in contact.properties.items()}
    return fields_of(contact) | {"lists": set(contact.lists)} | properties


@given(st.lists(st.lists(sents(), max_size=4), max_size=5))
def test_batches_do_what_the_model_does(batches: list[list[Sent]]) -> None:
    """However requests are cut, the outcome is that of one contact after the other.

    Each batch sees only the contacts that `identities_to_look_up` asks for, as in the store.
    """
    contacts: dict[int, Contact] = {}
    model = Model()

    def new_id() -> int:
        # Where a contact brought its own id, the store skips that too.
        return next(n for n in itertools.count(100) if n not in contacts and n not in fresh)

    for batch in batches:
        ids = {sent.contact_id for sent in batch}
        keys = rules.identities_to_look_up(batch, [o for o in contacts.values() if o.id in ids])
        seen = [o for o in contacts.values() if o.id in ids or rules.identity_of(o) in keys]
        known = Known(seen)
        fresh = known.by_id
        done = rules.apply(batch, known, Switches(), new_id)
        assert len(done.inserted) + len(done.updated) == len(batch)
        contacts.update(done.touched)
        for sent in batch:
            model.upsert(sent)
    expected = {
        number: {key: value for key, value in one.items() if value is not None or " " not in key}
        for number, one in model.contacts.items()
    }
    assert {one.id: as_model(one) for one in contacts.values()} == expected
