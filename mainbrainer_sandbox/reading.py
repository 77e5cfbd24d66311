"""What MainBrainer makes of a request body: contacts, or the reasons to refuse it.

This is what happens while the client waits. Rests on sections 4 and 5 of the
API note: one wrong contact refuses the whole request, and nothing of it is
applied. No server, no file, no clock.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from mainbrainer_sandbox.rules import INT64, Properties, Sent
from mainbrainer_sandbox.switches import words

if TYPE_CHECKING:
    from mainbrainer_sandbox.switches import Switches

MAX_CONTACTS = 1000
MAX_NAME = 255
MAX_EMAIL = 254
E164_DIGITS = 15
SHORTEST_NATIONAL = 3

_INT32 = 2**31 - 1
_KEPT_SHAPES = 1000
# One @ with something before it and a dotted host name after it. No look-ups, and no more than
# that: what MainBrainer checks is unknown.
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@(?:[^@.,;\s\x00-\x1f]+\.)+[^@.,;\s\x00-\x1f]{2,}")
_URL = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[::1\])(?::[0-9]{1,5})?(?:[/?#][!-~]*)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BLANKS = " \t\r\n"


class Problem(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One reason why something was not taken; it never holds a contact's data.

    Attributes:
        where: The place in the request, such as `createUpdateContacts[3].email`.
        text: A sentence.
        status: The status that this problem alone would be answered with.
        contact_id: The contact id that was sent with it.
        property_id, property_name: The property at fault.
    """

    where: str
    text: str
    status: int = 422
    contact_id: int | None = None
    property_id: str | None = None
    property_name: str | None = None


class Reading(msgspec.Struct):
    """What a request was read as.

    Attributes:
        contacts: The contacts, in the order of the request.
        problems: Why it is refused; if there is one, nothing of it may be applied.
        reported: What is not taken although the request is accepted.
        properties: Properties that the request creates if it is accepted.
        sent: How many contacts the request holds.
    """

    contacts: list[Sent] = []
    problems: list[Problem] = []
    reported: list[Problem] = []
    properties: dict[str, str] = {}
    list_id: str | None = None
    webhook_url: str | None = None
    sent: int = 0


class Keys:
    """Maps request keys to our names; the pages print two casings, and any is understood.

    Args:
        known: Keys in lower case, and our names.
    """

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known
        # Objects of one request mostly have the same keys in the same order, so a whole set of
        # keys is looked up at once. This halves the time that reading takes.
        self._shapes: dict[tuple[str, ...], dict[str, str]] = {}

    def spelling(self, raw: dict[str, Any]) -> dict[str, str]:
        """Return how a JSON object spells those of the known keys that it has, by our names.

        >>> Keys({"webhookurl": "webhook_url"}).spelling({"webHookUrl": 1, "x": 2})
        {'webhook_url': 'webHookUrl'}
        """
        shape = tuple(raw)
        spelling = self._shapes.get(shape)
        if spelling is None:
            names = ((self._known.get(key.lower()), key) for key in shape)
            spelling = {name: key for name, key in names if name is not None}
            if len(self._shapes) >= _KEPT_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = spelling
        return spelling

    def named(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Return the known parts of a JSON object under our names."""
        return {name: raw[key] for name, key in self.spelling(raw).items()}


_REQUEST = Keys(
    {"listid": "list_id", "createupdatecontacts": "contacts", "webhookurl": "webhook_url"}
)
_CONTACT = Keys(
    {
        "listid": "list_id",
        "contactid": "contact_id",
        "mobilecountrycode": "country",
        "mobilenumber": "number",
        "mobileoptin": "mobile_opt_in",
        "email": "email",
        "emailoptin": "email_opt_in",
        "propertyfields": "properties",
    }
)
_PROPERTY = Keys({"propertyid": "id", "propertyname": "name", "propertyvalue": "value"})


class _RefusedError(Exception):
    """Ends the reading of a contact with the reason.

    Args:
        text: A sentence.
        status: The status it would be answered with.
        field: The request key at fault.
        prop: The id and the name of the property at fault.
    """

    def __init__(
        self,
        text: str,
        status: int = 422,
        field: str = "",
        prop: tuple[str | None, str | None] = (None, None),
    ) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.field = field
        self.prop = prop


def read_batch(body: object, switches: Switches, properties: Properties) -> Reading:
    """Read the body of `POST /contacts/batch`."""
    reading = Reading()
    if type(body) is not dict:
        reading.problems.append(Problem("", "The body must be a JSON object.", 400))
        return reading
    request = _REQUEST.named(body)
    reader = _ContactReader(switches, properties, reading)
    try:
        reading.list_id = reader.list_id(request.get("list_id"))
        reading.webhook_url = _webhook(request.get("webhook_url"))
    except _RefusedError as refused:
        reading.problems.append(Problem(refused.field, refused.text, refused.status))
    contacts = request.get("contacts")
    if type(contacts) is not list:
        text = "The array 'createUpdateContacts' is required."
        reading.problems.append(Problem("createUpdateContacts", text, 400))
        return reading
    reading.sent = len(contacts)
    if not 0 < reading.sent <= MAX_CONTACTS:
        text = f"A request holds 1 to {MAX_CONTACTS} contacts."
        reading.problems.append(Problem("createUpdateContacts", text, 400))
        return reading
    reader.read_all(contacts, "createUpdateContacts[{}]")
    return reading


def read_single(body: object, switches: Switches, properties: Properties) -> Reading:
    """Read the body of `POST /contacts/insertupdate`."""
    reading = Reading(sent=1)
    if type(body) is not dict:
        reading.problems.append(Problem("", "The body must be a JSON object.", 400))
        return reading
    _ContactReader(switches, properties, reading).read_all([body], "")
    return reading


class _ContactReader:
    """Reads the contacts of one request into a `Reading`."""

    def __init__(self, switches: Switches, properties: Properties, reading: Reading) -> None:
        self._switches = switches
        self._fresh = Properties(parent=properties)
        self._reading = reading
        self._refuses = bool(switches.refuse_property or switches.refuse_email)
        self._lists = {word.lower() for word in words(switches.known_lists)}
        # Property ids and names repeat from contact to contact: each pair is looked up once.
        self._found: dict[tuple[Any, Any], str | None] = {}

    def read_all(self, contacts: list[Any], place: str) -> None:
        """Read contacts; those that cannot be read become problems."""
        for index, raw in enumerate(contacts):
            try:
                self._reading.contacts.append(self._contact(raw))
            except _RefusedError as refused:
                contact = _CONTACT.named(raw) if type(raw) is dict else {}
                contact_id = contact.get("contact_id")
                known_id = (
                    contact_id if type(contact_id) is int and 0 < contact_id <= INT64 else None
                )
                where = ".".join(part for part in (place.format(index), refused.field) if part)
                self._reading.problems.append(
                    Problem(where, refused.text, refused.status, known_id, *refused.prop)
                )
        self._reading.properties = self._fresh.known

    def list_id(self, value: object) -> str | None:
        """Return a list id in lower case; a malformed or unknown one is refused."""
        if value is None:
            return None
        if type(value) is not str or not _UUID.fullmatch(value):
            text = "The list id is not a uuid."
            raise _RefusedError(text, 400, "listId")
        value = value.lower()
        if self._lists and value not in self._lists:
            text = "The account has no such list."
            raise _RefusedError(text, 422, "listId")
        return value

    def _contact(self, raw: object) -> Sent:
        """Return one contact, or raise the reason to refuse it."""
        if type(raw) is not dict:
            text = "A contact must be a JSON object."
            raise _RefusedError(text, 400)
        given = _CONTACT.named(raw)
        sent = Sent(
            _whole(given.get("contact_id"), "contactId", INT64),
            _whole(given.get("country"), "mobileCountryCode", _INT32),
            _whole(given.get("number"), "mobileNumber", INT64),
            _email(given.get("email")),
        )
        _check_mobile(sent)
        if sent.contact_id is None and sent.number is None and sent.email is None:
            text = "A contact needs a contact id, a mobile number or an e-mail address."
            raise _RefusedError(text)
        sent.mobile_opt_in = _consent(given.get("mobile_opt_in"), "mobileOptIn")
        sent.email_opt_in = _consent(given.get("email_opt_in"), "emailOptIn")
        sent.list_id = self.list_id(given.get("list_id")) or self._reading.list_id
        if "properties" in given:
            sent.properties = self._properties(given["properties"])
        if self._refuses:
            self._refuse(sent)
        return sent

    def _properties(self, raw: object) -> dict[str, str | None]:
        if raw is None:
            return {}
        if type(raw) is not list:
            text = "It must be an array."
            raise _RefusedError(text, 400, "propertyFields")
        values: dict[str, str | None] = {}
        found = self._found
        for place, one in enumerate(raw):
            if type(one) is not dict:
                text = "A property must be a JSON object."
                raise _RefusedError(text, 400, f"propertyFields[{place}]")
            spelling = _PROPERTY.spelling(one).get
            property_id, name = one.get(spelling("id")), one.get(spelling("name"))
            try:
                key = found[property_id, name]
            except (KeyError, TypeError):
                key = self._find(property_id, name, place)
            value = one.get(spelling("value"))
            if key is None or value is None:
                continue
            if type(value) is str and (value or self._switches.empty_values != "refuse"):
                if value or self._switches.empty_values == "clear":
                    values[key] = value or None
                continue
            text, status = "It must not be empty.", 422
            if type(value) is not str:
                text, status = "It must be text.", 400
            field = f"propertyFields[{place}].propertyValue"
            raise _RefusedError(text, status, field, (property_id, name))
        return values

    def _find(self, property_id: object, name: object, place: int) -> str | None:
        """Return what a property is shown as, or None if it is to be left out."""
        field = f"propertyFields[{place}]"
        for value, part in ((property_id, "propertyId"), (name, "propertyName")):
            if value is not None and type(value) is not str:
                text = "It must be text."
                raise _RefusedError(text, 400, f"{field}.{part}")
        given_id = str(property_id).strip(_BLANKS).lower() or None if property_id else None
        given_name = str(name) if name and str(name).strip(_BLANKS) else None
        prop = (given_id, given_name)
        if given_id is None and given_name is None:
            text = "A property needs an id or a name."
            raise _RefusedError(text, 422, field)
        if given_name and len(given_name) > MAX_NAME:
            text = f"A property name has at most {MAX_NAME} characters."
            raise _RefusedError(text, 422, f"{field}.propertyName", prop)
        # An id that is given decides, whatever the name says (section 4.1).
        found = self._fresh.find(given_id or given_name)
        policy = self._switches.unknown_property
        if found is None and policy == "create":
            found = self._fresh.create(given_id, given_name)
        if found is None and policy == "refuse":
            text = "The account has no such property."
            raise _RefusedError(text, 422, field, prop)
        if found is None and policy == "report":
            text = "The account has no such property; it was left out."
            self._reading.reported.append(Problem(field, text, 422, None, *prop))
        self._found[property_id, name] = found
        return found

    def _refuse(self, sent: Sent) -> None:
        """Refuse a contact that the switches say to refuse."""
        switches = self._switches
        status, text = switches.refuse_status, "The contact is refused."
        name = switches.refuse_property
        if name in sent.properties and sent.properties[name] == (
            switches.refuse_value or sent.properties[name]
        ):
            raise _RefusedError(text, status, "propertyFields", (None, name))
        if switches.refuse_email and (sent.email or "").startswith(switches.refuse_email):
            raise _RefusedError(text, status, "email")


def _whole(value: object, field: str, largest: int) -> int | None:
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)  # To JSON, 47.0 is a whole number too.
    if type(value) is not int or not -largest - 1 <= value <= largest:
        text = "It must be a whole number, written as a JSON number."
        raise _RefusedError(text, 400, field)
    if value <= 0:
        text = "It must be above zero."
        raise _RefusedError(text, 422, field)
    return value


def _check_mobile(sent: Sent) -> None:
    if sent.number is None:
        if sent.country is not None:
            text = "A country code needs a mobile number."
            raise _RefusedError(text, 422, "mobileCountryCode")
        return
    if sent.country is None:
        text = "A mobile number needs a country code."
        raise _RefusedError(text, 422, "mobileCountryCode")
    digits = len(str(sent.number))
    if digits < SHORTEST_NATIONAL or digits + len(str(sent.country)) > E164_DIGITS:
        text = "A mobile number has 3 to 14 digits, and 15 at most with its country code."
        raise _RefusedError(text, 422, "mobileNumber")


def _email(value: object) -> str | None:
    # The batch page's own sample sends an empty e-mail address for none.
    if value is None or value == "":
        return None
    if type(value) is not str:
        text = "It must be text."
        raise _RefusedError(text, 400, "email")
    if len(value) > MAX_EMAIL or not _EMAIL.fullmatch(value):
        text = "It is not an e-mail address."
        raise _RefusedError(text, 422, "email")
    return value


def _consent(value: object, field: str) -> bool | None:
    if type(value) is bool:
        return value
    # "In case no Opt-in Status send Blank" (the batch page): blank is as good as nothing.
    if value is None or value == "":
        return None
    text = "It must be true, false or blank."
    raise _RefusedError(text, 400, field)


def _webhook(value: object) -> str | None:
    if value is None or value == "":
        return None
    if type(value) is not str:
        text = "The webhook URL must be text."
        raise _RefusedError(text, 400, "webHookUrl")
    if not _URL.fullmatch(value):
        text = "The webhook URL is not a URL."
        raise _RefusedError(text, 422, "webHookUrl")
    return value
