"""Contacts edited and deleted by hand, as people can in MainBrainer, and their history."""

import pytest

from mainbrainer_sandbox.file import StoreError
from tests.loads import cases
from tests.mainbrainer_sandbox.crm import A, B, Crm, Record, prop

MOBILE = {"mobileCountryCode": 44, "mobileNumber": 7700900001}
ADA: Record = {"email": "ada@example.com", "emailOptIn": True, **MOBILE}
ADA["propertyFields"] = prop("city", "London") + prop("Street", "Old")
PAGE = "/_sandbox/contacts/1000001"


@cases("selector", 1000001, "1000001", "ada@example.com", "+44 7700900001", ids=repr)
def test_a_contact_is_found_by_each_of_its_identifiers(crm: Crm, selector: int | str) -> None:
    crm.single(**ADA)
    for _ in range(2):  # the second changes nothing
        assert crm.sandbox.edit(selector, Street="New") == 1000001
    assert crm.contact["properties"] == {"city": "London", "Street": "New"}


def test_every_field_can_be_changed_and_emptied(crm: Crm) -> None:
    crm.single(**ADA)
    names = ("email", "mobile", "email_opt_in", "properties")
    crm.sandbox.edit(1000001, email="b@example.com", mobile="+47 90000001", email_opt_in=False)
    changed = ["b@example.com", "+47 90000001", False, {"city": "London", "Street": "Old"}]
    assert [crm.contact[name] for name in names] == changed
    crm.sandbox.edit(1000001, mobile=None, email_opt_in=None, city="")
    emptied = ["b@example.com", None, None, {"Street": "Old"}]
    assert [crm.contact[name] for name in names] == emptied


def test_an_address_edited_by_hand_is_what_later_batches_match(crm: Crm) -> None:
    """And the id of a contact that is deleted is not used again."""
    crm.single(**A)
    crm.sandbox.edit("a@example.com", email="b@example.com")
    assert crm.single(**B).json()["data"]["contactId"] == "1000001"
    assert crm.single(**A).json()["data"]["contactId"] == "1000002"
    crm.sandbox.delete(1000002)
    assert crm.emails == ["b@example.com"]
    assert crm.single(**A).json()["data"]["contactId"] == "1000003"


def test_what_was_accepted_before_is_processed_before_the_edit(crm: Crm) -> None:
    crm.sandbox.set_faults("late=0.2")
    crm.batch(ADA)
    crm.sandbox.edit("ada@example.com", city="Paris")
    assert crm.contact["properties"]["city"] == "Paris"


@cases(
    "selector changes said",
    *(("unknown", {"city": "x"}, "0 contacts"), ("twice", {"city": "x"}, "2 contacts")),
    *(("ada", {"cty": "x"}, "no property 'cty'"), ("ada", {"email_opt_in": "yes"}, "true, false")),
    ("ada", {"mobile": "+4790000001"}, "is written"),
)
def test_a_wrong_edit_changes_nothing(crm: Crm, selector: str, changes: Record, said: str) -> None:
    twice = {"email": "twice@example.com"}
    crm.batch(ADA, twice, {**twice, "mobileCountryCode": 44, "mobileNumber": 7700900002})
    before = crm.contacts()
    with pytest.raises(StoreError, match=said):
        crm.sandbox.edit(f"{selector}@example.com", **changes)
    assert crm.contacts() == before


def test_the_page_edits_and_deletes(crm: Crm) -> None:
    """But not for a page of another site."""
    crm.single(**ADA)
    form = {"city": "Paris", "Street": "", "email_opt_in": "false", "mobile": "+44 7700900001"}
    saved = crm.ask("POST", PAGE, data=form)
    assert (saved.status_code, saved.history[0].status_code) == (200, 303)
    assert crm.contact["properties"] == {"city": "Paris"}
    assert crm.contact["email_opt_in"] is False
    assert crm.ask("POST", PAGE, data={"cty": "x"}).status_code == 400
    refused = crm.ask("POST", f"{PAGE}/delete", headers={"Sec-Fetch-Site": "cross-site"})
    assert (refused.status_code, len(crm.contacts())) == (403, 1)
    assert crm.ask("POST", f"{PAGE}/delete").status_code == 200
    assert crm.contacts() == []


def test_the_command_edits_and_deletes(crm: Crm) -> None:
    """A file that is in use can be looked at only."""
    path = crm.file("file.db", ADA)
    crm.prints("edit", path, "ada@example.com", "city=Paris", "Street=")
    shown = crm.prints("contacts", path)
    assert ("Paris" in shown, "Old" in shown) == (True, False)
    assert crm.run("edit", "--path", path, "unknown@example.com", "city=x")[0] == 2
    crm.prints("delete", path, "+44 7700900001")
    assert "ada" not in crm.prints("contacts", path)
    crm.single(**ADA)
    assert "ada@example.com" in crm.prints("contacts", crm.sandbox.path)
    code, _, err = crm.run("delete", "--path", crm.sandbox.path, "ada@example.com")
    assert (code, "in use" in err) == (2, True)
