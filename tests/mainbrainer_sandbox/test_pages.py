"""The pages: what they show and to whom, and that contact data is only shown."""

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from typing_extensions import override

from tests.loads import cases
from tests.mainbrainer_sandbox.crm import ADA, BOB, LISTS, Crm, Record, prop

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


class Page(HTMLParser):
    """The tags of a page, and their attributes.

    Attributes:
        tags: Each with its attributes, in order.
        text: Of the page, with one blank between words.
    """

    def __init__(self, crm: Crm, path: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Record]] = []
        self.source = crm.ask("GET", path).text
        self.feed(self.source)
        self.text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", self.source)).split())

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, *names: str) -> list[Record]:
        """Return the attributes of the tags of some kinds."""
        return [attributes for tag, attributes in self.tags if tag in names]

    def values(self, *attributes: str) -> Iterator[str]:
        """Yield the values of some attributes, in the whole page."""
        return (own[name] for _, own in self.tags for name in attributes if name in own)


@pytest.fixture
def filled(crm: Crm) -> Crm:
    crm.sandbox.set_switches(burst=100)
    city = prop("city", "Oslo")
    people = [{"email": f"person{n}@example.com", "propertyFields": city} for n in range(60)]
    people.append(BOB | ADA | {"propertyFields": prop("note", HOSTILE)})
    crm.batch(*people, listId=LISTS[0])
    crm.batch({"contactId": 1000001, "email": "new@example.org", "mobileOptIn": False})
    crm.batch({"email": "good@example.com"}, {"email": "broken"})
    crm.sandbox.settle()
    return crm


PAGES = [
    *["/", "/?q=ada", "/?q=unknown", "/_sandbox/contacts/1000001", "/_sandbox/contacts/1000061"],
    *["/_sandbox/batches", "/_sandbox/batches/1", "/_sandbox/batches/3"],
    *["/_sandbox/requests"],
]


@cases("path", *PAGES, f"/?q={HOSTILE}")
def test_every_page_is_whole_and_quiet(filled: Crm, path: str) -> None:
    """One heading, landmarks, labelled tables and fields; contact data is only shown."""
    page = Page(filled, path)
    assert re.search("<title>.+ · MainBrainer sandbox</title>", page.source)
    assert [len(page.all(tag)) for tag in ("h1", "header", "main", "footer")] == [1] * 4
    assert page.source.count('aria-current="page"') == 1
    ids = [*page.values("id")]
    assert len(ids) == len(set(ids))
    assert {*page.values("for", "aria-labelledby")} <= {*ids}
    assert {own["id"] for own in page.all("input", "select")} <= {*page.values("for")}
    captions = len(page.all("caption")) + sum("aria-labelledby" in own for own in page.all("table"))
    assert captions == len(page.all("table")) == len(page.all("thead"))
    assert page.all("script", "img", "style", "iframe", "base") == []
    assert not any(re.match("on|style", name) for _, own in page.tags for name in own)
    assert not any(re.match(r"\w+:", link) for link in page.values("href", "src", "action"))


SEARCHES = [
    *(("", 50, "page=1"), ("page=1", 11, "page=0"), ("q=ada@", 1, ""), ("q=person", 50, "page=1")),
    *(("q=%2B44 7700 900001", 1, ""), ("q=1000007", 1, ""), ("q=oslo", 50, "page=1")),
    ("q=%", 0, ""),
]


def test_contacts_are_searched_and_paged(filled: Crm) -> None:
    for query, rows, link in SEARCHES:
        page = filled.ask("GET", f"/?{query}").text
        assert page.count('<tr><th scope="row">') == rows, query
        assert re.search(r'action="/" method="get".*name="q" type="search"', page, re.DOTALL)
        assert [*re.findall(r"page=\d+", page), ""][0] == link, query


HISTORY = "e-mail person0@example.com new@example.org SMS opt-in no consent no 1 "
SHOWN = [
    *(("/", "61 contacts, by contact id"), ("/?q=oslo", "Contacts that match “oslo”")),
    *(("/_sandbox/contacts/1000001", text) for text in (f"Lists {LISTS[0]} Opt-ins", HISTORY)),
    ("/_sandbox/contacts/1000001", "created nothing 1000001 e-mail nothing person0@example.com"),
    ("/_sandbox/batches", "refused 422 2 0 0 0 It is not an e-mail address."),
    *(("/_sandbox/batches/2", "Updated: 1"), ("/_sandbox/batches/3", "State refused Answer 422")),
    ("/_sandbox/batches/3", "createUpdateContacts[1].email It is not an e-mail address."),
]


def test_pages_show_contacts_their_history_and_refusals(filled: Crm) -> None:
    for path, shown in SHOWN:
        text = Page(filled, path).text
        assert shown in text
        assert "broken" not in text
    assert "owned" in Page(filled, "/_sandbox/contacts/1000061").text


def test_pages_forbid_all_but_their_own_style(filled: Crm) -> None:
    for path in (*PAGES, "/_sandbox/style.css", "/_sandbox/icon.svg"):
        response = filled.ask("GET", path)
        assert response.status_code == 200, path
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'"), path
        assert "script-src" not in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@cases("path", "none", "contacts/5", "contacts/x", f"contacts/{'9' * 30}", f"batches/{2**63}")
def test_what_is_not_there_is_said_so(crm: Crm, path: str) -> None:
    response = crm.ask("GET", f"/_sandbox/{path}")
    assert response.status_code == 404
    assert "<h1>" in response.text
    for query in ("page=x", "page=-1", f"page={10**30}", "q=%00", "q=%25%27%22", "q=" + "x" * 999):
        assert crm.ask("GET", f"/?{query}").status_code == 200


def test_another_sites_name_is_not_answered(crm: Crm) -> None:
    """Or a web page could give its own name to this address and read the contacts here."""
    for host, status in (("rebound.example.com", 400), ("localhost", 200)):
        for path in ("/", "/_sandbox/batches"):
            assert crm.ask("GET", path, headers={"Host": host}).status_code == status
