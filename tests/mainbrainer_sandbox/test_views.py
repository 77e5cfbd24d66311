"""What can be read of a file, also while a sandbox writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.mainbrainer_sandbox.people import ADA

if TYPE_CHECKING:
    from tests.mainbrainer_sandbox.conftest import Client, Run


def test_one_person_that_moves_stays_one_contact_with_a_history(crm: Client) -> None:
    crm.single(email="a@example.com", emailOptIn=True)
    crm.single(contactId=1000001, email="b@example.com", emailOptIn=False)
    assert [one["email"] for one in crm.contacts()] == ["b@example.com"]
    moved, created = crm.sandbox.history(1000001)
    assert [(one["what"], one["before"], one["after"]) for one in moved["changes"]] == [
        ("e-mail", "a@example.com", "b@example.com"),
        ("e-mail opt-in", True, False),
    ]
    assert [(one["what"], one["after"]) for one in created["changes"]] == [
        ("created", 1000001),
        ("e-mail", "a@example.com"),
        ("e-mail opt-in", True),
    ]


def test_a_file_can_be_looked_at_while_it_is_in_use(crm: Client, run_command: Run) -> None:
    crm.single(**ADA)
    code, out, _ = run_command("contacts", "--path", crm.sandbox.path)
    assert (code, "ada@example.com" in out) == (0, True)
    code, _, err = run_command("delete", "--path", crm.sandbox.path, "ada@example.com")
    assert (code, "in use" in err) == (2, True)
