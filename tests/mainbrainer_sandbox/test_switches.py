"""Every switch does what its help says; a switch without a test here fails the last test."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mainbrainer_sandbox.switches import DECLARED, UNKNOWN, SwitchError, Switches
from tests.mainbrainer_sandbox.people import A, B, prop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mainbrainer_sandbox.conftest import Client

    Make = Callable[..., Client]


def test_a_simulated_refusal_names_the_property(make: Make) -> None:
    crm = make(refuse_property="poison")
    body = crm.batch(A, {**B, "propertyFields": prop("poison")}).json()
    assert "createUpdateContacts[1].propertyFields: The contact is refused." in body["message"]
    assert body["data"]["invalidPropertiesList"][0]["propertyName"] == "poison"


# -- what processing does --------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "expected"), [("clear", {}), ("ignore", {"a": "1"})])
def test_an_empty_property_value(make: Make, policy: str, expected: dict[str, str]) -> None:
    crm = make(empty_values=policy)
    crm.single(**A, propertyFields=prop("a", "1"))
    crm.single(**A, propertyFields=prop("a", ""))
    assert crm.contacts()[0]["properties"] == expected


@pytest.mark.parametrize(("policy", "expected"), [("none", None), ("true", True)])
def test_consent_of_a_new_contact(make: Make, policy: str, expected: bool | None) -> None:
    crm = make(opt_in_on_insert=policy)
    crm.single(**A)
    assert crm.contacts()[0]["email_opt_in"] is expected


@pytest.mark.parametrize(("policy", "expected"), [("keep", True), ("reset", None)])
def test_consent_of_a_known_contact(make: Make, policy: str, expected: bool | None) -> None:
    crm = make(opt_in_on_update=policy)
    crm.single(**A, emailOptIn=True)
    crm.single(**A)
    assert crm.contacts()[0]["email_opt_in"] is expected


@pytest.mark.parametrize(("policy", "status"), [("allow", 202), ("conflict", 409)])
def test_a_clash(make: Make, policy: str, status: int) -> None:
    """The second contact would get the first one's identity; both wait in the queue still."""
    crm = make(clash=policy)
    crm.batch({"contactId": 1, **A}, {"contactId": 2, **B})
    response = crm.batch({"contactId": 2, **A})
    assert response.status_code == status
    emails = [one["email"] for one in crm.contacts()]
    assert emails == ["a@example.com", "a@example.com" if status == 202 else "b@example.com"]
    assert crm.batch({"contactId": 2, **B}).status_code == 202


def test_an_unknown_contact_id(make: Make) -> None:
    found = {}
    for policy in ("create", "create_new_id", "report"):
        crm = make(f"{policy}.db", unknown_contact_id=policy)
        response = crm.batch({"contactId": 7, **A})
        assert response.status_code == 202
        ids = [one["id"] for one in crm.contacts()]
        found[policy] = (ids, response.json()["data"]["InvalidContactIds"])
    assert found == {"create": ([7], []), "create_new_id": ([1000001], []), "report": ([], ["7"])}


def test_an_unknown_property(make: Make) -> None:
    found = {}
    for policy in ("create", "ignore", "report"):
        crm = make(f"{policy}.db", unknown_property=policy)
        response = crm.batch({**A, "propertyFields": [*prop("city"), *prop("shoe size")]})
        assert response.status_code == 202
        invalid = [one["propertyName"] for one in response.json()["data"]["InvalidProperties"]]
        found[policy] = (sorted(crm.contacts()[0]["properties"]), invalid)
    assert found == {
        "create": (["city", "shoe size"], []),
        "ignore": (["city"], []),
        "report": (["city"], ["shoe size"]),
    }


# -- the switches themselves -----------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        *({"no_such": 1}, {"clash": "maybe"}, {"clash": True}, {"burst": "many"}, {"burst": -1}),
        *({"token_lifetime_seconds": float("nan")}, {"plan": None}),
    ],
)
def test_a_wrong_switch_is_an_error_that_names_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(SwitchError, match=next(iter(wrong))):
        Switches().changed(**wrong)


def test_every_switch_says_what_is_not_known() -> None:
    for name, declared in DECLARED.items():
        text = declared.metadata["help"]
        assert text.endswith(".")
        assert (UNKNOWN in text) == (declared.metadata["group"] == "unknown"), name


def test_every_switch_is_tested() -> None:
    """By name, in one of the files of this folder."""
    used = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg:
                used.add(node.arg)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                used.add(node.value)
    assert set(DECLARED) - used == set()
