"""The page: contacts, batches and requests of a sandbox file.

It works without scripts and without the internet, and a strict policy keeps it so:
no browser runs or fetches anything in a contact's data.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

import jinja2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Route

from mainbrainer_sandbox.file import StoreError
from mainbrainer_sandbox.views import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

Edit: TypeAlias = "Callable[[int | str, dict[str, Any] | None], int]"

_FOLDER = Path(__file__).parent / "page"
_HOSTS = ("127.0.0.1", "localhost")
_ROWS = 50
_SUMMARY = 110
# No id or page has more digits; SQLite could not count that far.
_MOST_DIGITS = 16
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def pages_app(path: Path, edit: Edit) -> Starlette:
    """Return the pages as an application; only the forms of a contact's page change anything.

    It answers only to names of this machine: a page of another site could otherwise give its
    own name to this address and read the contacts. Nor may a form of another site change them.

    Args:
        path: The sandbox file.
        edit: Changes a contact by hand; with None instead of changes it deletes it.
    """
    pages = Pages(path, edit)
    return Starlette(
        routes=[
            Route("/", pages.endpoint(pages.contacts)),
            Route("/_sandbox/contacts/{id}", pages.endpoint(pages.contact)),
            Route("/_sandbox/contacts/{id}", pages.edit, methods=["POST"]),
            Route("/_sandbox/contacts/{id}/delete", pages.edit, methods=["POST"]),
            Route("/_sandbox/batches", pages.endpoint(pages.batches)),
            Route("/_sandbox/batches/{number}", pages.endpoint(pages.batch)),
            Route("/_sandbox/requests", pages.endpoint(pages.requests)),
            Route("/_sandbox/style.css", functools.partial(_file, "style.css", "text/css")),
            Route("/_sandbox/icon.svg", functools.partial(_file, "icon.svg", "image/svg+xml")),
        ],
        exception_handlers={404: lambda *_: pages.problem("There is no such page.")},
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)],
    )


class Pages:
    """Shows a sandbox file."""

    def __init__(self, path: Path, edit: Edit) -> None:
        self._path = path
        self._edit = edit
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"when": _when, "brief": _brief}

    def endpoint(self, show: Callable[[Request, View], Response]) -> Callable[[Request], Response]:
        """Return the endpoint of a page.

        It is not async: Starlette runs it in a thread, so that reading a million
        contacts does not stop the API meanwhile.
        """

        def endpoint(request: Request) -> Response:
            try:
                with View(self._path) as view:
                    return show(request, view)
            except StoreError as error:
                return self.problem(str(error))

        return endpoint

    def problem(self, text: str, status: int = 404) -> Response:
        """Return a page that says why there is nothing to show."""
        return self._render("problem", "contacts", status, text=text)

    def contacts(self, request: Request, view: View) -> Response:
        """Show the contacts, or those that a text is found in."""
        query, page = request.query_params.get("q", "").strip()[:200], _page(request)
        found = view.search(query, offset=page * _ROWS, limit=_ROWS + 1)
        total = view.count("contacts")
        return self._render("contacts", "contacts", **_rows(found, page), q=query, total=total)

    def contact(self, request: Request, view: View) -> Response:
        """Show one contact and its history."""
        number = _number(request.path_params["id"])
        one = view.contact(number)
        if one is None:
            return self.problem("No contact has this id.")
        return self._render(
            "contact",
            "contacts",
            one=one,
            history=view.history(number),
            written=view.written(number),
        )

    async def edit(self, request: Request) -> Response:
        """Edit or delete a contact, given by its id, e-mail address or mobile number."""
        if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            return self.problem("Another site must not change contacts.", 403)
        is_edit = not request.url.path.endswith("/delete")
        try:
            changes = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
            number = await asyncio.to_thread(
                self._edit, request.path_params["id"], changes if is_edit else None
            )
        except (StoreError, ValueError) as error:
            return self.problem(str(error), 400)
        target = f"/_sandbox/contacts/{number}" if is_edit else "/"
        return Response(status_code=303, headers={**_HEADERS, "Location": target})

    def batches(self, request: Request, view: View) -> Response:
        """Show the batches, accepted and refused."""
        page = _page(request)
        found = view.latest("batches", offset=page * _ROWS, limit=_ROWS + 1)
        return self._render("batches", "batches", **_rows(found, page))

    def batch(self, request: Request, view: View) -> Response:
        """Show one batch, and why it or parts of it were not accepted."""
        one = view.batch(_number(request.path_params["number"]))
        if one is None:
            return self.problem("No batch has this number.")
        return self._render("batch", "batches", one=one)

    def requests(self, request: Request, view: View) -> Response:
        """Show the requests."""
        page = _page(request)
        found = view.latest("requests", offset=page * _ROWS, limit=_ROWS + 1)
        total = view.count("requests")
        return self._render("requests", "requests", **_rows(found, page), total=total)

    def _render(self, name: str, section: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401
        template = self._templates.get_template(f"{name}.html")
        text = template.render(section=section, file=self._path.name, **values)
        return Response(text, status, _HEADERS, "text/html")


def _file(name: str, media_type: str, request: Request) -> Response:  # noqa: ARG001
    headers = {**_HEADERS, "Cache-Control": "max-age=300"}
    return Response((_FOLDER / name).read_bytes(), 200, headers, media_type)


def _number(text: str) -> int:
    """Return a number, or 0 for anything else."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else 0


def _page(request: Request) -> int:
    return _number(request.query_params.get("page", ""))


def _rows(found: list[dict[str, Any]], page: int) -> dict[str, Any]:
    return {"rows": found[:_ROWS], "page": page, "more": len(found) > _ROWS}


def _brief(properties: dict[str, str]) -> str:
    text = ", ".join(f"{name}: {value}" for name, value in properties.items())
    return text if len(text) <= _SUMMARY else text[: _SUMMARY - 1] + "…"


def _when(seconds: float) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
