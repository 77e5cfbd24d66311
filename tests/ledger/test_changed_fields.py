"""Only the changed fields: what leaves of a contact that the CRM has."""

from __future__ import annotations

import pytest

from tests.ledger.outside import Night, person


def properties_sent(night: Night) -> list[set[str]]:
    """Return the names of the properties of each contact of the last request."""
    bodies = [request.body for request in night.crm.requests() if request.body]
    contacts = bodies[-1]["createUpdateContacts"]
    return [{one["propertyname"] for one in c.get("propertyfields") or []} for c in contacts]


@pytest.mark.parametrize("steps", [["p1"], ["step", "other"]])
def test_only_what_has_changed_leaves(night: Night, steps: list[str]) -> None:
    """Also of a person whose address changes, several times in one load."""
    night(person(1, city="Oslo"))
    night.edit("p1", firstname="By hand")
    night(*(person(1, one, city="Bergen") for one in steps)).ok()
    assert properties_sent(night) == [{"city"}]
    contact = night.contacts[steps[-1]]["properties"]
    assert (contact["firstname"], contact["city"]) == ("By hand", "Bergen")
    assert len(night.addresses) == 1


def test_everything_leaves_with_send_and_is_remembered(night: Night) -> None:
    """Of contacts that have changed and of others."""
    night(person(1), person(2))
    changed = person(1, firstname="Changed"), person(2)
    assert night(*changed, unchanged_contacts="send").ok().count("accepted") == 2
    assert properties_sent(night) == [{"id", "firstname"}] * 2
    assert night(*changed).numbers == {"read": 2, "unchanged": 2}


@pytest.mark.parametrize(
    ("identity_changes", "has_it"), [("follow", [False]), ("create", [False, True])]
)
def test_what_is_sent_once_goes_to_every_new_contact_and_to_no_other(
    night: Night, identity_changes: str, has_it: list[bool]
) -> None:
    """A person who is not followed gets a new contact, and so its first source."""
    night.settings["field_map"] = {"firstname": {"property_name": "source", "send": "once"}}
    night.settings["identity_changes"] = identity_changes
    night(person(1, firstname="web"))
    night.edit("p1", source="")
    night(person(1, firstname="shop"))
    assert "source" not in night.contacts["p1"]["properties"]
    night(person(1, "new", firstname="web")).ok()
    contacts = sorted(night.crm.contacts(), key=lambda one: one["id"])
    assert ["source" in one["properties"] for one in contacts] == has_it
