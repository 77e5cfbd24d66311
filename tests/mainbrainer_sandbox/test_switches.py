"""Every switch does what its help says; a switch without a test here fails the last test."""

import ast
import typing as t
from pathlib import Path

import pytest

from mainbrainer_sandbox.switches import DECLARED, UNKNOWN, SwitchError, Switches
from tests.cases import cases
from tests.mainbrainer_sandbox.crm import A, B, Crm, Record, a, prop

# What processing does


@cases(
    "switch policy sent field expected",
    ("empty_values", "clear", [a(prop("a", "1")), a(prop("a", ""))], "properties", {}),
    ("empty_values", "ignore", [a(prop("a", "1")), a(prop("a", ""))], "properties", {"a": "1"}),
    ("opt_in_on_insert", "none", [A], "email_opt_in", None),
    ("opt_in_on_insert", "true", [A], "email_opt_in", True),
    ("opt_in_on_update", "keep", [{**A, "emailOptIn": True}, A], "email_opt_in", True),
    ("opt_in_on_update", "reset", [{**A, "emailOptIn": True}, A], "email_opt_in", None),
)
def test_empty_values_and_consent_that_is_not_sent(
    crm: Crm, switch: str, policy: str, sent: list[Record], field: str, expected: object
) -> None:
    crm.sandbox.set_switches(**{switch: policy})
    for contact in sent:
        crm.single(**contact)
    assert crm.contact[field] == expected


@cases("policy status", ("allow", 202), ("conflict", 409))
def test_a_clash(crm: Crm, policy: str, status: int) -> None:
    """The second contact would get the first one's identity; both wait in the queue still."""
    crm.sandbox.set_switches(clash=policy)
    crm.batch({"contactId": 1, **A}, {"contactId": 2, **B})
    assert crm.batch({"contactId": 2, **A}).status_code == status
    assert crm.emails == ["a@example.com", "a@example.com" if status == 202 else "b@example.com"]
    assert crm.batch({"contactId": 2, **B}).status_code == 202


@cases(
    "policy ids invalid",
    ("create", [7], []),
    ("create_new_id", [1000001], []),
    ("report", [], ["7"]),
)
def test_an_unknown_contact_id(crm: Crm, policy: str, ids: list[int], invalid: list[str]) -> None:
    crm.sandbox.set_switches(unknown_contact_id=policy)
    response = crm.batch({"contactId": 7, **A})
    assert response.status_code == 202
    assert [one["id"] for one in crm.contacts()] == ids
    assert response.json()["data"]["InvalidContactIds"] == invalid


@cases(
    "policy names invalid",
    *(("create", {"city", "shoe size"}, []), ("ignore", {"city"}, [])),
    ("report", {"city"}, ["shoe size"]),
)
def test_an_unknown_property(crm: Crm, policy: str, names: set[str], invalid: list[str]) -> None:
    crm.sandbox.set_switches(unknown_property=policy)
    response = crm.batch(a(prop("city"), prop("shoe size")))
    assert response.status_code == 202
    assert crm.contact["properties"].keys() == names
    found = response.json()["data"]["InvalidProperties"]
    assert [one["propertyName"] for one in found] == invalid


# The switches themselves


@cases(
    "wrong",
    *({"no_such": 1}, {"clash": "maybe"}, {"clash": True}, {"burst": "many"}, {"burst": -1}),
    *({"token_lifetime_seconds": float("nan")}, {"plan": None}),
)
def test_a_wrong_switch_is_an_error_that_names_it(wrong: dict[str, t.Any]) -> None:
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
            used.add(getattr(node, "arg", None))
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                used.add(node.value)
    assert set(DECLARED) - used == set()
