"""A batch is asked for until it has ended; what its status does not say is never success."""

from __future__ import annotations

import threading
import typing as t

import pytest

from tests.broken_server import PAGE, STALL, reply
from tests.loads import people
from tests.rounds.statuses import TEN, answering
from tests.rounds.statuses import reply_status as status

if t.TYPE_CHECKING:
    from tests.broken_server import Reply, Request
    from tests.loads import Load

pytestmark = pytest.mark.usefixtures("hasty")

FORM = {"errors": [{"text": "x"}]}
CONFIRMED, OPEN, SKIPPED, FAILED = "", "not confirmed", "skipped contacts", "failed"


@pytest.mark.parametrize(
    ("answer", "named", "end"),
    [
        pytest.param(status(), (), OPEN, id="nothing yet"),
        pytest.param(status(9), (), OPEN, id="in part"),
        pytest.param(status(4, 6), (), CONFIRMED, id="all"),
        pytest.param(status(11), (), OPEN, id="more than were sent"),
        pytest.param(status(10, skipped=10), (), OPEN, id="twice"),
        pytest.param(status(9, skipped=1), (), SKIPPED, id="one skipped"),
        pytest.param(status(10, statusFailedReason="No"), (), FAILED, id="failed"),
        pytest.param(status(10, statusFailedReason={"code": 7}), (), FAILED, id="an object"),
        pytest.param(status(10, statusFailedReason=["No"]), (), FAILED, id="a list"),
        pytest.param(status(10, statusFailedReason=FORM), (), FAILED, id="a form"),
        pytest.param(status(status=99), (), OPEN, id="an unknown number"),
        pytest.param(reply(200, {"id": "b"}), (), OPEN, id="nothing to read"),
        pytest.param(PAGE, (), OPEN, id="a page"),
        pytest.param(reply(404), (), OPEN, id="no status"),
        # One contact was named as invalid: it may be counted as skipped, or not at all.
        pytest.param(status(9), (1007,), CONFIRMED, id="named, not counted"),
        pytest.param(status(9, skipped=1), (1007,), CONFIRMED, id="named, counted"),
        pytest.param(status(9, skipped=1, ids=[1007]), (1007,), CONFIRMED, id="named twice"),
        pytest.param(status(9, skipped=1, ids=[1008]), (1007,), SKIPPED, id="another skipped"),
        pytest.param(status(8, skipped=1), (1007,), OPEN, id="named, in part"),
        pytest.param(status(8, skipped=2), (1007,), SKIPPED, id="named, one more skipped"),
        pytest.param(status(8), (1007,), OPEN, id="named, two lack"),
    ],
)
def test_ten_contacts_end_as_their_status_says(
    load: Load, answer: Reply, named: tuple[int, ...], end: str
) -> None:
    """Anything but a confirmation holds STATE back and fails the run."""
    load.keep_rejects()
    load.serve(answering(answer, named=named))
    ended = load(*TEN, confirm_batches="require", confirm_timeout_seconds=1)
    ended.ok() if end == CONFIRMED else ended.failed(end)
    assert ended.bookmark == (10 if end == CONFIRMED else 0)
    assert ended.count("rejected") == (10 if end == FAILED else len(named))


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        pytest.param(status(4, 6), {"inserted": 4, "updated": 6}, id="all"),
        pytest.param(status(9, skipped=1), {"inserted": 9, "skipped": 1}, id="one skipped"),
        pytest.param(status(1), {"unconfirmed": 10}, id="in part"),
        pytest.param(PAGE, {"unreadable": 10}, id="a page"),
    ],
)
def test_in_reports_everything_is_counted(
    load: Load, answer: Reply, counts: dict[str, int]
) -> None:
    load.serve(answering(answer))
    ended = load(*TEN, confirm_batches="report", confirm_timeout_seconds=1).ok()
    assert ended.bookmark == 10
    names = ("inserted", "updated", "skipped", "failed", "unconfirmed", "unreadable")
    assert {name: n for name, n in ended.numbers.items() if name in names} == counts


def test_a_batch_is_asked_for_until_it_has_ended(load: Load) -> None:
    load.serve(answering(status(), reply(503), status(1), status(4, 6)))
    ended = load(*TEN, confirm_batches="require", confirm_timeout_seconds=60).ok()
    assert (ended.bookmark, ended.count("inserted"), ended.count("updated")) == (10, 4, 6)


@pytest.mark.parametrize(("mode", "code"), [("report", 0), ("require", 1)])
def test_an_answer_after_the_end_is_not_waited_for(load: Load, mode: str, code: int) -> None:
    load.serve(answering(STALL))
    ended = load(*TEN, confirm_batches=mode, confirm_timeout_seconds=1)
    assert (ended.code, ended.bookmark) == (code, 0 if code else 10), ended.errors
    assert ended.count("inserted") == 0
    assert ended.count("unconfirmed") + ended.count("unreadable") == 10


def test_without_confirmation_nothing_is_asked(load: Load) -> None:
    server = load.serve(answering(status()))
    load(*people(300), confirm_batches="none").ok()
    assert [request.method for request in server.requests] == ["POST"] * 3


def test_batches_are_asked_for_while_others_are_sent(load: Load) -> None:
    """The last answer comes when the first batch has been asked for."""
    is_asked = threading.Event()
    confirm = answering(status(10))

    def answer(request: Request) -> Reply:
        if request.method == "GET":
            is_asked.set()
        elif request.number >= 1:
            assert is_asked.wait(10)
        return confirm(request)

    load.serve(answer)
    load.settings |= {"batch_size_rows": 10, "max_concurrent_requests": 1}
    assert load(*people(20, every=10), confirm_batches="require").ok().bookmark == 20
