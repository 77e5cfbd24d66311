"""Stands in for the network in a dry run: every request is taken, and none is sent anywhere."""

from __future__ import annotations

import itertools
import typing as t
from http import HTTPStatus

from typing_extensions import override

from target_mainbrainer.api.exchange import Response
from target_mainbrainer.api.http import Transport

if t.TYPE_CHECKING:
    from target_mainbrainer.api.connections import Authorize
    from target_mainbrainer.api.exchange import Endpoint

DRY_TOKEN = "dry-run"  # noqa: S105 - a word in the place of a token, which opens nothing
_JSON = "application/json"


class DryTransport(Transport):
    """Answers as MainBrainer would if it refused nothing and knew every contact.

    A contact that is looked for is found, so that a person who has moved is counted as followed.
    """

    def __init__(self) -> None:
        super().__init__(user_agent=DRY_TOKEN, timeout_seconds=1)
        self._numbers = itertools.count(1)

    @override
    def send(self, endpoint: Endpoint, body: bytes | None, authorize: Authorize) -> Response:
        """Return that everything is in."""
        while authorize(_is_connected) is None:
            continue
        number = next(self._numbers)
        if endpoint.method == "GET":
            counts = b'{"updated": {"count": 1, "contactIds": [%d]}}' % number
            answer = b'{"status": 1, "statusText": "Done", "processedObj": %s}' % counts
        else:
            ids = b'{"BatchId": "dry-%d", "contactId": %d}' % (number, number)
            answer = b'{"status": "Success", "data": %s}' % ids
        return Response(HTTPStatus.ACCEPTED, answer, _JSON)


def _is_connected() -> bool:
    return True
