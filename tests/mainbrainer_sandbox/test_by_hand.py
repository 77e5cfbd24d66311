"""Contacts edited and deleted by hand, as people can in MainBrainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from mainbrainer_sandbox.file import StoreError
from mainbrainer_sandbox.views import View
from tests.mainbrainer_sandbox.people import A, B, prop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mainbrainer_sandbox.conftest import Client, Run

MOBILE = {"mobileCountryCode": 44, "mobileNumber": 7700900001}
ADA = {"email": "ada@example.com", "emailOptIn": True, **MOBILE}
ADA["propertyFields"] = prop("city", "London") + prop("Street", "Old")


def test_a_contact_is_found_by_each_of_its_identifiers(crm: Client) -> None:
    crm.single(**ADA)
    for selector in (1000001, "1000001", "ada@example.com", "+44 7700900001"):
        assert crm.sandbox.edit(selector, Street="New") == 1000001
    (contact,) = crm.contacts()
    assert contact["properties"] == {"city": "London", "Street": "New"}


def test_every_field_can_be_changed_and_emptied(crm: Client) -> None:
    crm.single(**ADA)
    crm.sandbox.edit(1000001, email="b@example.com", mobile="+47 90000001", email_opt_in=False)
    (contact,) = crm.contacts()
    assert (contact["email"], contact["mobile"]) == ("b@example.com", "+47 90000001")
    assert contact["email_opt_in"] is False
    crm.sandbox.edit(1000001, mobile=None, email_opt_in=None, city="")
    (contact,) = crm.contacts()
    assert (contact["mobile"], contact["email_opt_in"]) == (None, None)
    assert contact["properties"] == {"Street": "Old"}


def test_an_address_edited_by_hand_is_what_later_batches_match(crm: Client) -> None:
    """And the id of a contact that is deleted is not used again."""
    crm.single(**A)
    crm.sandbox.edit("a@example.com", email="b@example.com")
    assert crm.single(**B).json()["data"]["contactId"] == "1000001"
    assert crm.single(**A).json()["data"]["contactId"] == "1000002"
    crm.sandbox.delete(1000002)
    assert [one["email"] for one in crm.contacts()] == ["b@example.com"]
    assert crm.single(**A).json()["data"]["contactId"] == "1000003"


def test_what_was_accepted_before_is_processed_before_the_edit(make: Callable[..., Client]) -> None:
    crm = make(faults=["late=0.2"])
    crm.batch(ADA)
    crm.sandbox.edit("ada@example.com", city="Paris")
    assert crm.contacts()[0]["properties"]["city"] == "Paris"


@pytest.mark.parametrize(
    ("selector", "changes", "message"),
    [
        ("nobody@example.com", {"city": "x"}, "0 contacts"),
        ("twice@example.com", {"city": "x"}, "2 contacts"),
        ("ada@example.com", {"cty": "x"}, "no property 'cty'"),
        ("ada@example.com", {"mobile": "+4790000001"}, "is written"),
        ("ada@example.com", {"email_opt_in": "yes"}, "true, false"),
    ],
)
def test_a_wrong_edit_changes_nothing(
    crm: Client, selector: str, changes: dict[str, Any], message: str
) -> None:
    twice = {"email": "twice@example.com"}
    crm.batch(ADA, twice, {**twice, "mobileCountryCode": 44, "mobileNumber": 7700900002})
    before = crm.contacts()
    with pytest.raises(StoreError, match=message):
        crm.sandbox.edit(selector, **changes)
    assert crm.contacts() == before


def test_the_history_says_what_was_done_by_hand_and_by_which_batch(crm: Client) -> None:
    crm.single(**ADA)
    crm.sandbox.edit(1000001, city="Paris")
    crm.single(**{**ADA, "emailOptIn": False, "propertyFields": []})
    assert [entry["batch"] for entry in crm.sandbox.history(1000001)] == [2, None, 1]
    with View(crm.sandbox.path) as view:
        written = view.written(1000001)
    assert (written["property city"], written["e-mail opt-in"]) == (None, 2)
    assert (written["e-mail"], written["created"]) == (1, 1)
    page = crm.get("/_sandbox/contacts/1000001").text
    assert "by hand" in page
    assert "by batch 2" in page


def test_the_page_edits_and_deletes(crm: Client) -> None:
    crm.single(**ADA)
    url = f"{crm.sandbox.url}/_sandbox/contacts/1000001"
    form = {"city": "Paris", "Street": "", "email_opt_in": "false", "mobile": "+44 7700900001"}
    saved = requests.post(url, data=form, timeout=20)
    assert (saved.status_code, saved.history[0].status_code) == (200, 303)
    (contact,) = crm.contacts()
    assert contact["properties"] == {"city": "Paris"}
    assert contact["email_opt_in"] is False
    assert requests.post(url, data={"cty": "x"}, timeout=20).status_code == 400
    assert requests.post(f"{url}/delete", timeout=20).status_code == 200
    assert crm.contacts() == []


def test_a_page_of_another_site_edits_nothing(crm: Client) -> None:
    crm.single(**ADA)
    url = f"{crm.sandbox.url}/_sandbox/contacts/1000001/delete"
    refused = requests.post(url, headers={"Sec-Fetch-Site": "cross-site"}, timeout=20)
    assert refused.status_code == 403
    assert len(crm.contacts()) == 1


def test_the_command_edits_and_deletes(
    filled: Callable[..., Path], run_command: Run, crm: Client
) -> None:
    path = filled("file.db", ADA)
    assert run_command("edit", "--path", path, "ada@example.com", "city=Paris", "Street=")[0] == 0
    assert "Paris" in run_command("contacts", "--path", path)[1]
    assert "Old" not in run_command("contacts", "--path", path)[1]
    assert run_command("edit", "--path", path, "nobody@example.com", "city=x")[0] == 2
    assert run_command("delete", "--path", path, "+44 7700900001")[0] == 0
    assert "ada" not in run_command("contacts", "--path", path)[1]
    code, _, err = run_command("delete", "--path", crm.sandbox.path, "1")
    assert (code, "in use" in err) == (2, True)
