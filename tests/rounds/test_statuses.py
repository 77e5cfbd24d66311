"""A batch is asked for until it has ended; what its status does not say is never success."""

from __future__ import annotations

import itertools
import threading
import typing as t

import pytest

from tests.broken_server import PAGE, STALL, BrokenServer, Reply, reply
from tests.loads import people
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.broken_server import Request, Serve
    from tests.messages import Ended, Record, RunTarget

pytestmark = pytest.mark.usefixtures("hasty")


TEN = [
    schema({"id": {"type": "integer"}, "contact_id": {"type": "integer"}, "firstname": {}}),
    *(record(id=n, contact_id=1000 + n, firstname="x") for n in range(10)),
    state(bookmark=10),
]


def status(
    inserted: int = 0,
    updated: int = 0,
    skipped: int = 0,
    *,
    skipped_ids: tuple[int, ...] = (),
    **more: t.Any,
) -> Reply:
    """How far a batch is."""
    processed = {
        "inserted": {"count": inserted},
        "updated": {"count": updated},
        "skipped": {"count": skipped, "contactIds": list(skipped_ids)},
    }
    return reply(200, {"id": "b", "processedObj": processed, **more})


def answering(*statuses: Reply, named: tuple[int, ...] = ()) -> Callable[[Request], Reply]:
    """Accept every batch; answer questions one after the other, the last one ever after."""
    asked = itertools.count()

    def answer(request: Request) -> Reply:
        if request.method == "GET":
            return statuses[min(next(asked), len(statuses) - 1)]
        data = {"BatchId": f"b{request.number}", "InvalidContactIds": list(named)}
        return reply(202, {"status": "Success", "data": data})

    return answer


Run: t.TypeAlias = "Callable[..., Ended]"


@pytest.fixture
def run(run_target: RunTarget, tmp_path: Path) -> Run:
    """Load ten contacts into a server that answers as it is told to."""

    def load(answer: Callable[[Request], Reply], mode: str, **config: t.Any) -> Ended:
        own: Record = {
            "confirm_batches": mode,
            "confirm_timeout_seconds": 1,
            "rejects_path": str(tmp_path / "rejects.singer"),
        }
        with BrokenServer(answer) as server:
            return run_target(*TEN, api_url=server.url, access_token="made-up", **own | config)

    return load


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
        pytest.param(
            status(9, skipped=1, skipped_ids=(1007,)), (1007,), CONFIRMED, id="named twice"
        ),
        pytest.param(
            status(9, skipped=1, skipped_ids=(1008,)), (1007,), SKIPPED, id="another skipped"
        ),
        pytest.param(status(8, skipped=1), (1007,), OPEN, id="named, in part"),
        pytest.param(status(8, skipped=2), (1007,), SKIPPED, id="named, one more skipped"),
        pytest.param(status(8), (1007,), OPEN, id="named, two lack"),
    ],
)
def test_ten_contacts_end_as_their_status_says(
    run: Run, answer: Reply, named: tuple[int, ...], end: str
) -> None:
    """Anything but a confirmation holds STATE back and fails the run."""
    ended = run(answering(answer, named=named), "require")
    assert ended.code == int(end != CONFIRMED), ended.errors
    assert ended.states == ([{"bookmark": 10}] if end == CONFIRMED else [])
    if end != CONFIRMED:
        assert end in ended.error
    assert ended.counts["rejected"] == (10 if end == FAILED else len(named))


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        pytest.param(status(4, 6), {"inserted": 4, "updated": 6}, id="all"),
        pytest.param(status(9, skipped=1), {"inserted": 9, "skipped": 1}, id="one skipped"),
        pytest.param(status(1), {"unconfirmed": 10}, id="in part"),
        pytest.param(PAGE, {"unreadable": 10}, id="a page"),
    ],
)
def test_when_it_only_reports_everything_is_counted(
    run: Run, answer: Reply, counts: dict[str, int]
) -> None:
    ended = run(answering(answer), "report").ok()
    assert ended.states == [{"bookmark": 10}]
    found = ended.counts
    names = ("inserted", "updated", "skipped", "failed", "unconfirmed", "unreadable")
    assert {name: found[name] for name in names if found[name]} == counts


def test_a_batch_is_asked_for_until_it_has_ended(run: Run) -> None:
    answer = answering(status(), reply(503), status(1), status(4, 6))
    ended = run(answer, "require", confirm_timeout_seconds=60).ok()
    assert ended.states == [{"bookmark": 10}]
    assert (ended.counts["inserted"], ended.counts["updated"]) == (4, 6)


@pytest.mark.parametrize(("mode", "code"), [("report", 0), ("require", 1)])
def test_an_answer_that_does_not_come_before_the_end_is_not_waited_for(
    run: Run, mode: str, code: int
) -> None:
    ended = run(answering(STALL), mode)
    assert ended.code == code, ended.errors
    assert ended.counts["inserted"] == 0
    assert ended.counts["unconfirmed"] + ended.counts["unreadable"] == 10
    assert ended.states == ([] if code else [{"bookmark": 10}])


def test_without_confirmation_nothing_is_asked(run_target: RunTarget, serve: Serve) -> None:
    server = serve(answering(status()))
    run_target(*people(300), confirm_batches="none").ok()
    assert [request.method for request in server.requests] == ["POST"] * 3


def test_batches_are_asked_for_while_others_are_sent(run_target: RunTarget, serve: Serve) -> None:
    """The last answer comes when the first batch has been asked for."""
    is_asked = threading.Event()
    confirm = answering(status(10))

    def answer(request: Request) -> Reply:
        if request.method == "GET":
            is_asked.set()
        elif request.number >= 1:
            assert is_asked.wait(10)
        return confirm(request)

    serve(answer)
    ended = run_target(
        *people(20, every=10),
        batch_size_rows=10,
        confirm_batches="require",
        max_concurrent_requests=1,
    ).ok()
    assert ended.states[-1] == {"bookmark": 20}
