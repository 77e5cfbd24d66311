"""What is kept from one start to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mainbrainer_sandbox.conftest import Client


def test_contacts_survive_a_restart_and_ids_go_on(make: Callable[..., Client]) -> None:
    crm = make()
    crm.single(email="a@example.com")
    numbers = [one.number for one in crm.sandbox.requests()]
    crm.sandbox.close()
    crm = make()
    assert crm.single(email="a@example.com").json()["data"]["contactId"] == "1000001"
    assert crm.single(email="b@example.com").json()["data"]["contactId"] == "1000002"
    assert [one.number for one in crm.sandbox.requests()] == [*numbers, 2, 3]


def test_generated_ids_skip_those_that_contacts_brought(crm: Client) -> None:
    crm.batch({"contactId": 1000001}, {"contactId": 1000003})
    crm.batch(*({"email": f"{name}@example.com"} for name in "abc"))
    ids = [one["id"] for one in crm.contacts() if one["email"]]
    assert ids == [1000002, 1000004, 1000005]
