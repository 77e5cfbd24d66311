"""Histories in a line: nights of people, what is done by hand in between, what the CRM holds."""

import contextlib
import itertools
import json
import re
import shlex
import typing as t
from collections.abc import Callable, Iterator

import pytest

from tests.broken_server import RESET, Reply, Request
from tests.ledger.outside import FULL, OMIT, OPT_OUT, REPORT, Moment, Night, rehearsal
from tests.loads import OPT_INS, Contact, Ended, Load, Record, cases, name_of, spread

ROUNDS = "target_mainbrainer.rounds"
MAP = {"city": "city.upper()", "__filter__": "city != 'nowhere'"}
SETTINGS: dict[str, Record] = {"omit": OMIT, "report": REPORT, "full": FULL, "opt_out": OPT_OUT}
SETTINGS |= {
    "create": {"identity_changes": "create"},
    "deleted": {"deleted_records": "opt_out"},
    "drift": {"max_drift_percent": 100},
    "everything": {"unchanged_contacts": "send"},
    "hasty": {"confirm_timeout_seconds": 1},
    "impatient": {"retry_max_seconds": 0},
    "maps": {"stream_maps": {"people": MAP}, "max_rejects_percent": 100},
    "once": {"field_map": {"firstname": {"property_name": "source", "send": "once"}}},
    "one_by_one": {"batch_size_rows": 1, "max_concurrent_requests": 1},
    "patient": {"confirm_timeout_seconds": 60},
    "renamed": {"field_map": {"firstname": {"property_name": "name"}}},
    "require": {"confirm_batches": "require"},
    "single": {"batch_size_rows": 1},
    "words": {"validate_records": False, "consent_words": {"yes": ["ja"], "no": ["Nei"]}},
}


def held(night: Load, name: str = "First") -> list[str]:
    """Return the contacts as `lines_of` has them, with the key of whose data they have."""

    def of(c: Contact) -> str:
        number, more = c["mobile_number"], dict(c["properties"])
        said = [word for word, (what, meant) in OPT_INS.items() if c[what] is meant]
        words = [name_of(c), number and f"+{str(number)[-1]}", *(said if number else said[:1])]
        words.append(str(more.pop("firstname", None)).removeprefix(name))
        more.pop("id", None)
        return " ".join([*filter(None, words), *(f"{k}={v}" for k, v in sorted(more.items()))])

    return sorted(map(of, night.crm.contacts()))


def told(text: str) -> Iterator[tuple[str, str]]:
    """Yield the titles and the words of histories.

    Each has a title, and lines that begin with blanks. `[a|b]` stands for two histories.
    """
    for history in re.split(r"\n(?=\S)", text.strip()):
        title, words = (" ".join(part.split()) for part in history.split("\n", 1))
        parts = enumerate(re.split(r"\[(.*?)\]", words))
        choices = [map(str.strip, one.split("|")) if n % 2 else [one] for n, one in parts]
        for chosen in itertools.product(*choices):
            yield " - ".join([title, *chosen[1::2]]), "".join(chosen)


def loads(text: str) -> pytest.MarkDecorator:
    """Run a test, which has no ledger, with each of these histories, as `play` reads them."""
    return cases("story", *(pytest.param(words, id=title) for title, words in told(text)))


def histories(text: str) -> pytest.MarkDecorator:
    """Run a test with each of these histories, as `play` reads them.

    One whose title has an asterisk is for both kinds of ledger, any other for one of them.
    """
    found: list[t.Any] = []
    for title, words in told(text):
        # PostgreSQL has a clock of its own.
        one = "sqlite" if len(found) % 4 or "days" in words else "postgresql"
        kinds = ("sqlite", "postgresql") if "*" in title else (one,)
        found += [pytest.param(kind, words, id=f"{title} - {kind}") for kind in kinds]
    return pytest.mark.parametrize(("ledger_uri", "story"), found, indirect=["ledger_uri"])


def play(night: t.Any, story: str) -> None:
    """Let nights pass, and things be done by hand in between.

    A night is what `lines_of` reads and may have a fault or a kill, checks, and what the CRM holds
    then: `1 a !lost@1:batch ? 1 accepted, names 1 > a 1`. `again` repeats the one before, and
    `reload` runs on the rejects file. It ends well, unless there is a fault or a check that it
    `fails`. `show` and `forget` are commands, with an exit code of 0 unless they find `nothing`.
    """
    night.crm.set_switches(refuse_email="bad")
    rejects = night.keep_rejects()
    if re.search("!kill|; says|; lose", story):
        night.between()
    ended, last = Ended(0, [], ""), ""
    for step in story.split("; "):
        text, _, there = step.partition(" > ")
        text, _, checks = text.partition(" ? ")
        text, _, fault = text.partition(" !")
        verb, *words = text.split(" ")
        before = night.posts
        if verb in DONE_BY_HAND:
            night.settings |= DONE_BY_HAND[verb](night, *words) or {}
        elif verb in {"show", "forget"}:
            shown = night.command(*shlex.split(text))
            ended = Ended(shown.exit_code, [], shown.output)
            assert shown.exit_code == ("nothing" in checks), (step, shown.output)
        elif fault.startswith("kill"):
            _, what, number, when = fault.split(" ")
            ended = night.killed(last := text, at=Moment(what, int(number), when))
        else:
            last = last if text == "again" else text
            lines = rejects.read_text().splitlines() if text == "reload" else [last]
            ended = night(*lines, faults=fault)
            assert fault or "fails" in checks or ended.code == 0, ended.errors
        for said in filter(None, checks.split(", ")):
            what, _, rest = said.partition(" ")
            if what in CHECKS:
                assert CHECKS[what](night, ended, rest), said
            else:
                counts = {"batches": night.posts - before, "delivered": delivered(ended)}
                count = counts[rest] if rest in counts else ended.count(rest)
                assert count == int(what), said
        if there:
            assert held(night) == sorted(expected(there)), (step, held(night))


def expected(there: str) -> Iterator[str]:
    """Yield the contacts of `p1-3 yes #, b 4`, with the number in the place of `#`."""
    for said in there.split(", "):
        who, _, rest = said.partition(" ")
        for one in spread(who):
            yield f"{one} {rest}".strip().replace("#", one.lstrip("abcdefghijklmnopqrstuvwxyz"))


def delivered(ended: Ended) -> int:
    """Return how many records of all streams were accepted."""
    return sum(counts["accepted"] for counts in ended.report.get("streams", {}).values())


def last_sent(night: Load) -> set[str]:
    """Return the names of the properties of each contact of the last request."""
    contacts = night.bodies[-1]["createUpdateContacts"]
    return {" ".join(n["propertyname"] for n in c.get("propertyfields", ())) for c in contacts}


def has_raised(night: Load, listed: str) -> bool:
    """Return whether a yes was sent to an address, or to a number of which this is the end."""
    yeses = {one.get("email") for one in night.sent if one.get("emailOptIn")}
    yeses |= {str(one.get("mobileNumber")) for one in night.sent if one.get("mobileOptIn")}
    return bool(yeses & {f"{listed}@example.com", f"9000000{listed[1:]}"})


def names_until(night: Load, bookmark: int) -> set[str]:
    """Return the first names of the people up to a key."""
    all_properties = (one["properties"] for one in night.crm.contacts())
    return {one["firstname"] for one in all_properties if int(one["id"]) <= bookmark}


def starts(line: str, words: str) -> bool:
    """Return whether a line begins with these words, however far they are apart."""
    return line.split()[: len(words.split())] == words.split()


CHECKS: dict[str, Callable[[Load, Ended, str], object]] = {
    "yes": lambda night, _, names: night.said(True) == {*spread(names)},
    "no": lambda night, _, names: night.said(False) == {*spread(names)},
    "there": lambda night, _, names: night.addresses == sorted(spread(names)),
    "unraised": lambda night, _, listed: not has_raised(night, listed),
    "sends": lambda night, _, names: last_sent(night) == {names},
    "met": lambda night, _, status: int(status) in {r.status for r in night.crm.requests()},
    "names": lambda _, ended, keys: all(map(ended.names, spread(keys))),
    "fails": lambda _, ended, words: ended.failed(*filter(None, [words])),
    "reason": lambda _, ended, code: [r["code"] for r in ended.report["reasons"]] == [code],
    "says": lambda _, ended, words: words in " ".join(ended.log.split()),
    "hides": lambda _, ended, words: words not in ended.log,
    "row": lambda _, ended, words: any(starts(line, words) for line in ended.log.splitlines()),
    "nothing": lambda _, ended, __: ended.code == 1,
    "warns": lambda _, ended, words: any(words in line for line in ended.warnings),
    "path": lambda night, _, path: {r.path for r in night.crm.requests()} == {path},
    "arrived": lambda night, ended, name: names_until(night, ended.bookmark) <= {name},
    "kept": lambda night, _, count: len(night.rejected()) == int(count),
    "troubled": lambda night, ended, _: (
        ended.report["retries"] or any(r.fault for r in night.crm.requests())
    ),
    "ok": lambda _, ended, __: ended.ok(),
    "bookmark": lambda _, ended, bookmark: ended.bookmark == int(bookmark),
}
"""What may be said of a night, beside counts and how many batches were sent."""


# What is done by hand


def changed(_: Load, *words: str) -> Record:
    """Return settings that have a name here, or are given as JSON or text."""
    found: Record = {}
    for word in words:
        name, is_given, value = word.partition("=")
        with contextlib.suppress(ValueError):
            value = json.loads(value)
        found |= {name: value} if is_given else SETTINGS[name]
    return found


def falsify(night: Night, whose: str, *said: str) -> None:
    """Change what the status of a search, a rename or any batch says, up to `truth`.

    When it is asked for once more, the time has run out. `nameless:1` leaves only the ids out;
    `after p1` says nothing of others until the contact of this address has said yes.
    """
    asked = itertools.count()
    names = ("inserted", "updated", "skipped")
    pairs = (word.partition(":") for word in said)
    named = {name: [json.loads(text)] for name, is_named, text in pairs if is_named}

    def change(contacts: list[Contact], status: Record) -> None:
        is_rename = any("contactId" in contact for contact in contacts)
        kind = "rename" if is_rename else "search" if len(contacts) == 1 else ""
        if whose == "after":
            is_early = said[0] not in {name_of(contacts[0]), *night.said(opt_in=True)}
            status.clear() if is_early else None
        elif "nameless" in named and kind == whose:
            for counted in status["processedObj"].values():
                counted["contactIds"] = []
        elif whose in {"any", kind}:
            night.clock.ahead += 1000 * (next(asked) > 0)
            ids = {name: named.get(name, []) for name in names}
            counts = {name: {"count": len(n), "contactIds": n} for name, n in ids.items()}
            status["processedObj"] = counts

    night.between().falsify = None if whose == "truth" else change


def at(night: t.Any, place: str) -> Record:
    """Return settings of an account elsewhere, or again of the one at `home`."""
    user = {"access_token": "", **night.credentials}
    urls = {"nowhere": "http://127.0.0.1:9", "slash": f"{night.crm.url}/"}
    urls |= {"path": f"{night.crm.url}/elsewhere"}
    urls |= {host: night.crm.url.replace("127.0.0.1", host) for host in ("localhost", "LocalHost")}
    found = {"api_url": urls.get(place, night.crm.url), "access_token": night.crm.token}
    found |= dict.fromkeys((*night.credentials, "sandbox_path"), "")
    if place.endswith(".db"):
        return found | rehearsal(night.folder / place)
    more = {"user": user, "misspelt": user | {"username": "sandbx@example.com"}}
    more["wrong"] = {"access_token": "wrong"}
    return found | more.get(place, {})


class FirstLost:
    """A rule by which the first batch from now on has no answer, and lands only later."""

    request: Request | None = None

    def __call__(self, request: Request) -> Reply | None:
        if request.method != "POST" or self.request:
            return None
        self.request = request
        return RESET


def land(night: Night) -> None:
    """Let the lost batch arrive."""
    rule = night.between().rule
    assert isinstance(rule, FirstLost)
    assert rule.request
    night.between().forward(rule.request)
    night.crm.settle()


DONE_BY_HAND: dict[str, Callable[..., Record | None]] = {
    "set": changed,
    "at": at,
    "says": falsify,
    "land": land,
    "lose": lambda night: setattr(night.between(), "rule", FirstLost()),
    "switch": lambda night, word: night.crm.set_switches(**dict([word.split("=")])),
    "edit": lambda night, who, word: night.edit(who, **dict([word.split("=")])),
    "delete": Load.delete,
    "unsubscribe": Load.unsubscribe,
    "listed": Load.listed,
    "unlink": lambda night, name: (night.folder / name).unlink(),
    "settle": lambda night: night.crm.settle(),
    "days": lambda night, days: night.days_later(float(days)),
    "limit": lambda night, name, most: night.patch.setattr(f"{ROUNDS}.{name}", int(most)),
}
"""What happens between nights, by its first word."""
