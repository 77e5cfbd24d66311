"""The search for bad contacts: every good one lands, every bad one is blamed, nobody else is."""

from __future__ import annotations

import random
import typing as t
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.delivery.bisect import (
    Answers,
    ContactRejected,
    FailureRate,
    RequestAtFaultError,
    Send,
    SendResult,
    deliver,
)

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(eq=False)
class Person:
    """What the search sees of an entry, and what only the server knows."""

    number: int
    is_bad: bool = False
    identifiers: tuple[t.Any, ...] = ()

    def __post_init__(self) -> None:
        self.identifiers = self.identifiers or (self.number,)


@dataclass
class Server:
    """Refuses a request for one bad contact in it, and remembers what it was sent."""

    names: t.Literal["nobody", "first", "all"] = "nobody"
    refuses_everything: bool = False
    answers: Answers = field(default_factory=Answers)
    requests: list[list[int]] = field(default_factory=list)
    landed: list[int] = field(default_factory=list)
    refused_alone: set[int] = field(default_factory=set)
    words: Callable[[Person], str] = lambda _: "no"

    def answer(self, send: Send) -> SendResult:
        people = t.cast("Sequence[Person]", send.entries)
        assert not send.alone or len(people) == 1
        self.requests.append([person.number for person in people])
        sent = self.answers.moment
        bad = [person for person in people if person.is_bad or self.refuses_everything]
        if not bad:
            self.answers.passed(sent)
            self.landed += [person.number for person in people]
            return SendResult(passed=True)
        self.answers.refused()
        if send.alone:
            self.refused_alone.add(people[0].number)
        named = {"nobody": [], "first": bad[:1], "all": bad}[self.names]
        return SendResult(
            passed=False, signature=self.words(bad[0]), suspects=t.cast("t.Any", named)
        )


def load(
    people: list[Person],
    server: Server,
    *,
    batch: int = 100,
    experience: FailureRate | None = None,
    alone: bool = False,
) -> set[int]:
    """Deliver everybody in batches; return who was blamed."""
    experience = experience or FailureRate()
    blamed: set[int] = set()
    for start in range(0, len(people), batch):
        search = deliver(
            t.cast("t.Any", people[start : start + batch]),
            experience=experience,
            alone=alone,
            answers=server.answers,
        )
        verdict: t.Any = None
        while True:
            try:
                step = search.send(verdict)
            except StopIteration:
                break
            if isinstance(step, ContactRejected):
                blamed.add(t.cast("Person", step.entry).number)
                verdict = None
            else:
                verdict = server.answer(step)
    return blamed


def crowd(count: int, is_bad: Callable[[int], bool]) -> list[Person]:
    return [Person(number, is_bad(number)) for number in range(count)]


@given(
    bad=st.sets(st.integers(0, 249), max_size=60),
    names=st.sampled_from(["nobody", "first", "all"]),
    batch=st.sampled_from([1, 2, 7, 100]),
    alone=st.booleans(),
)
def test_all_good_ones_land_once_and_exactly_the_bad_ones_are_blamed(
    bad: set[int], names: t.Any, batch: int, *, alone: bool
) -> None:
    server = Server(names, words=lambda person: f"no {person.number}")
    blamed = load(crowd(250, bad.__contains__), server, batch=batch, alone=alone)
    assert blamed == bad
    assert sorted(server.landed) == sorted(set(range(250)) - bad)
    assert blamed <= server.refused_alone, "blamed without having been refused alone"


@pytest.mark.parametrize(
    ("share", "names", "most"),
    [
        pytest.param(0.001, "nobody", 2_000, id="0.1 %"),
        pytest.param(0.0135, "nobody", 12_500, id="1.35 %"),
        pytest.param(0.05, "nobody", 34_000, id="5 %"),
        pytest.param(0.0135, "first", 4_000, id="1.35 %, the first is named"),
        pytest.param(0.0135, "all", 3_500, id="1.35 %, all are named"),
    ],
)
def test_the_search_is_close_to_the_fewest_possible_requests(
    share: float, names: t.Any, most: int
) -> None:
    """Of 100,000 contacts; one by one would be 75,000 requests at 1.35 %, halving 16,600."""
    chance = random.Random(7)  # noqa: S311 - a simulation
    people = crowd(100_000, lambda _: chance.random() < share)
    server = Server(names)
    blamed = load(people, server)
    assert blamed == {person.number for person in people if person.is_bad}
    assert len(server.requests) <= most


def test_a_cluster_of_bad_ones_is_not_searched_one_by_one_from_the_top() -> None:
    """1,360 bad ones in 20 clusters: fewer than three requests for each."""
    starts = range(1_000, 100_000, 5_000)
    bad = {start + i for start in starts for i in range(68)}
    server = Server()
    assert load(crowd(100_000, bad.__contains__), server) == bad
    assert len(server.requests) < 1_000 + 3 * len(bad)


def test_a_fault_of_the_request_blames_nobody() -> None:
    server = Server(refuses_everything=True)
    with pytest.raises(RequestAtFaultError):
        load(crowd(100, lambda _: False), server)
    assert len(server.requests) <= 20
    alone = [numbers[0] for numbers in server.requests if len(numbers) == 1]
    gaps = [b - a for a, b in zip(sorted(alone), sorted(alone)[1:], strict=False)]
    assert len(alone) == 10
    assert max(gaps) < 25, "the witnesses come from all over the batch"


def test_a_fault_of_the_request_is_found_in_single_mode_too() -> None:
    server = Server(refuses_everything=True)
    with pytest.raises(RequestAtFaultError):
        load(crowd(100, lambda _: False), server, alone=True)
    assert len(server.requests) == 10


def test_different_words_are_no_fault_of_the_request() -> None:
    server = Server(refuses_everything=True, words=lambda person: f"no {person.number}")
    assert load(crowd(40, lambda _: False), server) == set(range(40))


def test_a_pass_elsewhere_means_that_the_request_is_fine() -> None:
    """Another batch of the same list has passed meanwhile: all these really are bad."""
    server = Server(refuses_everything=True)
    answer = server.answer

    def answer_while_others_pass(send: Send) -> SendResult:
        verdict = answer(send)
        server.answers.passed(server.answers.moment)
        return verdict

    server.answer = answer_while_others_pass  # type: ignore[method-assign]
    assert load(crowd(30, lambda _: False), server) == set(range(30))


def test_fewer_than_ten_contacts_cannot_accuse_the_request() -> None:
    server = Server(refuses_everything=True)
    assert load(crowd(9, lambda _: False), server) == set(range(9))


def test_who_passes_alone_has_simply_landed() -> None:
    """Two that are fine alone but clash together: nobody is to blame."""
    people = crowd(10, lambda _: False)
    server = Server()
    answer = server.answer

    def clash(send: Send) -> SendResult:
        numbers = {person.number for person in t.cast("Sequence[Person]", send.entries)}
        if {3, 7} <= numbers:
            server.requests.append(sorted(numbers))
            server.answers.refused()
            return SendResult(passed=False, signature="clash")
        return answer(send)

    server.answer = clash  # type: ignore[method-assign]
    assert load(people, server) == set()
    assert sorted(server.landed) == list(range(10))


@given(
    bad=st.sets(st.integers(0, 39), max_size=12),
    shared=st.lists(st.integers(0, 5), min_size=40, max_size=40),
    names=st.sampled_from(["nobody", "first", "all"]),
)
def test_contacts_that_share_an_identifier_keep_their_order(
    bad: set[int], shared: list[int], names: t.Any
) -> None:
    people = [Person(i, i in bad, (("mobile", shared[i]), i)) for i in range(40)]
    server = Server(names, words=lambda person: f"no {person.number}")
    assert load(people, server, batch=20) == bad
    for mobile in set(shared):
        of_one = [number for number in server.landed if shared[number] == mobile]
        assert of_one == sorted(of_one)


def test_a_request_that_is_too_large_is_halved_and_remembered() -> None:
    sizes: list[int] = []
    server = Server()
    answer = server.answer

    def narrow(send: Send) -> SendResult:
        sizes.append(len(send.entries))
        return answer(send) if len(send.entries) <= 30 else SendResult(passed=False, too_large=True)

    server.answer = narrow  # type: ignore[method-assign]
    assert load(crowd(400, lambda _: False), server) == set()
    assert sorted(server.landed) == list(range(400))
    assert [size for size in sizes if size > 30] == [100, 50]
