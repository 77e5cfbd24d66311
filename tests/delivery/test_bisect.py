"""The search for bad contacts: every good one passes once, every bad one is refused alone."""

from __future__ import annotations

import random
import typing as t
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_mainbrainer.delivery.bisect import FailureRate, Send, SendResult, search

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(eq=False)
class Person:
    """What the search sees of a contact, and what only the server knows.

    Attributes:
        records: The numbers of the records it was made of.
        bad: Those of them that the server refuses.
    """

    records: tuple[int, ...]
    bad: frozenset[int] = frozenset()
    identifiers: tuple[t.Any, ...] = ()

    def __post_init__(self) -> None:
        self.identifiers = self.identifiers or self.records

    @property
    def is_merged(self) -> bool:
        return len(self.records) > 1

    def halves(self) -> tuple[Person, Person]:
        middle = len(self.records) // 2
        parts = self.records[:middle], self.records[middle:]
        first, second = (Person(part, self.bad & set(part), self.identifiers) for part in parts)
        return first, second


@dataclass
class Server:
    """Refuses a request for one bad record in it, and remembers what it was sent."""

    names: t.Literal["none", "first", "all"] = "none"
    most: int = 1000
    clashing: frozenset[int] = frozenset()
    requests: list[list[int]] = field(default_factory=list)
    landed: list[int] = field(default_factory=list)
    refused_alone: list[int] = field(default_factory=list)

    def answer(self, send: Send) -> SendResult:
        people = t.cast("Sequence[Person]", send.contacts)
        assert not send.alone or len(people) == 1
        records = [number for person in people for number in person.records]
        self.requests.append(records)
        if len(people) > self.most:
            return SendResult(passed=False, too_large=True)
        bad = [person for person in people if person.bad]
        if not bad and not (self.clashing and self.clashing <= set(records)):
            self.landed += records
            return SendResult(passed=True)
        if send.alone and not people[0].is_merged:
            self.refused_alone += people[0].records
        named = {"none": [], "first": bad[:1], "all": bad}[self.names]
        return SendResult(passed=False, suspects=t.cast("t.Any", named))


def load(
    people: list[Person],
    server: Server,
    *,
    batch: int = 100,
    rate: FailureRate | None = None,
    alone: bool = False,
) -> None:
    """Deliver all of them in batches."""
    rate = rate or FailureRate()
    for start in range(0, len(people), batch):
        steps = search(t.cast("t.Any", people[start : start + batch]), rate, alone=alone)
        try:
            send = next(steps)
            while True:
                send = steps.send(server.answer(send))
        except StopIteration:
            continue


def crowd(count: int, is_bad: Callable[[int], bool]) -> list[Person]:
    return [Person((n,), frozenset({n} if is_bad(n) else ())) for n in range(count)]


@given(
    bad=st.sets(st.integers(0, 249), max_size=60),
    names=st.sampled_from(["none", "first", "all"]),
    batch=st.sampled_from([1, 2, 7, 100]),
    alone=st.booleans(),
)
def test_all_good_ones_land_once_and_exactly_the_bad_ones_are_refused_alone(
    bad: set[int], names: t.Any, batch: int, *, alone: bool
) -> None:
    server = Server(names)
    load(crowd(250, bad.__contains__), server, batch=batch, alone=alone)
    assert sorted(server.refused_alone) == sorted(bad)
    assert sorted(server.landed) == sorted(set(range(250)) - bad)


@pytest.mark.parametrize(
    ("share", "names", "most"),
    [
        pytest.param(0.001, "none", 2_000, id="0.1 %"),
        pytest.param(0.0135, "none", 12_100, id="1.35 %"),
        pytest.param(0.05, "none", 34_000, id="5 %"),
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
    load(people, server)
    assert server.refused_alone == [person.records[0] for person in people if person.bad]
    assert len(server.requests) <= most


def test_a_cluster_of_bad_ones_is_not_searched_one_by_one_from_the_top() -> None:
    """1,360 bad ones in 20 clusters: fewer than three requests for each."""
    starts = range(1_000, 100_000, 5_000)
    bad = {start + i for start in starts for i in range(68)}
    server = Server()
    load(crowd(100_000, bad.__contains__), server)
    assert set(server.refused_alone) == bad
    assert len(server.requests) < 1_000 + 3 * len(bad)


def test_two_that_are_fine_alone_but_clash_together_both_land() -> None:
    server = Server(clashing=frozenset({3, 7}))
    load(crowd(10, lambda _: False), server)
    assert server.refused_alone == []
    assert sorted(server.landed) == list(range(10))


@given(
    bad=st.sets(st.integers(0, 39), max_size=12),
    shared=st.lists(st.integers(0, 5), min_size=40, max_size=40),
    names=st.sampled_from(["none", "first", "all"]),
    most=st.sampled_from([1, 3, 8, 1000]),
)
def test_contacts_that_share_an_identifier_keep_their_order(
    bad: set[int], shared: list[int], names: t.Any, most: int
) -> None:
    """Whatever is refused, and whatever is too large (413)."""
    people = [
        Person((i,), frozenset({i} & bad), (("mobile", shared[i]), ("email", i))) for i in range(40)
    ]
    server = Server(names, most=most)
    load(people, server, batch=20)
    assert set(server.refused_alone) == bad
    for mobile in set(shared):
        of_one = [number for number in server.landed if shared[number] == mobile]
        assert of_one == sorted(of_one)


def test_a_request_that_is_too_large_is_halved_and_remembered() -> None:
    server = Server(most=30)
    load(crowd(400, lambda _: False), server)
    assert server.landed == list(range(400))
    assert [len(sent) for sent in server.requests if len(sent) > 30] == [100, 50]


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    bad=st.sets(st.integers(0, 71), max_size=10),
    names=st.sampled_from(["none", "first", "all"]),
)
def test_of_a_merged_contact_only_the_bad_records_are_refused(
    sizes: list[int], bad: set[int], names: t.Any
) -> None:
    """Its records are sent in their order, so that two upserts in a row do what they would do."""
    people, count = [], 0
    for size in sizes:
        records = tuple(range(count, count + size))
        people.append(Person(records, frozenset(bad & set(records)), (count,)))
        count += size
    server = Server(names)
    load(people, server, batch=4)
    assert sorted(server.refused_alone) == sorted(bad & set(range(count)))
    assert sorted(server.landed) == sorted(set(range(count)) - bad)
    for person in people:
        of_one = [number for number in server.landed if number in person.records]
        assert of_one == sorted(of_one)


def test_one_bad_record_of_a_hundred_costs_few_requests() -> None:
    server = Server()
    load([Person(tuple(range(100)), frozenset({63}))], server)
    assert server.refused_alone == [63]
    assert len(server.requests) <= 16
