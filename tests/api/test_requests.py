"""Bodies are spelt as the pages of their endpoints spell them."""

import json
import typing as t

from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.api.requests import encode_batch, encode_single
from target_mainbrainer.contacts import Contact, Mobile, PropertyRef

LIST_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
ZIP_ID = "8e8b8450-dc1b-4360-8109-7067337b42cb"
REFS = [PropertyRef(LIST_ID, "firstname"), PropertyRef(None, "lastname"), PropertyRef(ZIP_ID, None)]
PROPERTIES = dict(zip(REFS, ["jennifer", "merg", "0236"], strict=True))
EMAIL = "apitest@example.com"
JENNIFER = Contact(234567, Mobile(47, 90812501), EMAIL, True, True, PROPERTIES)
MARK = Contact(mobile=Mobile(47, 93454496), mobile_opt_in=False)
NUMBER = {"contactId": 234567, "mobileCountryCode": 47, "mobileNumber": 90812501}
FIELDS = {**NUMBER, "mobileOptIn": True, "email": EMAIL, "emailOptIn": True}


def test_a_batch_is_spelt_as_on_the_batch_page() -> None:
    body = encode_batch([JENNIFER, MARK], LIST_ID, "https://hook.example.com")
    properties = [
        {"propertyid": LIST_ID, "propertyname": "firstname", "propertyvalue": "jennifer"},
        {"propertyname": "lastname", "propertyvalue": "merg"},
        {"propertyid": ZIP_ID, "propertyvalue": "0236"},
    ]
    sent: list[t.Any] = [{**FIELDS, "propertyfields": properties}]
    sent.append({"mobileCountryCode": 47, "mobileNumber": 93454496, "mobileOptIn": False})
    expected = {"listId": LIST_ID, "createUpdateContacts": sent}
    assert json.loads(body) == expected | {"webhookUrl": "https://hook.example.com"}


def test_a_single_contact_is_spelt_as_on_its_own_page() -> None:
    properties = [
        {"propertyId": LIST_ID, "propertyName": "firstname", "propertyValue": "jennifer"},
        {"propertyName": "lastname", "propertyValue": "merg"},
        {"propertyId": ZIP_ID, "propertyValue": "0236"},
    ]
    expected = {"listId": LIST_ID, **FIELDS, "propertyFields": properties}
    assert json.loads(encode_single(JENNIFER, list_id=LIST_ID)) == expected


def test_what_is_absent_is_left_out_and_what_is_cleared_is_not() -> None:
    contact = Contact(email=EMAIL, properties={PropertyRef(None, "zip"): ""})
    batch = {"propertyfields": [{"propertyname": "zip", "propertyvalue": ""}]}
    assert json.loads(encode_batch([contact])) == {
        "createUpdateContacts": [{"email": EMAIL, **batch}]
    }
    single = {"propertyFields": [{"propertyName": "zip", "propertyValue": ""}]}
    assert json.loads(encode_single(contact)) == {"email": EMAIL, **single}


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=8), st.emails())
def test_any_text_survives_the_wire(properties: dict[str, str], email: str) -> None:
    refs = {PropertyRef(None, name): value for name, value in properties.items()}
    body = encode_batch([Contact(email=email, properties=refs)])
    (read,) = json.loads(body)["createUpdateContacts"]
    fields = read.get("propertyfields", [])
    assert read["email"] == email
    assert {item["propertyname"]: item["propertyvalue"] for item in fields} == properties
