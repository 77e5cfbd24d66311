"""Which request goes where: the API, the page, or the sandbox's own controls.

Everything of the sandbox's own lives under `/_sandbox/`, except the page at `/`
and `/openapi.json`; every other path is the API's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Route

from mainbrainer_sandbox.faults import FaultError
from mainbrainer_sandbox.openapi import describe
from mainbrainer_sandbox.pages import Pages
from mainbrainer_sandbox.switches import SwitchError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from mainbrainer_sandbox.api import Api
    from mainbrainer_sandbox.engine import Engine


class Front:
    """Sends each request to the API or to the sandbox's own pages."""

    def __init__(self, engine: Engine, api: Api, own: ASGIApp) -> None:
        self._engine = engine
        self._api = api
        self._own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path in {"/", "/openapi.json", "/favicon.ico"} or path.startswith("/_sandbox/"):
            # What was answered so far is to be seen on the page.
            self._engine.store.flush()
            await self._own(scope, receive, send)
        else:
            await self._api(scope, receive, send)


class Controls:
    """The control endpoints `/_sandbox/faults`, `/_sandbox/switches`, `/_sandbox/reset`.

    A browser sends no JSON to another site without being allowed to, so asking
    for JSON keeps a web page from turning a sandbox's switches behind its user's back.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """Return the routes of the control endpoints."""
        return [
            Route("/_sandbox/faults", self.faults, methods=["GET", "PUT"]),
            Route("/_sandbox/switches", self.switches, methods=["GET", "PATCH"]),
            Route("/_sandbox/reset", self.reset, methods=["POST"]),
        ]

    async def faults(self, request: Request) -> Response:
        """Show or set the faults: `{"faults": ["503@3"], "seed": 0}`."""
        engine = self._engine
        if request.method == "PUT":
            body = await _json_object(request)
            faults, seed = (body or {}).get("faults"), (body or {}).get("seed", 0)
            if (
                not isinstance(faults, list)
                or not all(type(one) is str for one in faults)
                or type(seed) is not int
            ):
                return _answer(
                    400, {"error": "Send {'faults': ['503@3', ...], 'seed': 0} as JSON."}
                )
            try:
                engine.set_faults(faults, seed)
            except FaultError as error:
                return _answer(400, {"error": str(error)})
        texts = [fault.text for fault in engine.faults.faults]
        return _answer(200, {"faults": texts, "seed": engine.faults.seed})

    async def switches(self, request: Request) -> Response:
        """Show the switches, or set some of them: `{"clash": "conflict"}`."""
        engine = self._engine
        if request.method == "PATCH":
            body = await _json_object(request)
            if body is None:
                return _answer(400, {"error": "Send the switches to set as a JSON object."})
            try:
                engine.set_switches(**body)
            except SwitchError as error:
                return _answer(400, {"error": str(error)})
        return _answer(200, msgspec.to_builtins(engine.switches))

    async def reset(self, request: Request) -> Response:
        """Forget all contacts, batches, requests and tokens."""
        if await _json_object(request) is None:
            return _answer(400, {"error": "Send {} as JSON to forget everything."})
        self._engine.reset()
        return _answer(200, {"reset": True})


async def _json_object(request: Request) -> dict[str, Any] | None:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return None
    try:
        body = msgspec.json.decode(await request.body())
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return body if type(body) is dict else None


def _answer(status: int, body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def build(engine: Engine, api: Api, hosts: list[str]) -> Front:
    """Return the whole application.

    Args:
        engine: What it is the face of.
        api: The API.
        hosts: The host names the sandbox's own pages answer to; "*" is all.
    """
    pages = Pages(engine)

    async def description(request: Request) -> Response:
        return _answer(200, describe(str(request.base_url).rstrip("/")))

    own = Starlette(
        routes=[
            *Controls(engine).routes(),
            *pages.routes(),
            Route("/openapi.json", description),
        ],
        exception_handlers={404: pages.not_found},
        # A page of another site could give its own name to this address and then read what
        # it finds here; so the address must be asked for by a name that is ours.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
    )
    return Front(engine, api, own)
