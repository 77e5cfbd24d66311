"""Only the changed fields: what leaves of a contact that the CRM has."""

from __future__ import annotations

import typing as t

import pytest

from tests.ledger.outside import by_address, night, person

if t.TYPE_CHECKING:
    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Record, RunTarget


@pytest.fixture
def sent(crm: RunningSandbox) -> t.Callable[[], list[set[str]]]:
    """Return the names of the properties of each contact of the last request."""

    def names() -> list[set[str]]:
        bodies = [request.body for request in crm.requests() if request.body]
        contacts = bodies[-1]["createUpdateContacts"]
        return [{one["propertyname"] for one in c.get("propertyfields") or []} for c in contacts]

    return names


@pytest.mark.parametrize("address", ["p1", "other"])
def test_only_what_has_changed_leaves(
    run_target: RunTarget, crm: RunningSandbox, sent: t.Callable[[], list[set[str]]], address: str
) -> None:
    """Also of a person whose address changes, several times in one load."""
    run_target(*night(person(1, city="Oslo")))
    (contact,) = crm.contacts()
    crm.edit(contact["id"], firstname="By hand")
    steps = ["step", address] if address != "p1" else [address]
    people = [person(1, one, city="Bergen") for one in steps]
    run_target(*night(*people)).ok()
    assert sent() == [{"city"}]
    (contact,) = crm.contacts()
    assert contact["email"] == f"{address}@example.com"
    assert contact["properties"]["firstname"] == "By hand"
    assert contact["properties"]["city"] == "Bergen"


def test_everything_leaves_with_send(
    run_target: RunTarget, sent: t.Callable[[], list[set[str]]]
) -> None:
    """Of contacts that have changed and of others."""
    run_target(*night(person(1), person(2)))
    changed = night(person(1, firstname="Changed"), person(2))
    run_target(*changed, unchanged_contacts="send").ok()
    assert sent() == [{"id", "firstname"}] * 2


@pytest.mark.parametrize(
    ("identity_changes", "has_it"), [("follow", [False]), ("create", [False, True])]
)
def test_what_is_sent_once_goes_to_every_new_contact_and_to_no_other(
    run_target: RunTarget, crm: RunningSandbox, identity_changes: str, has_it: list[bool]
) -> None:
    """A person who is not followed gets a new contact, and so its first source."""
    config: Record = {
        "field_map": {"firstname": {"property_name": "source", "send": "once"}},
        "identity_changes": identity_changes,
    }
    run_target(*night(person(1, firstname="web")), **config)
    crm.edit("p1@example.com", source="")
    run_target(*night(person(1, firstname="shop")), **config)
    assert "source" not in by_address(crm)["p1"]["properties"]
    run_target(*night(person(1, "new", firstname="web")), **config).ok()
    contacts = sorted(crm.contacts(), key=lambda one: one["id"])
    assert ["source" in one["properties"] for one in contacts] == has_it
