"""A 202 only queues: batches are asked for until they have ended, and nothing is assumed."""

import itertools
import typing as t
from collections.abc import Sequence

import pytest

from target_mainbrainer.words import counted
from tests.broken_server import STALL, Reply, Request, reply
from tests.loads import Load, Record, cases, people

pytestmark = pytest.mark.usefixtures("hasty")


TEN = "0-9 bare contact_id:100# =x"


def status(*done: int, skipped: int = 0, ids: Sequence[int] = (), **more: t.Any) -> Reply:
    """Answer how many were inserted, updated and skipped; `ids` are those of the skipped."""
    counts = zip(("inserted", "updated"), done, strict=False)
    processed: Record = {name: {"count": number} for name, number in counts}
    processed["skipped"] = {"count": skipped, "contactIds": list(ids)}
    return reply(200, {"id": "b", "processedObj": processed, **more})


def answer(load: Load, *statuses: Reply, named: Sequence[t.Any] = ()) -> None:
    """Accept every batch; answer so many questions, and let the time run out at the next one."""
    asked = itertools.count()

    def answer(request: Request) -> Reply:
        if request.method == "GET":
            number = next(asked)
            load.clock.ahead += 1000 * (number >= len(statuses))
            return statuses[min(number, len(statuses) - 1)] if statuses else STALL
        data = {"BatchId": f"b{request.number}", "InvalidContactIds": list(named)}
        return reply(202, {"status": "Success", "data": data})

    load.serve(answer)


def test_many_open_batches_are_asked_for_beside_sending(load: Load) -> None:
    """Neither memory nor the disk fills with what waits for the end of a large load."""
    load.patch.setattr("target_mainbrainer.rounds.round.MAX_CONTACTS", 20)
    load.patch.setattr("target_mainbrainer.rounds.load.MOST_OPEN_BATCHES", 3)
    load.patch.setattr("target_mainbrainer.rounds.load.SPARE_SHARE", 0)
    load.settings |= {"confirm_batches": "report", "batch_size_rows": 10}
    load(people(400), faults="latency=0.02:batch").ok()
    methods = [request.method for request in load.crm.requests()]
    assert "GET" in methods[: methods.index("POST") + 30]
    assert methods.count("POST") == 40


def test_the_wait_for_confirmation_begins_anew_with_each_batch(load: Load) -> None:
    """Else a plan's permits would not suffice to ask for all batches of a large load in time."""
    accepted, heard = list[str](), set[str]()

    def answer(request: Request) -> Reply:
        """Confirm the batches one after the other, each when it is asked for once more."""
        if request.method == "POST":
            accepted.append(f"b{request.number}")
            return reply(202, {"status": "Success", "data": {"BatchId": accepted[-1]}})
        number = request.path.split("/")[2]
        is_heard = number in heard
        heard.update({number} & {*accepted[:1]})
        if not is_heard:
            return status()
        load.clock.ahead += 80
        accepted.remove(number)
        return status(1)

    load.serve(answer)
    ended = load(people(4), confirm_batches="report", batch_size_rows=1).ok()
    assert (ended.count("inserted"), ended.count("unconfirmed")) == (4, 0)


# --- Contacts that a 202 names as invalid


@cases(
    "named found unmatched",
    *((["1005", 1006], 2, 0), ([999, 1005], 1, 1), ([None, {}, "p5@example.com"], 0, 3)),
)
@cases("mode", "report", "require")
def test_a_contact_named_invalid_on_the_202(
    load: Load, named: list[t.Any], found: int, unmatched: int, mode: str
) -> None:
    """An id that matches is rejected; another is a warning, and with `require` fails the run."""
    load.keep_rejects()
    answer(load, status(0, 10 - found, skipped=found), named=named)
    ended = load(TEN, confirm_batches=mode)
    assert (ended.count("accepted"), ended.count("rejected")) == (10 - found, found)
    assert {line["rejection"]["code"] for line in load.rejected()} <= {"unknown_contact_id"}
    is_told = f"named {counted(unmatched, 'contact')} of stream 'people' as invalid" in ended.log
    assert is_told == bool(unmatched)
    fails = mode == "require" and unmatched > 0
    assert ended.code == int(fails), ended.errors
    assert ended.bookmark == (0 if fails else 10)


# --- What a status says

CONFIRMED, OPEN, SKIPPED, FAILED = "", "not confirmed", "skipped contacts", "failed"


@cases(
    "said named end",
    pytest.param(status(), (), OPEN, id="nothing yet"),
    pytest.param(status(4, 6), (), CONFIRMED, id="all"),
    pytest.param(status(11), (), OPEN, id="more than were sent"),
    pytest.param(status(10, skipped=10), (), OPEN, id="twice"),
    pytest.param(status(10, statusFailedReason="No"), (), FAILED, id="failed"),
    pytest.param(status(status=99), (), OPEN, id="an unknown number"),
    pytest.param(reply(200, {"id": "b"}), (), OPEN, id="nothing to read"),
    pytest.param(reply(404), (), OPEN, id="no status"),
    # One contact was named as invalid: it may be counted as skipped, or not at all.
    pytest.param(status(9), (1007,), CONFIRMED, id="named, not counted"),
    pytest.param(status(9, skipped=1, ids=[1007]), (1007,), CONFIRMED, id="named twice"),
    pytest.param(status(9, skipped=1, ids=[1008]), (1007,), SKIPPED, id="another skipped"),
    pytest.param(status(8, skipped=1), (1007,), OPEN, id="named, in part"),
    pytest.param(status(8, skipped=2), (1007,), SKIPPED, id="named, one more skipped"),
    pytest.param(status(8), (1007,), OPEN, id="named, two lack"),
)
def test_outcomes_by_status(load: Load, said: Reply, named: tuple[int, ...], end: str) -> None:
    """Anything but a confirmation holds STATE back and fails the run."""
    load.keep_rejects()
    answer(load, said, named=named)
    ended = load(TEN, confirm_batches="require")
    ended.ok() if end == CONFIRMED else ended.failed(end)
    assert ended.bookmark == (10 if end == CONFIRMED else 0)
    assert ended.count("rejected") == (10 if end == FAILED else len(named))
    assert ended.count("unconfirmed") == (10 if end == OPEN else 0)
    is_counted = ended.count("inserted") > 0
    assert is_counted == (end in {CONFIRMED, SKIPPED})


@cases("mode code", ("report", 0), ("require", 1))
def test_an_answer_after_the_end_is_not_waited_for(load: Load, mode: str, code: int) -> None:
    answer(load)
    ended = load(TEN, confirm_batches=mode)
    assert (ended.code, ended.bookmark) == (code, 0 if code else 10), ended.errors
    assert ended.count("inserted") == 0
    assert ended.count("unconfirmed") == 10
