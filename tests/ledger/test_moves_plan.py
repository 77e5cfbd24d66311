"""In which order people can be followed: chains, swaps, twins, and any others."""

from __future__ import annotations

import typing as t

from hypothesis import given, settings
from hypothesis import strategies as st

from target_mainbrainer.contacts import Contact, Mobile
from target_mainbrainer.ledger.comparison import Entry, identity_text
from target_mainbrainer.ledger.moves_plan import Key, Mover, Step, follow, next_steps


def key(number: int) -> Key:
    return Key(1, str(number))


def mover(number: int, before: int, after: int) -> Mover:
    return Mover(key(number), before, after, frozenset([before, after]))


def test_a_new_identity_that_somebody_keeps_is_not_followed() -> None:
    steps = next_steps([mover(1, 1, 2)], {1: {key(1)}, 2: {key(2)}})
    assert steps == {key(1): Step.NOT_FOLLOWED}


def test_an_old_identity_that_somebody_keeps_is_not_followed() -> None:
    steps = next_steps([mover(1, 1, 2)], {1: {key(1), key(2)}})
    assert steps == {key(1): Step.NOT_FOLLOWED}


def test_an_id_that_is_known_needs_no_old_identity() -> None:
    steps = next_steps([mover(1, 1, 2)._replace(has_id=True)], {1: {key(1), key(2)}})
    assert steps == {key(1): Step.MOVE}


def test_one_of_two_source_keys_of_a_person_moves_and_the_other_joins() -> None:
    twins = [mover(1, 1, 2), mover(2, 1, 2)]
    assert next_steps(twins, {1: {key(1), key(2)}}) == {key(1): Step.MOVE}
    holders = {1: {key(2)}, 2: {key(1)}}
    assert next_steps(twins[1:], holders, moved={key(1): 1}) == {key(2): Step.JOIN}


def test_the_identity_of_who_was_set_aside_is_taken() -> None:
    steps = next_steps([mover(1, 1, 2)], {1: {key(1)}, 2: {key(2)}}, stuck={key(2)})
    assert steps == {key(1): Step.TAKEN}


@settings(max_examples=200, deadline=None)
@given(
    before=st.permutations(range(6)),
    after=st.permutations(range(9)).map(lambda places: places[:6]),
)
def test_anybody_moves_only_to_what_is_free_and_only_swaps_are_set_aside(
    before: list[int], after: list[int]
) -> None:
    """Six people with an identity each, who all go to others at once."""
    held = {place: key(number) for number, place in enumerate(before)}
    waiting = {
        key(number): mover(number, *places)
        for number, places in enumerate(zip(before, after, strict=True))
        if places[0] != places[1]
    }
    stuck: set[Key] = set()
    while waiting:
        holders: dict[int, t.Collection[Key]] = {place: {one} for place, one in held.items()}
        steps = next_steps(list(waiting.values()), holders, stuck=stuck)
        assert steps
        for one, step in steps.items():
            moving = waiting.pop(one)
            if step is Step.MOVE:
                assert moving.after not in held
                held[moving.after] = held.pop(moving.before)
            elif step is Step.TAKEN:
                stuck.add(one)
    assert len(held) == len(before)
    for one in stuck:
        start = place = before[int(one.key)]
        while place in before and (place := after[before.index(place)]) != start:
            assert place in before, "the end of the chain was free"


# What the CRM holds

A, B = "a@example.com", "b@example.com"
M = Mobile(47, 90000001)


def entry(contact: Contact, **more: t.Any) -> Entry:
    fields: dict[str, t.Any] = {"delivered_at": 1, **more}
    return Entry(stream=1, key="1", identity=identity_text(contact), identity_hash=0, **fields)


def test_what_is_as_delivered_need_not_be_followed() -> None:
    assert follow(entry(Contact(email=A)), Contact(email=A)) is None


def test_a_lost_part_is_no_move_and_stays() -> None:
    found = follow(entry(Contact(mobile=M, email=A)), Contact(email=A))
    assert found is not None
    assert (found.is_move, found.keeps_part) == (False, True)
    assert (found.contact.mobile, found.contact.email) == (M, A)


def test_a_country_code_that_is_lost_is_no_move() -> None:
    found = follow(entry(Contact(mobile=M)), Contact(mobile=Mobile(None, M.number)))
    assert found is not None
    assert (found.is_move, found.contact.mobile) == (False, M)


def test_another_part_is_a_move_and_takes_what_the_source_has_lost_with_it() -> None:
    found = follow(entry(Contact(mobile=M, email=A)), Contact(email=B))
    assert found is not None
    assert (found.is_move, found.contact.mobile, found.contact.email) == (True, M, B)


def test_what_was_refused_is_not_followed_and_what_got_no_answer_is() -> None:
    refused = entry(Contact(email=A), delivered_at=None)
    assert follow(refused, Contact(email=B)) is None
    unanswered = entry(Contact(email=A), delivered_at=None, token=7)
    found = follow(unanswered, Contact(email=B))
    assert found is not None
    assert found.is_move


def test_contact_ids_decide_by_themselves() -> None:
    assert follow(entry(Contact(email=A)), Contact(contact_id=7, email=B)) is None
    assert follow(entry(Contact(contact_id=7)), Contact(email=B)) is None


def test_an_unfinished_move_goes_on_even_if_the_person_is_back() -> None:
    found = follow(entry(Contact(email=A), moving_id=7), Contact(email=A))
    assert found is not None
    assert (found.is_move, found.moving_id) == (True, 7)
