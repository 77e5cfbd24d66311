"""Personal data and secrets stay out of logs and error texts.

`Redactor` is the one gate that every text of a server passes on its way to the log: a refusal may
repeat anything that was sent, names, addresses, a token. The part of a message that is worth
something to a reader (which field, what is wrong with it) survives; anything that could be a
person's does not. `explain` says how a run ended. `quiet_loggers` and `quiet_threads` keep other
people's loggers from showing what only the CRM should know. All places known to log too much:

- `singer_sdk.mapper` at DEBUG: the result of each expression of a stream map for each record;
- `sqlalchemy.engine` at DEBUG: every row of the ledger that is read;
- `urllib3` at DEBUG: the address of every request, a line each; as a WARNING: the parts of a
  response's headers that it cannot parse, as the server wrote them;
- the SDK's reader, which repeats a line it cannot read: `singer.reader.MessageReader` does not;
- the SDK's validator, which repeats the value: `compile_validator` does not;
- the SDK's settings check, too: `TargetMainBrainer._validate_config` does not;
- tracebacks, whose last line is the error's own text: `explain` names kind and place only, also
  for an error that ends a thread.
"""

from __future__ import annotations

import html
import logging
import re
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from singer_sdk.exceptions import MappingError as StreamMapError
from singer_sdk.exceptions import SingerSDKError

from target_mainbrainer.contacts import Contact
from target_mainbrainer.errors import Reason, SettingsError, TargetMainBrainerError

logger = logging.getLogger("target-mainbrainer")

MARK = "…"
LONGEST = 200
MOST_READ = 2000
"""Of longer texts only the beginning is read."""

_MOST_SECRETS = 100
SHORTEST_VALUE = 3
"""Shorter values stand in any text by chance: taking out every "no" would spoil the message."""

_URL = re.compile(
    r"(?P<host>\bhttps?://)(?:[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#\"'<>]*)[?#][^\s\"'<>]*"
)
_UNSAFE = re.compile(
    r"""
      [^\s"'<>(),;]+ @ [^\s"'<>(),;:]+        # e-mail addresses, and nearly
    | (?i: bearer | basic ) \s+ [^\s"',;]+    # credentials
    | (?<![\w-]) (?= [\w+/=.~-]*\d ) [\w+/=.~-]{20,}    # tokens and ids: long, with a digit
    | [\w+/=~-]{40,}                          # tokens without a digit
    | [+]? \d (?: [ ().\-/]{0,2} \d ){3,}     # phone numbers, dates, any four digits
    """,
    re.VERBOSE,
)
_QUOTED = re.compile(r"""(?<!\w)(["'`])(.+?)\1(?!\w)|[“«„](.+?)[”»“]""")
_ID = re.compile(r"(?=[^0-9]*[0-9])(?=[0-9-]*[a-fA-F])[0-9a-fA-F-]{6,40}", re.ASCII)
"""Hexadecimal, with a digit and a letter in it."""

_ESCAPED = re.compile(r"""\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))""")
_MEANING = dict.fromkeys("bfnrt", " ")
_OWN_NAMES = re.compile(
    r"(contact|list|property)id|email(optin)?|mobile(countrycode|number|optin)"
    r"|property(name|value|fields)|createupdatecontacts|webhookurl"
)


class Redactor:
    """Makes texts of a server safe for the log, with the secrets in force.

    Secrets are changed by one thread at a time and read by any: the tuple is replaced as a whole.

    Args:
        secrets: Tokens and passwords, which a server may repeat in any message, in any form.
    """

    def __init__(self, *secrets: str | None) -> None:
        self._secrets = tuple(filter(None, secrets))

    def keep_secret(self, secret: str) -> None:
        """Remove this value, too, from every text; the last 100 are kept."""
        others = [other for other in self._secrets if other != secret]
        self._secrets = (*others, secret)[-_MOST_SECRETS:]

    def redact(self, text: str, values: Iterable[str] = ()) -> str:
        r"""Return one line of at most 200 characters without personal data or secrets.

        E-mail addresses, numbers of four digits and more, anything like a token, anything in
        quotes (except names of the API's own fields), the queries of URLs, every given value and
        every secret in force become `…`, however often the server has escaped them.

        >>> redact = Redactor("s3cr3t").redact
        >>> redact("The 'email' field: 'ola@example.com' is not valid for +47 908 12 501.")
        "The 'email' field: … is not valid for …."
        >>> redact("Jennifer has no mobile; S3CR3T", values=["jennifer"])
        '… has no mobile; …'
        >>> redact(r"AT&amp;amp;T, AT%26T and AT\u0026T are unknown", values=["AT&T"])
        '…, … and … are unknown'

        Args:
            text: A text from a server.
            values: Values to remove, in any case; those under three characters are passed over.
        """
        wanted = {spelt for value in (*values, *self._secrets) for spelt in _spellings(value)}
        longest_first = sorted(wanted, key=lambda value: (-len(value), value))
        hidden = [value.casefold() for value in longest_first if len(value) >= SHORTEST_VALUE]
        safe = _once(text, hidden) if len(text) <= MOST_READ else _beginning(text, hidden)
        # A removal may join parts that stood apart; every pass but the last shortens the text.
        while (safer := _shortened(_once(safe, hidden))) != safe:
            safe = safer
        return safe

    def redact_id(self, batch_id: str) -> str:
        """Return the id of a batch for the log, if it looks like one and is no secret.

        The pages show UUIDs. A number could be a telephone number, and a word a name.

        >>> redact_id = Redactor().redact_id
        >>> redact_id("ce2c2e48-47e4-4aa0-b4e7-c9deebe29852"), redact_id("ce2c2e48")
        ('ce2c2e48-47e4-4aa0-b4e7-c9deebe29852', 'ce2c2e48')
        >>> redact_id("Kari"), redact_id("4790812501"), redact_id("kari@example.com")
        ('…', '…', '…')
        """
        folded = batch_id.casefold()
        is_secret = any(secret.casefold() in folded for secret in self._secrets)
        return batch_id if _ID.fullmatch(batch_id) and not is_secret else MARK


def values_of(contacts: Iterable[Contact]) -> Iterator[str]:
    """Yield every value of these contacts in the spellings a server may give it back in."""
    for contact in contacts:
        if contact.contact_id is not None:
            yield str(contact.contact_id)
        if contact.email is not None:
            yield contact.email
            yield contact.email.rpartition("@")[0]
        if contact.mobile is not None:
            country_code, number = contact.mobile
            yield str(number)
            yield f"{country_code}{number}"
        yield from contact.properties.values()


def _spellings(value: str) -> set[str]:
    """Return how a value may stand in a text that `_clear` has gone over."""
    plain = _plain(value)
    return {plain, plain.replace(" ", "+"), _clear(value)}


def _plain(text: str) -> str:
    """Return a text as one line of printable characters."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())


def _clear(text: str) -> str:
    r"""Return a text without the escapes of HTML, URLs and JSON, however deep they are nested.

    >>> _clear(r"O&#39;Brien, O%2527Brien and O\u0027Brien")
    "O'Brien, O'Brien and O'Brien"
    """
    before = ""
    while text != before:
        before = text
        text = html.unescape(text) if "&" in text else text
        text = unquote(text) if "%" in text else text
        text = _ESCAPED.sub(_unescape, text) if "\\" in text else text
    return _plain(text)


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code, 16)) if code else _MEANING.get(match[2], match[2])


def _beginning(text: str, hidden: Sequence[str]) -> str:
    """Return the beginning of a long text, short of where a value may have been cut in half."""
    return _once(text[:MOST_READ], hidden)[: -max(LONGEST, *map(len, hidden), 0)]


def _once(text: str, hidden: Iterable[str]) -> str:
    text = _clear(text)
    for value in hidden:
        text = _without(text, value)
    text = _URL.sub(rf"\g<host>\g<rest>?{MARK}", text)
    text = _QUOTED.sub(_unquote, text)
    text = _UNSAFE.sub(MARK, text)
    return _plain(re.sub(rf"{MARK}+", MARK, text))


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + MARK


def _unquote(match: re.Match[str]) -> str:
    inside = match[2] or ""
    return match[0] if _OWN_NAMES.fullmatch(inside.lower()) else MARK


def _without(text: str, value: str) -> str:
    """Return a text without a casefolded value, in any case.

    >>> _without("Strasse, STRASSE and Straße", "strasse")
    '…, … and …'
    """
    folded = text.casefold()
    if value not in folded:
        return text
    # Some letters fold into two: the place that each folded letter had before.
    place_of = [place for place, char in enumerate(text) for _ in char.casefold()]
    parts, done, start = [], 0, folded.find(value)
    while start >= 0:
        end = start + len(value)
        parts += [text[done : max(done, place_of[start])], MARK]
        done = place_of[end - 1] + 1
        start = folded.find(value, end)
    return "".join(parts) + text[done:]


def reasons_of(error: BaseException | None) -> list[Reason]:
    """Return why a run ended, without personal data and without a traceback for a user's mistake.

    The text of an unexpected error may contain anything, so only its kind and place are named.

    >>> reasons_of(SettingsError("Setting 'list_id' is not a uuid."))
    [Reason(code='settings', sentence="Setting 'list_id' is not a uuid.")]
    """
    if error is None:
        return []
    if isinstance(error, TargetMainBrainerError):
        return error.reasons
    if isinstance(error, StreamMapError):
        return [Reason("input", f"Setting 'stream_maps' cannot be applied. {error}")]
    if isinstance(error, SingerSDKError):
        return [Reason("input", str(error))]
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
    sentence = (
        f"Unexpected {type(error).__name__}. This is a fault of target-mainbrainer; please "
        f"report it with these places: {' > '.join(places)}"
    )
    return [Reason("unexpected", sentence)]


def explain(error: BaseException) -> list[str]:
    """Return why a run ended: a text for each wrong setting, else one for all reasons."""
    sentences = [reason.sentence for reason in reasons_of(error)]
    return sentences if isinstance(error, SettingsError) else [" ".join(sentences)]


def quiet_loggers() -> None:
    """Keep contact data out of all loggers, at any level that the user has set.

    SQLAlchemy logs each statement once its logger has the level INFO of its own.
    """
    levels = {"singer_sdk.mapper": logging.INFO, "sqlalchemy.engine": logging.WARNING}
    for name, level in (levels | {"urllib3": logging.CRITICAL}).items():
        other = logging.getLogger(name)
        other.setLevel(max(other.getEffectiveLevel(), level))


def quiet_threads() -> None:
    """Keep contact data out of the tracebacks of threads that die."""
    threading.excepthook = _log_end_of_thread


def _log_end_of_thread(died: threading.ExceptHookArgs) -> None:
    for sentence in explain(died.exc_value) if died.exc_value is not None else ():
        logger.error("%s", sentence)
