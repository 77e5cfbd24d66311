"""The page, in a real browser: Debian's Chromium without a screen."""

import html
import os
import re
import shutil
import typing as t
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.loads import cases
from tests.mainbrainer_sandbox.crm import ADA, BOB, LISTS, Crm, Record, prop

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


class Browser(webdriver.Chrome):
    """Debian's Chromium, with what the tests ask for."""

    def all(self, selector: str) -> list[WebElement]:
        return self.find_elements(By.CSS_SELECTOR, selector)

    def complaints(self) -> list[Record]:
        """Return the lines of the console, such as breaches of the content policy."""
        return t.cast("list[Record]", self.get_log("browser"))  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        reason = "Debian's packages chromium and chromium-driver are not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync "
        f"--disable-dev-shm-usage --window-size=1200,900 --user-data-dir={profile}"
    ).split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Browser(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


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


def test_every_page_is_whole_and_quiet(browser: Browser, filled: Crm) -> None:
    """One heading, landmarks, labelled tables and fields, and nothing in the console."""
    browser.complaints()
    for path in PAGES:
        browser.get(filled.sandbox.url + path)
        assert browser.title.endswith(" · MainBrainer sandbox"), path
        for tag in ("h1", "header", "main", "footer"):
            assert len(browser.all(tag)) == 1, (path, tag)
        for table in browser.all("table"):
            assert table.accessible_name, path
            assert table.find_elements(By.CSS_SELECTOR, "thead th[scope=col]"), path
        for field in browser.all("input, button, a, [role=region]"):
            assert field.accessible_name, (path, field.get_attribute("outerHTML"))
        ids = [one.get_attribute("id") for one in browser.all("[id]")]
        assert len(ids) == len(set(ids)), path
        current = browser.all("[aria-current=page]")
        assert len(current) == 1, path
        assert browser.complaints() == [], path


def test_contact_data_is_only_shown(browser: Browser, filled: Crm) -> None:
    for path in ("/_sandbox/contacts/1000061", "/?q=ada", f"/?q={HOSTILE}"):
        browser.get(filled.sandbox.url + path)
        assert "owned" in browser.page_source
        assert browser.title != "owned"
        assert not browser.all("script, img")


# -- without a browser -----------------------------------------------------------------------


def text_of(crm: Crm, path: str) -> str:
    """Return the text of a page."""
    text = re.sub(r"<[^>]+>", " ", crm.ask("GET", path).text)
    return " ".join(html.unescape(text).split())


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
        assert shown in text_of(filled, path)
        assert "broken" not in text_of(filled, path)


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
