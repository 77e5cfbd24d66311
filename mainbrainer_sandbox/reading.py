"""What MainBrainer makes of a request body: contacts, or the reasons to refuse it.

This is what happens while the client waits. Rests on sections 4 and 5 of the
API note: one wrong contact refuses the whole request, and nothing of it is
applied. No server, no file, no clock.
"""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from mainbrainer_sandbox.rules import (
    INT64,
    Properties,
    Property,
    Sent,
    identity_keys,
)
from mainbrainer_sandbox.switches import Switches, words

MAX_CONTACTS = 1000

_INT32 = 2**31 - 1
MAX_NAME = 255
MAX_EMAIL = 254
E164_DIGITS = 15
SHORTEST_NATIONAL = 3
_KEPT_SHAPES = 1000

# White space and control characters, spelt out so that these patterns mean the same in the API
# description, where another dialect of regular expressions reads them.
_SPACE = "\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200f\\u2028-\\u202f\\u205f\\u3000\\ufeff"
# One @ with something before it and a dotted host name after it. No look-ups, and no more than
# that: what MainBrainer checks is unknown.
EMAIL_PATTERN = f"[^@{_SPACE}]{{1,64}}@(?:[^@.,;{_SPACE}]+\\.)+[^@.,;{_SPACE}]{{2,}}"
URL_PATTERN = (
    r"https?://(?:[A-Za-z0-9._-]+|\[::1\])"
    r"(?::(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}))?(?:[/?#][!-~]*)?"
)
_EMAIL = re.compile(EMAIL_PATTERN)
_URL = re.compile(URL_PATTERN)
_BLANKS = " \t\r\n"
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# Country calling codes in use (ITU-T E.164): with any other, nobody can have the number.
_CODES_IN_USE = """
    1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64
    65 66 81 82 84 86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228
    229 230 231 232 233 234 235 236 237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252
    253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 290 291 297 298 299 350 351 352
    353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 379 380 381 382 383 385 386 387
    389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 599
    670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850
    852 853 855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972
    973 974 975 976 977 979 992 993 994 995 996 998
"""
CODES = frozenset(map(int, _CODES_IN_USE.split()))

_OPENAPI: dict[str, dict[str, str]] = {
    "request": {
        "listId": "list_id",
        "createUpdateContacts": "contacts",
        "webHookUrl": "webhook_url",
    },
    "contact": {
        "listId": "list_id",
        "contactId": "contact_id",
        "mobileCountryCode": "country",
        "mobileNumber": "number",
        "mobileOptIn": "mobile_opt_in",
        "email": "email",
        "emailOptIn": "email_opt_in",
        "propertyFields": "properties",
    },
    "property": {"propertyId": "id", "propertyName": "name", "propertyValue": "value"},
}
_PORTAL: dict[str, dict[str, str]] = {
    "request": {
        "listId": "list_id",
        "createUpdateContacts": "contacts",
        "webhookUrl": "webhook_url",
    },
    "contact": {
        **{key: name for key, name in _OPENAPI["contact"].items() if name != "properties"},
        "propertyfields": "properties",
    },
    "property": {"propertyid": "id", "propertyname": "name", "propertyvalue": "value"},
}


class Problem(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One reason why something was not taken; it never holds a contact's data.

    Attributes:
        where: The place in the request, such as `createUpdateContacts[3].email`.
        text: A sentence.
        status: The status this problem alone would be answered with.
        index: The place of the contact in the request; None if no contact is to blame.
        contact_id: The contact id that was sent with it.
        property_id, property_name: The property at fault.
    """

    where: str
    text: str
    status: int = 422
    index: int | None = None
    contact_id: int | None = None
    property_id: str | None = None
    property_name: str | None = None


class Reading(msgspec.Struct):
    """What a request was read as.

    Attributes:
        contacts: The contacts, in the order of the request.
        problems: Why it is refused; if there is one, nothing of it may be applied.
        reported: What is not taken although the request is accepted.
        properties: Properties that come to be if the request is accepted.
        sent: How many contacts the request holds.
    """

    contacts: list[Sent] = []
    problems: list[Problem] = []
    reported: list[Problem] = []
    properties: list[Property] = []
    list_id: str | None = None
    webhook_url: str | None = None
    sent: int = 0


class Keys:
    """Request keys to our names; in the lenient mode any casing of a key is understood.

    Args:
        known: Keys as a page prints them, and our names.
        lenient: Whether other casings are understood.
    """

    def __init__(self, known: dict[str, str], *, lenient: bool) -> None:
        self._known = known
        self._folded = {key.casefold(): name for key, name in known.items()} if lenient else {}
        # Objects of one request mostly have the same keys in the same order, so a whole set of
        # keys is looked up at once. This halves the time that reading takes.
        self._shapes: dict[tuple[str, ...], dict[str, str]] = {}

    def spelling(self, raw: dict[str, Any]) -> dict[str, str]:
        """Return how a JSON object spells those of the known keys that it has, by our names.

        >>> Keys({"webHookUrl": "webhook_url"}, lenient=True).spelling({"WEBHOOKURL": 1, "x": 2})
        {'webhook_url': 'WEBHOOKURL'}
        """
        shape = tuple(raw)
        spelling = self._shapes.get(shape)
        if spelling is None:
            spelling = {}
            for key in shape:
                name = self._known.get(key) or self._folded.get(key.casefold())
                if name is not None:
                    spelling[name] = key
            if len(self._shapes) >= _KEPT_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = spelling
        return spelling

    def named(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Return the known parts of a JSON object under our names."""
        return {name: raw[key] for name, key in self.spelling(raw).items()}


class _Refused(Exception):  # noqa: N818 - not an error, but the way out of a contact
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


class Reader:
    """Reads request bodies by a set of switches and the properties an account has."""

    def __init__(self, switches: Switches, properties: Properties) -> None:
        self._switches = switches
        self._properties = properties
        spelling = _PORTAL if switches.key_casing == "portal" else _OPENAPI
        lenient = switches.key_casing == "lenient"
        self._request_keys = Keys(spelling["request"], lenient=lenient)
        self._contact_keys = Keys(spelling["contact"], lenient=lenient)
        self._property_keys = Keys(spelling["property"], lenient=lenient)
        self._lists = frozenset(word.lower() for word in words(switches.known_lists))

    def read_batch(self, body: object) -> Reading:
        """Read the body of `POST /contacts/batch`."""
        reading = Reading()
        if type(body) is not dict:
            reading.problems.append(Problem("", "The body must be a JSON object.", 400))
            return reading
        request = self._request_keys.named(body)
        try:
            reading.list_id = self._list(request.get("list_id"))
            reading.webhook_url = _webhook(request.get("webhook_url"))
        except _Refused as refused:
            reading.problems.append(Problem(refused.field, refused.text, refused.status))
        contacts = request.get("contacts")
        if type(contacts) is not list:
            text = "The array 'createUpdateContacts' is required."
            reading.problems.append(Problem("createUpdateContacts", text, 400))
            return reading
        reading.sent = len(contacts)
        if reading.sent > MAX_CONTACTS:
            text = f"A request holds at most {MAX_CONTACTS} contacts."
            status = self._switches.too_many_status
            reading.problems.append(Problem("createUpdateContacts", text, status))
            return reading
        if not contacts and self._switches.empty_batch == "refuse":
            text = "The request holds no contact."
            reading.problems.append(Problem("createUpdateContacts", text, 400))
        self._read_contacts(reading, contacts, "createUpdateContacts[{}]")
        return reading

    def read_single(self, body: object) -> Reading:
        """Read the body of `POST /contacts/insertupdate`."""
        reading = Reading(sent=1)
        if type(body) is not dict:
            reading.problems.append(Problem("", "The body must be a JSON object.", 400))
            return reading
        self._read_contacts(reading, [body], "")
        return reading

    def _read_contacts(self, reading: Reading, contacts: list[Any], place: str) -> None:
        fresh = Properties(parent=self._properties)
        read = _ContactReader(self, self._switches, fresh, reading)
        for index, raw in enumerate(contacts):
            try:
                reading.contacts.append(read.contact(raw))
            except _Refused as refused:
                self._refuse(reading, refused, raw, index, place)
        for report in read.reports:
            reading.reported.append(report)
        reading.properties = list(fresh.by_key.values())
        if self._switches.duplicates == "refuse":
            self._refuse_duplicates(reading, place)

    def _refuse(
        self, reading: Reading, refused: _Refused, raw: object, index: int, place: str
    ) -> None:
        contact = self._contact_keys.named(raw) if type(raw) is dict else {}
        contact_id = contact.get("contact_id")
        known_id = contact_id if type(contact_id) is int and 0 < contact_id <= INT64 else None
        if self._switches.invalid_contact == "skip":
            reading.contacts.append(Sent(contact_id=known_id, skip=refused.text))
            return
        where = ".".join(part for part in (place.format(index), refused.field) if part)
        reading.problems.append(
            Problem(where, refused.text, refused.status, index, known_id, *refused.prop)
        )

    def _refuse_duplicates(self, reading: Reading, place: str) -> None:
        key_of = identity_keys(self._switches)
        seen: set[int | str] = set()
        for index, sent in enumerate(reading.contacts):
            key = sent.contact_id or key_of(sent.country, sent.number, sent.email)
            if key in seen:
                text = "Another contact of the request has the same identity."
                problem = Problem(place.format(index), text, 422, index, sent.contact_id)
                reading.problems.append(problem)
            seen.add(key)

    def _list(self, value: object) -> str | None:
        """Return a list id as we keep it; a malformed or unknown one is refused."""
        if value is None:
            return None
        if type(value) is not str:
            text = "The list id must be text."
            raise _Refused(text, 400, "listId")
        if self._switches.uuid_check != "none" and not _UUID.fullmatch(value):
            text = "The list id is not a uuid."
            raise _Refused(text, 400, "listId")
        value = value.strip().lower()
        if value and self._lists and value not in self._lists:
            text = "The account has no such list."
            raise _Refused(text, self._switches.unknown_list_status, "listId")
        return value or None


class _ContactReader:
    """Reads the contacts of one request.

    Attributes:
        reports: Properties that were not taken although the request may be.
    """

    def __init__(
        self, reader: Reader, switches: Switches, fresh: Properties, reading: Reading
    ) -> None:
        self.reports: list[Problem] = []
        self._reader = reader
        self._switches = switches
        self._fresh = fresh
        self._outer_list = reading.list_id
        self._outer_lists = (reading.list_id,) if reading.list_id else ()
        self._contact_keys = reader._contact_keys  # noqa: SLF001 - the same module's other half
        self._property_keys = reader._property_keys  # noqa: SLF001
        self._planted = bool(switches.refuse_property or switches.refuse_email)
        # Property ids and names repeat from contact to contact: each pair is looked up once.
        self._found: dict[tuple[str | None, str | None], str | None] = {}

    def contact(self, raw: object) -> Sent:
        """Return one contact, or raise the reason to refuse it."""
        if type(raw) is not dict:
            text = "A contact must be a JSON object."
            raise _Refused(text, 400)
        given = self._contact_keys.named(raw)
        sent = Sent(lists=self._outer_lists)
        clears: list[str] = []
        sent.contact_id = self._whole(given, "contact_id", "contactId", INT64)
        sent.country = self._whole(given, "country", "mobileCountryCode", _INT32)
        sent.number = self._whole(given, "number", "mobileNumber", INT64)
        if sent.number is None and "number" in given and self._null("mobileNumber"):
            clears.append("mobile")
        sent.email = self._email(given, clears)
        self._check_mobile(sent)
        if sent.contact_id is None and sent.number is None and sent.email is None:
            text = "A contact needs a contact id, a mobile number or an e-mail address."
            raise _Refused(text)
        sent.mobile_opt_in = self._consent(given, "mobile_opt_in", "mobileOptIn", clears)
        sent.email_opt_in = self._consent(given, "email_opt_in", "emailOptIn", clears)
        if "list_id" in given:
            sent.lists = self._lists(given["list_id"])
        if "properties" in given:
            sent.properties = self._properties(given["properties"])
        if clears:
            sent.clears = tuple(clears)
        if self._planted:
            self._refuse_planted(sent)
        if self._switches.skip_property and self._switches.skip_property in sent.properties:
            sent.skip = "The sandbox was told to skip it."
        return sent

    def _null(self, field: str) -> bool:
        """Return whether a null clears; refuse it if that is the switch."""
        if self._switches.null_values == "reject":
            text = "Null is not taken here."
            raise _Refused(text, 422, field)
        return self._switches.null_values == "clear"

    def _whole(self, given: dict[str, Any], name: str, field: str, largest: int) -> int | None:
        value = given.get(name)
        if value is None:
            if name in given and name != "number":
                self._null(field)
            return None
        if type(value) is float and value.is_integer():
            value = int(value)  # To JSON, 47.0 is a whole number too.
        if type(value) is not int or not -largest - 1 <= value <= largest:
            text = "It must be a whole number, written as a JSON number."
            raise _Refused(text, 400, field)
        if value <= 0:
            text = "It must be above zero."
            raise _Refused(text, 422, field)
        return value

    @staticmethod
    def _check_mobile(sent: Sent) -> None:
        if sent.number is None:
            if sent.country is not None:
                text = "A country code needs a mobile number."
                raise _Refused(text, 422, "mobileCountryCode")
            return
        if sent.country is None:
            text = "A mobile number needs a country code."
            raise _Refused(text, 422, "mobileCountryCode")
        if sent.country not in CODES:
            text = "No country has this country code."
            raise _Refused(text, 422, "mobileCountryCode")
        digits = len(str(sent.number))
        if digits < SHORTEST_NATIONAL or digits + len(str(sent.country)) > E164_DIGITS:
            text = "A mobile number has 3 to 14 digits, and 15 at most with its country code."
            raise _Refused(text, 422, "mobileNumber")

    def _email(self, given: dict[str, Any], clears: list[str]) -> str | None:
        value = given.get("email")
        if value is None:
            if "email" in given and self._null("email"):
                clears.append("email")
            return None
        if type(value) is not str:
            text = "It must be text."
            raise _Refused(text, 400, "email")
        if not value:
            if self._switches.empty_identifiers == "reject":
                text = "An empty e-mail address is not taken."
                raise _Refused(text, 422, "email")
            if self._switches.empty_identifiers == "clear":
                clears.append("email")
            return None
        if len(value) > MAX_EMAIL or not _EMAIL.fullmatch(value):
            text = "It is not an e-mail address."
            raise _Refused(text, 422, "email")
        return value

    def _consent(
        self, given: dict[str, Any], name: str, field: str, clears: list[str]
    ) -> bool | None:
        value = given.get(name)
        if type(value) is bool:
            return value
        if value is None:
            if name in given and self._null(field):
                clears.append(name)
            return None
        # "In case no Opt-in Status send Blank" (the batch page): blank is as good as nothing.
        if value == "":
            return None
        text = "It must be true, false or blank."
        raise _Refused(text, 400, field)

    def _lists(self, value: object) -> tuple[str, ...]:
        inner = self._reader._list(value)  # noqa: SLF001 - the same module's other half
        outer = self._outer_list
        if inner is None or inner == outer:
            return self._outer_lists
        if outer is None or self._switches.contact_list == "inner":
            return (inner,)
        return self._outer_lists if self._switches.contact_list == "outer" else (outer, inner)

    def _properties(self, raw: object) -> dict[str, str | None]:
        if raw is None:
            return {}
        if type(raw) is not list:
            text = "It must be an array."
            raise _Refused(text, 400, "propertyFields")
        values: dict[str, str | None] = {}
        spelling_of, found = self._property_keys.spelling, self._found
        for place, one in enumerate(raw):
            if type(one) is not dict:
                text = "A property must be a JSON object."
                raise _Refused(text, 400, f"propertyFields[{place}]")
            spelling = spelling_of(one).get
            property_id, name = one.get(spelling("id")), one.get(spelling("name"))
            try:
                key = found[property_id, name]
            except (KeyError, TypeError):
                key = self._find(property_id, name, place)
            if key is None:
                continue
            value = one.get(spelling("value"))
            if type(value) is str and value:
                values[key] = value
            else:
                given = {"value": value} if spelling("value") else {}
                self._blank(values, key, given, place, (property_id, name))
        return values

    def _blank(
        self,
        values: dict[str, str | None],
        key: str,
        given: dict[str, Any],
        place: int,
        prop: tuple[str | None, str | None],
    ) -> None:
        """Take, leave or refuse a property value that is not a text with something in it."""
        field = f"propertyFields[{place}].propertyValue"
        value = given.get("value")
        if value is not None and type(value) is not str:
            text = "A property value must be text."
            raise _Refused(text, 400, field, prop)
        if value is None and "value" not in given:
            return
        policy = self._switches.null_values if value is None else self._switches.empty_values
        if policy == "reject":
            text = "Null is not taken here." if value is None else "An empty value is not taken."
            raise _Refused(text, 422, field, prop)
        if policy == "clear":
            values[key] = None

    def _find(self, property_id: object, name: object, place: int) -> str | None:
        """Return the key of a property, or None if it is to be left out."""
        field = f"propertyFields[{place}]"
        for value, part in ((property_id, "propertyId"), (name, "propertyName")):
            if value is not None and type(value) is not str:
                text = "It must be text."
                raise _Refused(text, 400, f"{field}.{part}")
        given_id = str(property_id).strip(_BLANKS).lower() or None if property_id else None
        given_name = str(name) if name and str(name).strip(_BLANKS) else None
        if given_id is None and given_name is None:
            text = "A property needs an id or a name."
            raise _Refused(text, 422, field)
        prop = (given_id, given_name)
        if given_id and self._switches.uuid_check == "all" and not _UUID.fullmatch(given_id):
            text = "The property id is not a uuid."
            raise _Refused(text, 400, f"{field}.propertyId", prop)
        if given_name and len(given_name) > MAX_NAME:
            text = f"A property name has at most {MAX_NAME} characters."
            raise _Refused(text, 422, f"{field}.propertyName", prop)
        found = self._fresh.find(given_id, given_name)
        policy = self._switches.unknown_property
        if found is None and policy == "create":
            found = self._fresh.create(given_id, given_name)
        if found is None and policy == "refuse":
            text = "The account has no such property."
            raise _Refused(text, 422, field, prop)
        if found is None and policy == "report":
            text = "The account has no such property; it was left out."
            self.reports.append(Problem(field, text, 422, None, None, *prop))
        key = None if found is None else found.key
        self._found[cast("tuple[str | None, str | None]", (property_id, name))] = key
        return key

    def _refuse_planted(self, sent: Sent) -> None:
        switches = self._switches
        status, text = switches.refuse_status, switches.refuse_message
        name = switches.refuse_property
        if name in sent.properties:
            wanted = switches.refuse_value
            if not wanted or sent.properties[name] == wanted:
                raise _Refused(text, status, "propertyFields", (None, name))
        if switches.refuse_email and (sent.email or "").startswith(switches.refuse_email):
            raise _Refused(text, status, "email")


def _webhook(value: object) -> str | None:
    if value is None or value == "":
        return None
    if type(value) is not str:
        text = "The webhook URL must be text."
        raise _Refused(text, 400, "webHookUrl")
    if not _URL.fullmatch(value):
        text = "The webhook URL is not a URL."
        raise _Refused(text, 422, "webHookUrl")
    return value
