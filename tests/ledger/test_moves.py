"""One person stays one contact: what the CRM holds after each history of a changed identity."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from tests.ledger.outside import FULL, counts, held, ledger_command, night, one
from tests.ledgers import on_both_databases

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import RunTarget

M1, M2 = "+4790000001", "+4790000002"


@on_both_databases
def test_a_new_address_leaves_one_contact(run_target: RunTarget, crm: RunningSandbox) -> None:
    run_target(*night(one(1, "a", consent=True)))
    ended = run_target(*night(one(1, "b", consent=True, firstname="New")))
    assert counts(ended) == {"read": 1, "accepted": 1, "moved": 1}
    assert held(crm) == [(None, "b", True, "New")]
    assert ended.states == [{"bookmark": 1}]
    assert counts(run_target(*night(one(1, "b", consent=True, firstname="New")))) == {
        "read": 1,
        "unchanged": 1,
    }


@on_both_databases
def test_a_lost_part_stays_in_the_crm_and_needs_no_further_request(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(one(1, "a", M1)))
    sent = len(crm.requests())
    ended = run_target(*night(one(1, "a", firstname="B")))
    assert counts(ended) == {"read": 1, "accepted": 1, "updates": 1, "old_parts_kept": 1}
    assert len(crm.requests()) == sent + 1
    assert held(crm) == [(M1, "a", None, "B")]
    assert counts(run_target(*night(one(1, "a", firstname="B"))))["unchanged"] == 1


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(("a", M1), ("b", M1), (M1, "b"), id="another address"),
        pytest.param(("a", M1), ("a", M2), (M2, "a"), id="another number"),
        pytest.param(("a", M1), ("b", M2), (M2, "b"), id="both"),
        pytest.param(("a", None), ("a", M1), (M1, "a"), id="a number came"),
        pytest.param((None, M1), ("a", M1), (M1, "a"), id="an address came"),
        pytest.param(("a", None), (None, M1), (M1, "a"), id="one came and one was lost"),
        pytest.param(("a", M1), (None, M2), (M2, "a"), id="one changed and one was lost"),
        pytest.param(("a", M1), ("A", M1), (M1, "A"), id="only case"),
    ],
)
def test_whatever_changes_there_is_one_contact(
    run_target: RunTarget,
    crm: RunningSandbox,
    before: tuple[str | None, str | None],
    after: tuple[str | None, str | None],
    expected: tuple[str | None, str],
) -> None:
    run_target(*night(one(1, *before)))
    run_target(*night(one(1, *after)))
    assert [contact[:2] for contact in held(crm)] == [expected]
    run_target(*night(one(1, *after, firstname="Later")))
    assert held(crm) == [(*expected, None, "Later")]


def test_a_refused_first_delivery_is_corrected(run_target: RunTarget, crm: RunningSandbox) -> None:
    crm.set_switches(refuse_email="bad")
    run_target(*night(one(1, "bad")))
    run_target(*night(one(1, "good"))).ok()
    assert [contact[1] for contact in held(crm)] == ["good"]


def test_a_refused_first_delivery_is_corrected_in_the_same_run(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    crm.set_switches(refuse_email="bad")
    run_target(*night(one(1, "bad"), one(1, "good"), one(2, "x")))
    assert [contact[1] for contact in held(crm)] == ["x", "good"]


def test_a_contact_that_has_moved_is_not_sent_once_more_to_prove_a_refusal(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    crm.set_switches(refuse_email="bad")
    run_target(*night(one(1, "a", consent=True)))
    moving = [one(1, "a", consent=True, firstname="New"), one(1, "b", consent=False)]
    ended = run_target(*night(*moving, one(9, "bad")), batch_size_rows=1, max_rejects=1)
    assert counts(ended)["rejected"] == 1
    assert held(crm) == [(None, "b", False, "First1")]


def test_a_contact_that_moves_is_not_sent_once_more_to_prove_a_refusal(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Its old address would be a second contact."""
    crm.set_switches(refuse_email="bad")
    run_target(*night(one(1, "a")))
    ended = run_target(*night(one(1, "b"), one(9, "bad")), max_rejects=1)
    assert counts(ended)["rejected"] == 1
    assert [contact[1] for contact in held(crm)] == ["b"]


def test_a_search_that_is_accepted_proves_no_refusal(
    run_target: RunTarget, crm: RunningSandbox, tmp_path: Path
) -> None:
    """It has no properties: the list or a property may be at fault, so the run fails."""
    crm.set_switches(refuse_email="bad")
    run_target(*night(one(1, "a")))
    ended = run_target(*night(one(1, "bad")), rejects_path=str(tmp_path / "rejects"))
    assert ended.code == 1
    assert "Nothing was accepted" in ended.error
    assert ended.states == []


def test_a_contact_whose_new_address_is_refused_follows_to_the_next_one(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """It is where it was, though the ledger has asked for another place."""
    crm.set_switches(refuse_email="bad")
    run_target(*night(one(1, "a", consent=True), one(2, "x")))
    ended = run_target(*night(one(1, "bad", consent=True), one(2, "x", firstname="New")))
    assert counts(ended)["rejected"] == 1
    ended = run_target(*night(one(1, "b", consent=True), one(2, "x", firstname="New")))
    assert counts(ended)["moved"] == 1
    assert [contact[1] for contact in held(crm)] == ["b", "x"]


@on_both_databases
def test_a_chain_resolves_whatever_the_order(run_target: RunTarget, crm: RunningSandbox) -> None:
    run_target(*night(one(0, "d"), one(1, "c")))
    ended = run_target(*night(one(2, "d"), one(0, "c"), one(1, "e")))
    assert counts(ended)["moved"] == 2
    assert ended.states
    assert crm_people(crm) == {"c": "First0", "e": "First1", "d": "First2"}


def crm_people(crm: RunningSandbox) -> dict[str | None, object]:
    return {contact[1]: contact[3] for contact in held(crm)}


def test_a_person_deleted_by_hand_comes_back_with_consent(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """Looking for the contact inserts it anew: without a yes, and a warning names it."""
    run_target(*night(one(1, "a", consent=True)))
    (contact,) = crm.contacts()
    crm.delete(contact["id"])
    for number, address in enumerate(("b", "c", "d")):
        ended = run_target(*night(one(1, address, consent=True)), unchanged_opt_in="omit")
        assert [(c[1], c[2]) for c in held(crm)] == [("a", None), (address, True)]
        assert ended.log.count("could not be followed") == (number == 0)


def test_the_touch_is_applied_before_the_rename_goes_out(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(one(1, "a")))
    crm.set_faults("late=0.5:batch")
    run_target(*night(one(1, "b")))
    assert [contact[1] for contact in held(crm)] == ["b"]


@pytest.mark.parametrize("fault", ["noid:batch", "stuck@1:batch", "503:status"])
def test_without_a_status_it_becomes_a_second_contact_with_a_warning(
    run_target: RunTarget, crm: RunningSandbox, fault: str
) -> None:
    run_target(*night(one(1, "a")))
    crm.set_faults(fault)
    ended = run_target(*night(one(1, "b")), confirm_timeout_seconds=1)
    crm.set_faults()
    assert ended.code == 0
    assert counts(ended)["not_followed"] == 1
    assert ended.log.count("could not be followed") == 1
    assert "id=1" in ended.log
    assert [contact[1] for contact in held(crm)] == ["a", "b"]
    assert counts(run_target(*night(one(1, "b"))))["unchanged"] == 1


def test_an_opt_in_that_the_search_resets_is_given_again_with_the_new_address(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """The search carries no yes: it would opt in a contact that it inserts."""
    crm.set_switches(opt_in_on_update="reset")
    run_target(*night(one(1, "a", consent=True)))
    run_target(*night(one(1, "b", consent=True)))
    assert held(crm) == [(None, "b", True, "First1")]


def test_an_identity_that_the_crm_holds_is_taken_over(
    run_target: RunTarget, crm: RunningSandbox, ledger_uri: str
) -> None:
    crm.set_switches(clash="conflict")
    run_target(*night(one(1, "a"), one(9, "b")))
    assert ledger_command(ledger_uri, "forget", "--key", "9").returncode == 0
    ended = run_target(*night(one(1, "b", firstname="New")))
    assert 409 in [request.status for request in crm.requests()]
    assert counts(ended) == {"read": 1, "accepted": 1, "created": 1, "not_followed": 1}
    assert "(id=1)" in ended.log
    assert held(crm) == [(None, "a", None, "First1"), (None, "b", None, "New")]
    later = run_target(*night(one(1, "b", firstname="New")))
    assert counts(later) == {"read": 1, "unchanged": 1}


def test_a_remapped_column_moves_nobody_and_fails_before_the_first_request(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    people = [one(n, f"p{n}", f"+479000{n:04}") for n in range(1, 31)]
    run_target(*night(*people))
    sent = len(crm.requests())
    swapped = [one(n, f"p{n}", f"+479100{n:04}") for n in range(1, 31)]
    ended = run_target(*night(*swapped))
    assert ended.code == 1
    assert "'max_drift_percent' (5)" in ended.error
    assert [reason["code"] for reason in ended.report["reasons"]] == ["max_drift_percent"]
    assert len(crm.requests()) == sent
    assert ended.states == []
    assert counts(run_target(*night(*people))) == {"read": 30, "unchanged": 30}
    assert len(held(crm)) == 30
    assert counts(run_target(*night(*swapped), max_drift_percent=100))["moved"] == 30
    assert len(held(crm)) == 30


def test_moves_that_an_earlier_run_has_begun_are_no_drift(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """More than ten that MainBrainer has failed would fail every later night of a small stream."""
    run_target(*night(*(one(n, f"p{n}") for n in range(12))))
    moved = [one(n, f"q{n}") for n in range(12)]
    crm.set_faults("fail@13:batch")
    assert "moved" not in counts(run_target(*night(*moved), max_drift_percent=100))
    crm.set_faults()
    assert counts(run_target(*night(*moved)))["moved"] == 12
    assert len(held(crm)) == 12


@on_both_databases
def test_missing_and_moved_count_together(run_target: RunTarget, crm: RunningSandbox) -> None:
    full = {**FULL, "missing_records": "opt_out"}
    run_target(*night(*(one(n, f"p{n}", consent=True) for n in range(20))), **full)
    moved = [one(n, f"q{n}", consent=True) for n in range(6)]
    stayed = [one(n, f"p{n}", consent=True) for n in range(6, 14)]
    ended = run_target(*night(*moved, *stayed), **full)
    assert ended.code == 1
    assert "6 are missing and 6 have moved" in ended.error
    assert {contact[2] for contact in held(crm)} == {True}
    assert len(held(crm)) == 20


@pytest.mark.parametrize("path", ["bc", "ba", "bca", "bcb"])
def test_who_moves_several_times_in_one_load_is_one_contact(
    run_target: RunTarget, crm: RunningSandbox, path: str
) -> None:
    run_target(*night(one(1, "a")))
    ended = run_target(*night(*(one(1, address) for address in path)))
    found = counts(ended)
    assert found.get("merged", 0) + found.get("unchanged", 0) >= len(path) - 1
    assert [contact[1] for contact in held(crm)] == [path[-1]]
    assert ended.states


def test_who_moves_back_without_a_part_in_one_load_is_one_contact(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(one(1, "a", M1)))
    run_target(*night(one(1, "b", M2), one(1, "a")))
    assert [contact[:2] for contact in held(crm)] == [(M1, "a")]


def test_a_new_person_who_moves_in_the_first_load_is_one_contact(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(one(1, "a"), one(2, "x"), one(1, "b")))
    assert [contact[1] for contact in held(crm)] == ["b", "x"]


@on_both_databases
def test_a_no_on_the_way_is_delivered(run_target: RunTarget, crm: RunningSandbox) -> None:
    run_target(*night(one(1, "a", consent=True)))
    run_target(*night(one(1, "b", consent=False), one(1, "c")))
    assert held(crm) == [(None, "c", False, "First1")]


@on_both_databases
@pytest.mark.usefixtures("rejects")
def test_people_who_swap_are_set_aside_and_a_no_is_delivered(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    """And nothing else of them: neither a yes, nor a name."""
    run_target(*night(one(1, "a", consent=True), one(2, "b", consent=False), one(3, "c")))
    swapped = one(1, "b", consent=False), one(2, "a", consent=True)
    ended = run_target(*night(*swapped, one(3, "d"))).ok()
    assert ended.counts["rejected_by_code"] == {"identity_taken": 2}
    people = [(None, "a", False, "First1"), (None, "b", False, "First2")]
    assert held(crm) == [*people, (None, "d", None, "First3")]


def test_twins_in_the_source_move_together(run_target: RunTarget, crm: RunningSandbox) -> None:
    run_target(*night(one(1, "a"), one(2, "a")))
    ended = run_target(*night(one(1, "b"), one(2, "b")))
    assert counts(ended)["moved"] == 2
    assert crm_people(crm) == {"b": "First2"}


@on_both_databases
def test_twins_of_whom_one_has_lost_a_part_move_together(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(one(1, mobile=M1), one(2, mobile=M1)))
    ended = run_target(*night(one(1, "a", M1), one(2, "a")))
    assert counts(ended)["moved"] == 2
    assert held(crm) == [(M1, "a", None, "First2")]
    assert counts(run_target(*night(one(1, "a", M1), one(2, "a"))))["read"] == 2
    assert held(crm) == [(M1, "a", None, "First2")]


def test_twins_whose_addresses_differ_in_case_have_two_contacts_and_one_is_named(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(one(1, "a"), one(2, "A")))
    ended = run_target(*night(one(1, "b"), one(2, "b")))
    assert counts(ended)["not_followed"] == 1
    assert "(id=2)" in ended.log
    assert crm_people(crm) == {"b": "First2", "A": "First2"}


def test_who_leaves_an_identity_that_another_keeps_gets_a_contact_of_their_own(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(one(1, "a"), one(2, "a")))
    ended = run_target(*night(one(1, "b"), one(2, "a")))
    assert counts(ended)["not_followed"] == 1
    assert crm_people(crm) == {"a": "First2", "b": "First1"}


MANY = 60


@pytest.mark.parametrize(
    ("faults", "questions"),
    [
        pytest.param([], MANY + 1, id="applied at once"),
        pytest.param(["late=0.08:batch"], 4 * MANY, id="applied later"),
    ],
)
def test_many_move_side_by_side_with_five_requests_each_at_most(
    run_target: RunTarget, crm: RunningSandbox, faults: list[str], questions: int
) -> None:
    run_target(*night(*(one(n, f"p{n}") for n in range(MANY))))
    before = len(crm.requests())
    crm.set_faults("latency=0.05:batch", *faults)
    moved = [one(n, f"q{n}") for n in range(MANY)]
    ended = run_target(*night(*moved), max_drift_percent=100)
    assert counts(ended)["moved"] == MANY
    assert [contact[1] for contact in held(crm)] == [f"q{n}" for n in range(MANY)]
    requests = crm.requests()[before:]
    sent = [request for request in requests if request.method == "POST"]
    assert len(sent) == MANY + 1
    assert len(requests) - len(sent) <= questions
    assert any(later.started < one.ended for one, later in itertools.pairwise(sent))


# Consent


@on_both_databases
def test_an_unsubscription_in_the_crm_survives_a_new_address(
    run_target: RunTarget, crm: RunningSandbox
) -> None:
    run_target(*night(one(1, "a", consent=True)), unchanged_opt_in="omit")
    unsubscribe(run_target, "a")
    run_target(*night(one(1, "a", consent=True, firstname="B")), unchanged_opt_in="omit")
    run_target(*night(one(1, "b", consent=True)), unchanged_opt_in="omit")
    everything = {"unchanged_contacts": "send"}
    run_target(*night(one(1, "b", consent=True)), unchanged_opt_in="omit", **everything)
    assert [(c[1], c[2]) for c in held(crm)] == [("b", False)]
    run_target(*night(one(1, "b", consent=False)), unchanged_opt_in="omit")
    run_target(*night(one(1, "b", consent=True)), unchanged_opt_in="omit")
    assert [(c[1], c[2]) for c in held(crm)] == [("b", True)]


def unsubscribe(run_target: RunTarget, address: str) -> None:
    """Do what the person can do in MainBrainer."""
    run_target(*night(one(1, address, consent=False)), ledger_uri="")
