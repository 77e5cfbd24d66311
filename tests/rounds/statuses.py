"""Ten contacts, and a server that says what becomes of their batch."""

from __future__ import annotations

import itertools
import typing as t

from tests.broken_server import Reply, reply
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.broken_server import Request

TEN = [
    schema({"id": {"type": "integer"}, "contact_id": {"type": "integer"}, "firstname": {}}),
    *(record(id=n, contact_id=1000 + n, firstname="x") for n in range(10)),
    state(bookmark=10),
]


def reply_status(
    inserted: int = 0, updated: int = 0, skipped: int = 0, *, ids: Sequence[int] = (), **more: t.Any
) -> Reply:
    """Say how far a batch is; `ids` are those of the skipped."""
    processed = {
        "inserted": {"count": inserted},
        "updated": {"count": updated},
        "skipped": {"count": skipped, "contactIds": list(ids)},
    }
    return reply(200, {"id": "b", "processedObj": processed, **more})


def answering(*statuses: Reply, named: Sequence[t.Any] = ()) -> Callable[[Request], Reply]:
    """Accept every batch; answer questions one after the other, the last one ever after."""
    asked = itertools.count()

    def answer(request: Request) -> Reply:
        if request.method == "GET":
            return statuses[min(next(asked), len(statuses) - 1)]
        data = {"BatchId": f"b{request.number}", "InvalidContactIds": list(named)}
        return reply(202, {"status": "Success", "data": data})

    return answer
