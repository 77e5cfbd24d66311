"""How refusals are said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mainbrainer_sandbox.people import A

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mainbrainer_sandbox.conftest import Client


@pytest.mark.parametrize(("names", "count"), [("all", 2), ("first", 1), ("none", 0)])
def test_a_refusal_names_whom_it_is_told_to(
    make: Callable[..., Client], names: str, count: int
) -> None:
    crm = make(refusal_names=names)
    body = crm.batch(A, {"contactId": 5, "email": "no"}, {"contactId": 6, "email": "no"}).json()
    assert len(body["data"]["invalidContactIdList"]) == count
    assert body["message"].count("createUpdateContacts") == count


def test_errors_come_in_the_form_of_choice(make: Callable[..., Client]) -> None:
    crm = make()
    for form in ("envelope", "problem", "html", "empty"):
        crm.sandbox.set_switches(error_body=form)
        response = crm.batch({"email": "no"})
        assert response.status_code == 422
        if form == "envelope":
            assert response.json()["status"] == "Failed"
        elif form == "problem":
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.json()["errors"] == {
                "createUpdateContacts[0].email": ["It is not an e-mail address."]
            }
        elif form == "html":
            assert response.text.startswith("<!DOCTYPE html>")
        else:
            assert response.content == b""
