"""From a request body to contacts, or to the reasons to refuse it.

This happens while the client waits. It rests on sections 4 and 5 of the API note: for
one wrong contact the whole request is refused, and nothing of it is applied. No server,
no file, no clock.
"""

from __future__ import annotations

import re
from collections import ChainMap
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import msgspec

from mainbrainer_sandbox.rules import INT64, Applied, Sent

if TYPE_CHECKING:
    from mainbrainer_sandbox.switches import Switches

T = TypeVar("T")

MAX_CONTACTS = 1000
MAX_EMAIL = 254
E164_DIGITS = 15
SHORTEST_NATIONAL = 3

# One @ with something before it and a dotted host name after it. No look-ups, and no more than
# that: what MainBrainer checks is unknown.
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@(?:[^@.,;\s\x00-\x1f]+\.)+[^@.,;\s\x00-\x1f]{2,}")
_URL = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[::1\])(?::[0-9]{1,5})?(?:[/?#][!-~]*)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

UNREADABLE = (msgspec.MsgspecError, RecursionError, ValueError)
"""Errors of reading a body as JSON: it is not JSON, nested too deeply, or not UTF-8."""

_Int32 = Annotated[int, msgspec.Meta(le=2**31 - 1)]
_Int64 = Annotated[int, msgspec.Meta(le=INT64)]
# "In case no Opt-in Status send Blank" (the batch page): blank is as good as nothing.
_Consent = bool | Literal[""] | None


class _Body(msgspec.Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """A part of a request, with keys as the OpenAPI reference spells them."""


class _Property(_Body):
    property_id: str | None = None
    property_name: str | None = None
    property_value: str | None = None


class _Contact(_Body):
    list_id: str | None = None
    contact_id: _Int64 | None = None
    mobile_country_code: _Int32 | None = None
    mobile_number: _Int64 | None = None
    mobile_opt_in: _Consent = None
    email: str | None = None
    email_opt_in: _Consent = None
    property_fields: list[_Property] | None = None


class _Batch(_Body):
    create_update_contacts: list[_Contact]
    list_id: str | None = None
    web_hook_url: str | None = None


class TokenRequest(_Body):
    """The body of `POST /token`."""

    user_name: str
    password: str
    private_token: str
    validity: Literal["Default", "ShortLive", "LongLive"] | None = None


_SPELLINGS = {
    key.lower(): key
    for body in (_Property, _Contact, _Batch, TokenRequest)
    for key in body.__struct_encode_fields__
}


class Problem(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One reason why something was not accepted; it never contains a contact's data.

    Attributes:
        where: The place in the request, such as `createUpdateContacts[3].email`.
        text: A sentence.
        status: The status that this problem alone would be answered with.
        property_id, property_name: The property at fault.
        contact_id: The contact id that was sent with it.
    """

    where: str
    text: str
    status: int = 422
    property_id: str | None = None
    property_name: str | None = None
    contact_id: int | None = None


class Reading(msgspec.Struct):
    """A request after reading.

    Attributes:
        contacts: The contacts, in the order of the request.
        problems: Why it is refused; if there is one, nothing of it may be applied.
        reported: What is left out although the request is accepted.
        properties: Properties that the request creates if it is accepted.
        sent: How many contacts the request contains.
    """

    contacts: list[Sent] = []
    problems: list[Problem] = []
    reported: list[Problem] = []
    properties: dict[str, str] = {}
    list_id: str | None = None
    webhook_url: str | None = None
    sent: int = 0


class RefusedError(Exception):
    """Ends the reading of a request or of one contact."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


def _refuse(
    where: str,
    text: str,
    status: int = 422,
    property_id: str | None = None,
    name: str | None = None,
) -> NoReturn:
    """End the reading with a `Problem` of these arguments."""
    raise RefusedError(Problem(where, text, status, property_id, name))


def decode(raw: bytes, kind: type[T]) -> T:
    """Return a body as parsed; keys are understood in any casing, unknown ones are ignored.

    Raises:
        RefusedError: It is not JSON, or something in it is of another type.
    """
    try:
        try:
            return msgspec.json.decode(raw, type=kind)
        except msgspec.ValidationError:
            return msgspec.convert(_respelt(msgspec.json.decode(raw)), kind)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at ")
        where = place.strip("`").removeprefix("$").removeprefix(".")
        raise RefusedError(Problem(where, f"{text}.", 400)) from None
    except UNREADABLE:
        raise RefusedError(Problem("", "The body is not JSON.", 400)) from None


def _respelt(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return JSON with the keys that are known as the OpenAPI reference spells them."""
    if type(value) is list:
        return [_respelt(one) for one in value]
    if type(value) is dict:
        known = {key: _SPELLINGS.get(key.lower()) for key in value}
        return {name: _respelt(value[key]) for key, name in known.items() if name is not None}
    return value


def read(raw: bytes, kind: str, switches: Switches, properties: dict[str, str]) -> Reading:
    """Read the body of `POST /contacts/batch`, or of `/contacts/insertupdate` for `single`."""
    reading = Reading()
    reader = _ContactReader(switches, properties, reading)
    place = "createUpdateContacts[{}]." if kind == "batch" else ""
    try:
        if kind == "batch":
            batch = decode(raw, _Batch)
            contacts = batch.create_update_contacts
            reading.sent = len(contacts)
            reading.list_id = reader.list_id(batch.list_id)
            reading.webhook_url = _webhook(batch.web_hook_url)
            if not 0 < reading.sent <= MAX_CONTACTS:
                _refuse("createUpdateContacts", f"A request contains 1 to {MAX_CONTACTS}.", 400)
        else:
            contacts, reading.sent = [decode(raw, _Contact)], 1
    except RefusedError as refused:
        reading.problems.append(refused.problem)
        return reading
    for index, contact in enumerate(contacts):
        try:
            reading.contacts.append(reader.contact(contact))
        except RefusedError as refused:
            problem = refused.problem
            where = f"{place.format(index)}{problem.where}".removesuffix(".")
            reading.problems.append(
                msgspec.structs.replace(problem, where=where, contact_id=contact.contact_id)
            )
    reading.properties = reader.created
    return reading


def problems_ahead(
    reading: Reading, ahead: Applied, switches: Switches, kind: str
) -> list[Problem]:
    """Return or report the problems that depend on the contacts there are.

    Args:
        reading: The request.
        ahead: What processing it now would do.
        switches: Decide what is a problem.
        kind: "batch", or anything else for a single contact.
    """
    place = "createUpdateContacts[{}].contactId" if kind == "batch" else "contactId"

    def problem(at: int, text: str, status: int) -> Problem:
        contact_id = reading.contacts[at].contact_id
        return Problem(place.format(at), text, status, contact_id=contact_id)

    text = "Another contact has this mobile and e-mail."
    clashes = [problem(at, text, 409) for at in ahead.clashes if switches.clash == "conflict"]
    text = "No contact has this contact id."
    unknown = [problem(at, text, 422) for at in ahead.unknown_ids]
    if switches.unknown_contact_id == "report":
        reading.reported += unknown
    return clashes + (unknown if switches.unknown_contact_id == "refuse" else [])


class _ContactReader:
    """Reads the contacts of one request.

    Args:
        switches: Decide where the pages leave a choice.
        properties: Names and ids of the account's properties to what each is shown as.
        reading: Collects what is reported.

    Attributes:
        created: The properties that come with the request. They stay out of the account's, so
            that a request that is refused in the end has created nothing.
    """

    def __init__(self, switches: Switches, properties: dict[str, str], reading: Reading) -> None:
        self.created: dict[str, str] = {}
        self._known = ChainMap(self.created, properties)
        self._switches = switches
        self._reading = reading
        self._lists = set(switches.known_lists.lower().replace(",", " ").split())
        # Property ids and names repeat from contact to contact: each pair is looked up once.
        self._found: dict[tuple[str | None, str | None], str | None] = {}

    def list_id(self, value: str | None) -> str | None:
        """Return a list id in lower case; a malformed or unknown one is refused."""
        if value is None:
            return None
        where, value = "listId", value.lower()
        if not _UUID.fullmatch(value):
            _refuse(where, "The list id is not a uuid.", 400)
        if self._lists and value not in self._lists:
            _refuse(where, "The account has no such list.")
        return value

    def contact(self, given: _Contact) -> Sent:
        """Return one contact, or raise the reason to refuse it."""
        # The batch page's own sample sends an empty e-mail address for none.
        email = given.email or None
        if email is not None and (len(email) > MAX_EMAIL or not _EMAIL.fullmatch(email)):
            _refuse("email", "It is not an e-mail address.")
        if given.contact_id is not None and given.contact_id <= 0:
            _refuse("contactId", "It must be above zero.")
        _check_mobile(given.mobile_country_code, given.mobile_number)
        if given.contact_id is None and given.mobile_number is None and email is None:
            _refuse("", "A contact needs a contact id, a mobile number or an e-mail address.")
        sent = Sent(
            given.contact_id,
            given.mobile_country_code,
            given.mobile_number,
            email,
            None if given.mobile_opt_in == "" else given.mobile_opt_in,
            None if given.email_opt_in == "" else given.email_opt_in,
            self._properties(given.property_fields or []),
            self.list_id(given.list_id) or self._reading.list_id,
        )
        self._simulate_refusal(sent)
        return sent

    def _properties(self, given: list[_Property]) -> dict[str, str | None]:
        values: dict[str, str | None] = {}
        for place, one in enumerate(given):
            pair = one.property_id, one.property_name
            try:
                shown = self._found[pair]
            except KeyError:
                shown = self._found[pair] = self._find(*pair, f"propertyFields[{place}]")
            value = one.property_value
            if shown is None or value is None:
                continue
            if value or self._switches.empty_values == "clear":
                values[shown] = value or None
            elif self._switches.empty_values == "refuse":
                _refuse(
                    f"propertyFields[{place}].propertyValue", "It must not be empty.", 422, *pair
                )
        return values

    def _find(self, property_id: str | None, name: str | None, where: str) -> str | None:
        """Return what a property is shown as, or None if it is to be left out."""
        property_id = (property_id or "").strip().lower() or None
        name = name if name and name.strip() else None
        if property_id is None and name is None:
            _refuse(where, "A property needs an id or a name.")
        # An id that is given decides, even against the name (section 4.1).
        found = self._known.get(property_id or name or "")
        policy = self._switches.unknown_property
        if found is None and policy == "create":
            # A known name that comes with an id keeps its property.
            shown = self._known.get(name or "") or name or property_id or ""
            self.created.update({given: shown for given in (property_id, name) if given})
            return shown
        if found is None and policy == "refuse":
            _refuse(where, "The account has no such property.", 422, property_id, name)
        if found is None and policy == "report":
            text = "The account has no such property; it was left out."
            self._reading.reported.append(Problem(where, text, 422, property_id, name))
        return found

    def _simulate_refusal(self, sent: Sent) -> None:
        """Refuse a contact that a switch refuses."""
        switches, text = self._switches, "The contact is refused."
        name, value = switches.refuse_property, switches.refuse_value
        if name in sent.properties and value in {"", sent.properties[name]}:
            _refuse("propertyFields", text, 422, None, name)
        if switches.refuse_email and (sent.email or "").startswith(switches.refuse_email):
            _refuse("email", text)


def _check_mobile(country: int | None, number: int | None) -> None:
    where, text = "mobileCountryCode", ""
    if (country is None) != (number is None):
        text = "A mobile number needs a country code, and a country code a number."
    elif country is not None and not 0 < country < 1000:  # noqa: PLR2004 - E.164 codes
        text = "A country code has 1 to 3 digits."
    elif number is not None:
        where, digits = "mobileNumber", len(str(number))
        if number <= 0 or digits < SHORTEST_NATIONAL or digits + len(str(country)) > E164_DIGITS:
            text = "A mobile number has 3 to 14 digits, and 15 at most with its country code."
    if text:
        _refuse(where, text)


def _webhook(url: str | None) -> str | None:
    if url and not _URL.fullmatch(url):
        _refuse("webHookUrl", "The webhook URL is not a URL.")
    return url or None
