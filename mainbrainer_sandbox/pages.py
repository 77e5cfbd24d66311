"""The page: contacts, batches, requests and settings of a sandbox file.

It works without scripts and without the internet, and a strict policy keeps it so:
whatever a contact's data may hold, no browser runs or fetches any of it.
"""

from __future__ import annotations

import datetime as dt
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jinja2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Route

from mainbrainer_sandbox.plot import plot
from mainbrainer_sandbox.rules import INT64, mobile_text
from mainbrainer_sandbox.store import StoreError
from mainbrainer_sandbox.switches import DECLARED, GROUPS
from mainbrainer_sandbox.views import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

_FOLDER = Path(__file__).parent / "page"
_PER_PAGE = 50
_SUMMARY = 110
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Pages:
    """The pages that show a sandbox file, whether a sandbox is using it or not.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        return [
            Route("/", self._page(self._contacts)),
            Route("/_sandbox/contacts/{id:int}", self._page(self._contact)),
            Route("/_sandbox/batches", self._page(self._batches)),
            Route("/_sandbox/batches/{number:int}", self._page(self._batch)),
            Route("/_sandbox/requests", self._page(self._requests)),
            Route("/_sandbox/settings", self._page(self._settings)),
            Route("/_sandbox/style.css", functools.partial(_file, "style.css", "text/css")),
            Route("/_sandbox/icon.svg", functools.partial(_file, "icon.svg", "image/svg+xml")),
            Route("/favicon.ico", functools.partial(_file, "icon.svg", "image/svg+xml")),
        ]

    def not_found(self, request: Request, error: Exception) -> Response:  # noqa: ARG002
        """Return the page for a path that has none."""
        return self._missing("contacts", "Nothing here", "There is no such page.")

    def _page(self, show: Callable[[Request, View], Response]) -> Callable[[Request], Response]:
        def endpoint(request: Request) -> Response:
            # Not async: Starlette runs it in a thread, so that looking at a million contacts
            # does not stop the API meanwhile.
            try:
                with View(self._path) as view:
                    return show(request, view)
            except StoreError as error:
                return self._missing("contacts", "Nothing to show", str(error))

        return endpoint

    def _render(self, template: str, section: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401
        text = self._templates.get_template(template).render(
            section=section, file=self._path.name, **values
        )
        return Response(text, status, _HEADERS, "text/html")

    def _missing(self, section: str, heading: str, text: str) -> Response:
        return self._render("problem.html", section, 404, heading=heading, text=text)

    def _contacts(self, request: Request, view: View) -> Response:
        query = request.query_params.get("q", "").strip()[:200]
        after = _number(request.query_params.get("after"))
        found = view.search(query, after=after, limit=_PER_PAGE + 1)
        contacts = found[:_PER_PAGE]
        for one in contacts:
            one["mobile"] = mobile_text(one["mobile_country_code"], one["mobile_number"])
            one["summary"] = _summary(one["properties"])
        links = _links("/", after, found, "id", q=query)
        return self._render(
            "contacts.html",
            "contacts",
            q=query,
            contacts=contacts,
            total=view.count("contacts") if not query else None,
            links=links,
        )

    def _contact(self, request: Request, view: View) -> Response:
        contact_id = request.path_params["id"]
        one = view.contact(contact_id) if contact_id <= INT64 else None
        if one is None:
            text = f"No contact has the id {contact_id}."
            return self._missing("contacts", "No such contact", text)
        one["mobile"] = mobile_text(one["mobile_country_code"], one["mobile_number"])
        history = [
            {"batch": entry["batch"], "when": _when(entry["when"]), "changes": entry["changes"]}
            for entry in view.history(contact_id)
        ]
        return self._render("contact.html", "contacts", one=one, history=history)

    def _batches(self, request: Request, view: View) -> Response:
        before = _number(request.query_params.get("before"))
        found = view.latest("batches", before=before, limit=_PER_PAGE + 1)
        batches = [{**one, "when": _when(one["received"]), "why": _why(one)} for one in found]
        links = _links("/_sandbox/batches", before, found, "number", key="before")
        return self._render("batches.html", "batches", batches=batches[:_PER_PAGE], links=links)

    def _batch(self, request: Request, view: View) -> Response:
        number = request.path_params["number"]
        one = view.batch(number) if number <= INT64 else None
        if one is None:
            return self._missing("batches", "No such batch", f"No batch has the number {number}.")
        one["when"] = _when(one["received"])
        one["processed_when"] = None if one["processed"] is None else _when(one["processed"])
        details: dict[str, Any] = {
            key: [] for key in ("problems", "reported", "inserted", "updated", "skipped")
        }
        one["details"] = {**details, "more": 0, "skip_reasons": {}, **one["details"]}
        return self._render("batch.html", "batches", one=one)

    def _requests(self, request: Request, view: View) -> Response:
        before = _number(request.query_params.get("before"))
        found = view.latest("requests", before=before, limit=_PER_PAGE + 1)
        requests = [{**one, "when": _when(one["received"])} for one in found[:_PER_PAGE]]
        burst, _ = view.settings()[0].limits()
        return self._render(
            "requests.html",
            "requests",
            requests=requests,
            total=view.count("requests"),
            plot=plot(view.buckets(), burst),
            links=_links("/_sandbox/requests", before, found, "number", key="before"),
        )

    def _settings(self, request: Request, view: View) -> Response:  # noqa: ARG002
        values, faults = view.settings()
        switches = [(one, getattr(values, one.name)) for one in DECLARED.values()]
        return self._render(
            "settings.html", "settings", switches=switches, groups=GROUPS, faults=faults
        )


def pages_app(path: Path, hosts: list[str]) -> Starlette:
    """Return the pages as an application; none of them changes anything.

    Args:
        path: The sandbox file.
        hosts: The host names that it answers to; "*" is all. A page of another site
            could otherwise give its own name to this address and read the contacts.
    """
    pages = Pages(path)
    return Starlette(
        routes=pages.routes(),
        exception_handlers={404: pages.not_found},
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
    )


def _file(name: str, media_type: str, request: Request) -> Response:  # noqa: ARG001
    headers = {**_HEADERS, "Cache-Control": "max-age=300"}
    return Response((_FOLDER / name).read_bytes(), 200, headers, media_type)


def _number(text: str | None) -> int | None:
    if text is None or not text.isdecimal() or len(text) > 19:  # noqa: PLR2004 - as int64 has
        return None
    return min(int(text), INT64)


def _links(
    path: str,
    start: int | None,
    found: list[dict[str, Any]],
    column: str,
    *,
    key: str = "after",
    **query: str,
) -> dict[str, str | None]:
    """Return the links to the first and the next page, where there are such."""
    kept = {name: value for name, value in query.items() if value}
    first = f"{path}?{urlencode(kept)}" if kept else path
    following = None
    if len(found) > _PER_PAGE:
        following = f"{path}?{urlencode({**kept, key: found[_PER_PAGE - 1][column]})}"
    return {"first": None if start is None else first, "next": following}


def _summary(properties: dict[str, str]) -> str:
    text = ", ".join(f"{name}: {value}" for name, value in properties.items())
    return text if len(text) <= _SUMMARY else text[: _SUMMARY - 1] + "…"


def _when(seconds: float) -> str:
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _why(batch: dict[str, Any]) -> str:
    """Return in one line why a batch was not taken, or not all of it."""
    details = batch["details"]
    problems = details.get("problems", [])
    if problems:
        more = len(problems) - 1
        return f"{problems[0]['text']}{f' And {more} more.' if more else ''}"
    reasons = list(details.get("skip_reasons", {}))
    return str(batch["failed_reason"] or (reasons[0] if reasons else ""))
