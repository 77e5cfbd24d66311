"""Whether the request or its contacts are at fault is decided by what was sent since."""

from __future__ import annotations

import itertools
import threading
import typing as t

import pytest

from target_mainbrainer.api.answers import Accepted, Refusal
from target_mainbrainer.contacts.contact import Contact
from target_mainbrainer.delivery import circuit_breaker, queue
from target_mainbrainer.delivery.batch import Batch, Destination
from target_mainbrainer.delivery.circuit_breaker import OPENS_AFTER, CircuitBreaker
from target_mainbrainer.delivery.pending_contact import ContactPart, PendingContact
from target_mainbrainer.delivery.queue import BatchQueue
from target_mainbrainer.delivery.sender import Refused
from target_mainbrainer.delivery.witnesses import Witness
from target_mainbrainer.errors import InterruptedRunError, RequestRefusedError
from target_mainbrainer.singer.source_record import SourceRecord, StateInterval

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PLACE = Destination(None, None)


class Stream:
    """What the breaker sees of a stream."""

    stream = "people"


def contact(number: int) -> PendingContact:
    part = ContactPart(
        Contact(email=f"p{number}@example.com"), SourceRecord(StateInterval(), number, b"")
    )
    return PendingContact(part.contact, (number,), [part], number)


def batch_of(numbers: Iterable[int], *shared: str) -> Batch:
    """A batch of contacts that share these identifiers."""
    contacts = [contact(number) for number in numbers]
    for one in contacts:
        one.identifiers = (*one.identifiers, *shared)
    keys = {key for one in contacts for key in one.identifiers}
    return Batch(contacts, keys, PLACE, t.cast("t.Any", Stream()))


class Server:
    """Refuses contacts by number, and remembers whom it was asked about, and how."""

    def __init__(self, words: Callable[[int], str | None]) -> None:
        self.words = words
        self.asked: list[tuple[int, bool]] = []

    def send(
        self, destination: Destination, contacts: Sequence[PendingContact], *, alone: bool
    ) -> Accepted | Refused:
        assert destination == PLACE
        (only,) = contacts
        self.asked.append((only.place, alone))
        words = self.words(only.place)
        return Accepted() if words is None else Refused(Refusal(422, words), contacts)


class Doubt:
    """A breaker that has heard so many refusals in a row, about one batch in hand."""

    def __init__(
        self,
        words: Callable[[int], str | None],
        *,
        row: int = OPENS_AFTER,
        batch: Batch | None = None,
    ) -> None:
        self.server = Server(words)
        self.queue = BatchQueue(lambda: 4)
        self.breaker = CircuitBreaker(PLACE, self.queue, t.cast("t.Any", self.server))
        self.batch = batch or batch_of(range(20))
        assert self.queue.put(self.batch, wait_seconds=0)
        assert self.queue.take() is self.batch
        self.refused = [
            Refused(Refusal(422, "no"), [self.batch.contacts[n % len(self.batch.contacts)]])
            for n in range(row)
        ]
        for refused in self.refused:
            self.breaker.refused(refused)

    def put(self, numbers: Iterable[int]) -> None:
        assert self.queue.put(batch_of(numbers), wait_seconds=0)

    def remember(self, number: int, *, alone: bool) -> None:
        """Let a batch of one contact pass, as a worker does."""
        self.put([number])
        taken = self.queue.take()
        assert taken is not None
        (only,) = taken.contacts
        self.queue.done(taken, Witness(only, taken.keys_of(only), alone))


def test_only_what_was_sent_after_a_refusal_shows_that_it_was_the_contacts_fault() -> None:
    """An answer may have been under way while the fault began."""
    doubt = Doubt(lambda _: None, row=0)
    breaker, one = doubt.breaker, doubt.batch.contacts[0]
    sent_before = breaker.wait_for_leave(doubt.batch)
    refused = Refused(Refusal(422, "no"), [one])
    breaker.refused(refused)
    breaker.hold(doubt.batch, one, refused)
    breaker.passed(sent_before)
    assert breaker.take_proven() == []
    breaker.passed(breaker.wait_for_leave(doubt.batch))
    assert [held.contact for held in breaker.take_proven()] == [one]
    assert breaker.take_proven() == []


def test_a_pass_elsewhere_closes_the_circuit() -> None:
    doubt = Doubt(lambda _: None)
    assert doubt.breaker.is_open
    doubt.breaker.passed(0)
    assert not doubt.breaker.is_open
    doubt.breaker.wait_for_leave(doubt.batch)
    assert doubt.server.asked == []


@pytest.mark.parametrize("alone", [True, False])
def test_who_passed_before_is_asked_first_and_as_it_was_sent(*, alone: bool) -> None:
    doubt = Doubt(lambda _: None)
    doubt.remember(100, alone=alone)
    doubt.breaker.wait_for_leave(doubt.batch)
    assert doubt.server.asked == [(100, alone)]
    assert not doubt.breaker.is_open


def test_who_passed_before_and_is_refused_in_the_same_words_accuses_the_request() -> None:
    doubt = Doubt(lambda _: "no")
    doubt.remember(100, alone=True)
    with pytest.raises(RequestRefusedError, match="the contacts are not at fault"):
        doubt.breaker.wait_for_leave(doubt.batch)
    assert doubt.server.asked == [(100, True)]


def test_who_comes_again_is_no_witness() -> None:
    """Newer data of it waits, or is in: the old must not be sent after it."""
    doubt = Doubt(lambda _: None)
    doubt.remember(100, alone=True)
    doubt.put([100])
    doubt.queue.end_input()
    doubt.breaker.wait_for_leave(doubt.batch)
    assert doubt.server.asked == [(19, True)], "one of all those that wait"


def test_while_a_witness_is_sent_again_newer_data_of_it_waits() -> None:
    doubt = Doubt(lambda _: None)
    doubt.remember(100, alone=True)
    seen: list[bool] = []

    def words(number: int) -> str | None:
        if number == 100:
            doubt.put([100])
            seen.append(any(batch.keys == {100} for batch in doubt.queue.ready(PLACE)))
        return None

    doubt.server.words = words
    doubt.breaker.wait_for_leave(doubt.batch)
    assert seen == [False]
    assert any(batch.keys == {100} for batch in doubt.queue.ready(PLACE))


def test_contacts_from_all_over_the_queue_are_asked() -> None:
    doubt = Doubt(lambda number: "no" if number < 1000 else None)
    for start in range(100, 1100, 100):
        doubt.put(range(start, start + 100))
    doubt.queue.end_input()
    doubt.breaker.wait_for_leave(doubt.batch)
    assert len(doubt.server.asked) == 1, "the latest is asked first, and is a good one"
    assert doubt.server.asked[0][0] >= 1000


def test_ten_from_all_over_refused_in_the_same_words_accuse_the_request() -> None:
    doubt = Doubt(lambda _: "no")
    for start in range(100, 1100, 100):
        doubt.put(range(start, start + 100))
    doubt.queue.end_input()
    with pytest.raises(RequestRefusedError):
        doubt.breaker.wait_for_leave(doubt.batch)
    asked = sorted(number for number, alone in doubt.server.asked if alone)
    assert len(asked) == 10
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert max(gaps) < 200
    assert doubt.breaker.take_proven() == []


def test_contacts_refused_in_different_words_are_refused_for_reasons_of_their_own() -> None:
    doubt = Doubt(lambda number: f"no {number}" if number % 2 else "no")
    for one, refused in zip(doubt.batch.contacts, doubt.refused, strict=False):
        doubt.breaker.hold(doubt.batch, one, refused)
    doubt.batch.close(doubt.batch.contacts[:OPENS_AFTER])
    doubt.queue.end_input()
    doubt.breaker.wait_for_leave(doubt.batch)
    assert len(doubt.breaker.take_proven()) == OPENS_AFTER


def test_a_trial_asks_none_that_has_to_wait_for_another() -> None:
    """Neither in its own batch nor in the queue."""
    doubt = Doubt(lambda _: "no", batch=batch_of([1, 2, 3], "shared"))
    doubt.put([50])
    for waiting in (batch_of([60], "shared"), batch_of([50])):
        assert doubt.queue.put(waiting, wait_seconds=0)
    doubt.queue.end_input()
    doubt.breaker.wait_for_leave(doubt.batch)
    assert sorted(number for number, _ in doubt.server.asked) == [1, 50]


def test_a_trial_waits_for_more_input_before_it_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first are bad, and the tap is slow: those after them decide."""
    monkeypatch.setattr(queue, "MIN_CONTACTS", 100)
    doubt = Doubt(lambda number: "no" if number < 20 else None)
    left: list[int] = []
    thread = threading.Thread(
        target=lambda: left.append(doubt.breaker.wait_for_leave(doubt.batch)), daemon=True
    )
    thread.start()
    for start in range(100, 400, 100):
        assert doubt.server.asked == []
        doubt.put(range(start, start + 50))
    doubt.queue.end_input()
    thread.join(10)
    assert left == [OPENS_AFTER]
    assert doubt.server.asked[0][0] >= 300


def test_a_silent_input_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_breaker, "SILENCE_SECONDS", 0.01)
    doubt = Doubt(lambda number: "no" if number < 10 else None)
    doubt.breaker.wait_for_leave(doubt.batch)
    assert not doubt.breaker.is_open


def test_the_others_wait_while_a_trial_runs_and_go_on_after_it() -> None:
    """While a contact of theirs is asked alone, their batch must not be sent too."""
    doubt = Doubt(lambda _: None)
    is_asking, may_answer = threading.Event(), threading.Event()

    def words(_: int) -> str | None:
        is_asking.set()
        assert may_answer.wait(10)
        return None

    doubt.server.words = words
    doubt.queue.end_input()
    gone: list[str] = []

    def leave(name: str) -> None:
        doubt.breaker.wait_for_leave(doubt.batch)
        gone.append(name)

    first = threading.Thread(target=leave, args=("first",), daemon=True)
    first.start()
    assert is_asking.wait(10)
    second = threading.Thread(target=leave, args=("second",), daemon=True)
    second.start()
    doubt.breaker.passed(0)  # something that was under way
    second.join(0.2)
    assert gone == []
    may_answer.set()
    first.join(10)
    second.join(10)
    assert sorted(gone) == ["first", "second"]
    assert len(doubt.server.asked) == 1


def test_after_a_refusal_one_batch_at_a_time_is_sent_until_a_request_has_passed() -> None:
    doubt = Doubt(lambda _: None, row=1)
    doubt.breaker.wait_for_leave(doubt.batch)
    other = batch_of([100])
    gone = threading.Event()

    def leave() -> None:
        doubt.breaker.wait_for_leave(other)
        gone.set()

    threading.Thread(target=leave, daemon=True).start()
    assert not gone.wait(0.2)
    doubt.breaker.leave(doubt.batch)
    assert gone.wait(10)


def test_a_run_that_ends_lets_no_thread_wait() -> None:
    doubt = Doubt(lambda _: None, row=0)
    doubt.breaker.wait_for_leave(doubt.batch)
    doubt.breaker.close()
    with pytest.raises(InterruptedRunError):
        doubt.breaker.wait_for_leave(batch_of([100]))
