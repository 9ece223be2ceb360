"""The console in a real browser: by keyboard, without scripts, on a phone, in the dark, and with hostile content."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.hub import DemoHub
from tests.world import MT, malware

CERT_FR = "c5e1f702-790d-40de-a40a-c8f79c01ee0e"
URL = f"/console/hub/collections/{CERT_FR}/"
#: KettleBot, which much refers to.
MALWARE = "malware--3f309e39-00ca-4189-82f9-eb4d2e329f05"
PAGES = {
    "landing": "/",
    "login": "/console/login",
    "overview": "/console/",
    "collection": URL,
    "objects": f"{URL}objects/?type=malware",
    "object": f"{URL}objects/{MALWARE}/",
    "connect": f"{URL}connect/",
    "search": "/console/search/?q=kettle",
    "nothing": "/console/nothing",
}
#: For operators. cert-br does not read what the bundle of BT holds under TLP:AMBER.
OPERATOR_PAGES = {
    "partners": "/console/operator/partners/",
    "policy": "/console/operator/policy/",
    "who-can": f"/console/operator/explain/?object={MALWARE}",
    "explain": f"/console/operator/explain/?object={MALWARE}&partner=kaspersky",
    "what-if": "/console/operator/what-if/",
    "held": "/console/operator/held/",
    "ledger": "/console/operator/ledger/?what=did&partner=cert-fr",
    "health": "/console/operator/health/",
}
LOOKS = {
    "desktop": (1280, "light"),
    "phone": (375, "light"),
    "desktop-dark": (1280, "dark"),
    "phone-dark": (375, "dark"),
}
#: Looking at a page with axe takes a second or two: on a desktop each page is looked at, on a phone in the dark those
#: that have every colour and every layout.
_CHECKED = ("desktop", "phone-dark")
_TELLING = ("login", "overview", "collection", "object", "connect", "partners", "explain", "what-if")
_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}


def check(someone: Any, name: str, look: str) -> None:
    """What holds for every page: readable by everybody, within the screen, nothing to complain about."""
    width, _ = LOOKS[look]
    if look in _CHECKED:
        found = Axe().run(someone.page, options=_RULES)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
    assert someone.page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the screen"
    assert [each for each in someone.complaints if "404" not in each] == []


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_can_be_read_by_everybody(open_window: Any, look: str) -> None:
    width, scheme = LOOKS[look]
    someone = open_window(width, scheme)
    for name in ("landing", "login"):
        someone.go(PAGES[name])
        check(someone, name, look)
        someone.shoot(f"{look}-{name}", whole=False)
    someone.log_in("cert-fr")
    for name, path in PAGES.items():
        if name not in ("landing", "login") and (look == "desktop" or name in _TELLING):
            someone.go(path)
            check(someone, name, look)
            someone.shoot(f"{look}-{name}")


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_for_operators_can_be_read_by_everybody(open_window: Any, demo: DemoHub, look: str) -> None:
    someone = open_window(*LOOKS[look])
    someone.log_in("interpol", demo.tokens["operator"])
    for name, path in OPERATOR_PAGES.items():
        if look == "desktop" or name in _TELLING:
            someone.go(path)
            check(someone, name, look)
            someone.shoot(f"{look}-{name}")


#: How many lines the first element of this text takes, and how far it reaches beyond the right edge.
_PLACE = """(text) => {
    const found = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT, each =>
        each.data.trim() === text ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_SKIP).nextNode();
    const range = document.createRange();
    range.selectNodeContents(found);
    const lines = new Set([...range.getClientRects()].map(each => each.top)).size;
    return [lines, Math.max(0, range.getBoundingClientRect().right - innerWidth)];
}"""


@pytest.mark.parametrize("width", [760, 900, 1280])
def test_no_word_is_torn_and_no_link_is_out_of_sight_in_windows_of_any_width(
    open_window: Any, demo: DemoHub, width: int
) -> None:
    someone = open_window(width)
    page = someone.log_in("interpol", demo.tokens["operator"])
    asked = f"/console/operator/ledger/?what=received&object={MALWARE}"
    page.goto(f"{demo.url}/console/hub/collections/ac5cbbee-13d7-453e-bb6f-fc27e85120d9/objects/{MALWARE}/")
    page.goto(demo.url + asked)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for path, words in (
        ("/console/operator/partners/", ("vendor",)),
        ("/console/operator/ledger/?what=did&partner=interpol", ("delivered", "127.0.0.1")),
        ("/console/search/?q=router", ("vulnerability",)),
    ):
        page.goto(demo.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        places = {word: page.evaluate(_PLACE, word) for word in (*words, "Health")}
        assert {word: lines for word, (lines, _) in places.items()} == dict.fromkeys(places, 1), path
        assert places["Health"][1] == 0  # the last link of the navigation; wide tables are rolled


def test_an_operator_tries_a_change_and_nothing_is_changed(open_window: Any, demo: DemoHub) -> None:
    someone = open_window()
    page = someone.log_in("interpol", demo.tokens["operator"])
    page.get_by_role("link", name="Policy").click()
    digest = page.locator("dd code").first.inner_text()
    page.get_by_role("link", name="Try a change", exact=True).click()
    text = page.get_by_label("Its new text")
    rule = '[[select]]\nid = "no-relationships-for-now"\nto = { kind = ["cert"] }\ndrop = { type = "relationship" }\n'
    text.fill(f"{text.input_value()}\n{rule}")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector("#result")
    assert "7 partners would gain or lose" in page.inner_text("#result")
    assert page.get_by_role("row").filter(has_text="cert-fr").filter(has_text="no-relationships-for-now").count() == 1
    assert "no-relationships-for-now" in page.get_by_label("Its new text").input_value()
    check(someone, "what if", "desktop")
    someone.shoot("desktop-what-if-result")
    page.get_by_role("link", name="Policy").click()
    assert page.locator("dd code").first.inner_text() == digest


def test_an_owner_reviews_its_quarantine(open_window: Any) -> None:
    someone = open_window()
    page = someone.log_in("bt")
    page.get_by_role("link", name="Quarantine").click()
    held = page.get_by_role("row").count()
    page.locator("td.main a").first.click()
    assert "its customers" in page.get_by_role("main").inner_text()  # why the guard is there, as the policy says it
    check(someone, "entry", "desktop")
    someone.shoot("desktop-entry")
    page.get_by_role("button", name="Drop").click()
    page.get_by_text("Decided").wait_for()
    page.get_by_role("link", name="Quarantine").first.click()
    assert page.get_by_role("row").count() == held - 1


def test_an_analyst_finds_an_object_by_keyboard_alone(open_window: Any, demo: DemoHub) -> None:
    someone = open_window()
    page, keys = someone.go("/console/"), someone.page.keyboard
    keys.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    keys.press("Tab")
    keys.press("Tab")
    for text in ("cert-fr", demo.tokens["cert-fr"]):
        keys.type(text)
        keys.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle + document.activeElement.type")
    assert outline == "solidsubmit"
    keys.press("Enter")
    page.wait_for_url("**/console/")
    page.get_by_role("searchbox").or_(page.get_by_label("Find an id, a value or a word")).first.focus()
    keys.type("hxxp kettle")
    keys.press("Enter")
    page.get_by_text("Nothing found").wait_for()
    page.get_by_label("Id, value or word").fill("KettleBot")
    keys.press("Enter")
    page.get_by_role("link", name="KettleBot", exact=True).first.focus()
    keys.press("Enter")
    page.get_by_role("heading", name="Neighbours").wait_for()
    assert page.url.endswith(f"/objects/{MALWARE}/")
    assert page.get_by_role("img", name="This object in the middle").count() == 1


def test_a_session_ends_with_the_logout_also_for_the_back_button(open_window: Any) -> None:
    someone = open_window()
    page = someone.log_in("cert-fr")
    cookie = next(each for each in someone.context.cookies() if each["name"] == "taxii-session")
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/console")
    assert cookie["expires"] == -1
    someone.go(URL)
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="Log in").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Log in").wait_for()
    someone.context.add_cookies([cookie])
    someone.go(URL)
    assert "/console/login?next=" in page.url


def test_it_works_without_scripts(open_window: Any) -> None:
    someone = open_window(375, java_script_enabled=False)
    page = someone.log_in("cert-fr")
    page.get_by_role("link", name="CERT-FR", exact=True).click()
    page.get_by_text("The same as a table").click()
    assert page.get_by_role("row").count() > 20


def test_what_a_vendor_posts_runs_nowhere(open_window: Any, demo: DemoHub) -> None:
    payloads = [
        "<img src=x onerror=\"document.title='pwned'\">",
        "<script>document.title='pwned'</script>",
        '"><svg onload="document.title=\'pwned\'">',
        "<style>*{display:none}</style><meta http-equiv=refresh content='0;url=https://evil.example/'>",
        "</title></head><iframe src=https://evil.example/>",
        "\u202egnp.exe",
    ]
    objects = [
        malware(
            name=f"Zed {payload}",
            description=payload,
            external_references=[{"source_name": payload, "url": "https://evil.example/x.png"}],
            object_marking_refs=["marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487"],
        )
        for payload in payloads
    ]
    answer = demo.request(
        "POST",
        f"/hub/collections/{CERT_FR}/objects/",
        "cert-fr",
        headers={"Content-Type": MT},
        json={"objects": objects},
    )
    assert answer.json()["failure_count"] == 0
    someone = open_window()
    page = someone.log_in("cert-fr")
    for path in (
        URL,
        f"{URL}objects/?type=malware",
        "/console/search/?q=zed",
        *(f"{URL}objects/{o['id']}/" for o in objects),
    ):
        someone.go(path)
        assert page.get_by_text("Zed").first.is_visible()
        assert "pwned" not in page.title()[:5]
        assert page.locator("iframe, script, img, object, embed").count() == 0
        assert page.locator("a[href*='evil']").count() == 0
    assert someone.complaints == []
    someone.shoot("hostile")
