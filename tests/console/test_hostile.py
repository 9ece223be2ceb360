"""What strangers post, on the pages: it stays text, it is cut, and it does not turn or hide what stands around it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from taxii_server.web.console.shown import clean, instant, short
from tests.console.people import person
from tests.world import RW, World, indicator, malware, new_id, relationship

URL = f"/console/api1/collections/{RW}/"
PAYLOADS = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg/onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "<!--<script>", "]]><script>alert(1)</script>",
    "{{ 1337*1337 }}{% for x in ().__class__ %}{% endfor %}",
    "javascript:alert(1)", "jAvAsCrIpT&colon;alert(1)", "data:text/html,<script>alert(1)</script>",
    "<a href=\"javascript:alert(1)\">x</a>", "<iframe srcdoc='<script>alert(1)</script>'>",
    "<meta http-equiv=refresh content=0;url=//evil.example>", "<base href=//evil.example>",
    "<form action=//evil.example><button>", "<style>@import '//evil.example'</style>",
    "\u2028\u2029<script>", "\ufeff<script>", "\uff1cscript\uff1ealert(1)",
]  # fmt: skip
_KNOWN = (
    "a body button caption circle code datalist dd defs details div dl dt footer form g h1 h2 h3 head header html input"
    " label li link main marker meta nav ol option p path pre rect section select span strong summary svg table tbody"
    " td text th thead title tr ul"
)
_OURS = re.compile(r"/console/|/\?|\?|#|/$|release$|drop$")


class Inspector(HTMLParser):
    """Nothing but our own tags, no live address of anybody else, no script."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _KNOWN.split(), tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in ("style", "srcdoc", "http-equiv"), name
            if name in ("href", "src", "action", "xlink:href", "formaction"):
                assert _OURS.match(value or ""), (name, value)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def inspect(page: str) -> None:
    """Read the page as a browser would."""
    inspector = Inspector()
    inspector.feed(page)
    inspector.close()
    assert "1787569" not in page


@pytest.fixture(scope="module")
def someone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    hub = World(tmp_path_factory.mktemp("hostile"))
    yield person(hub)
    hub.close()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_markup_stays_text_wherever_it_stands(someone: Any, payload: str) -> None:
    hub = someone.world
    bad = malware(name=payload, description=payload, aliases=[payload], labels=[payload])
    bad |= {"external_references": [{"source_name": payload, "url": "javascript:alert(1)", "description": payload}]}
    sign = indicator(name=f"x {payload}", pattern="[url:value = 'javascript:alert(1)']", indicator_types=[payload])
    tie = relationship(sign["id"], bad["id"], description=payload)
    custom = {"type": "x-odd", "spec_version": "2.1", "id": new_id("x-odd"), "created": bad["created"],
              "modified": bad["modified"], "x_value": {"x_inner": [payload, {"x_deep": payload}]}}  # fmt: skip
    stored = hub.post([bad, sign, tie, custom]).json
    assert stored["success_count"] >= 3, stored
    for each in (bad, sign, tie, custom):
        page = someone.get(f"{URL}objects/{each['id']}/")
        if page.status_code == 200:
            inspect(page.text)
    for path in (URL, f"{URL}objects/", "/console/"):
        inspect(someone.get(path).text)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_markup_in_a_question_stays_text(someone: Any, payload: str) -> None:
    for path in ("/console/search/", f"{URL}objects/", f"{URL}objects/{new_id()}/"):
        answer = someone.get(path, query_string={"q": payload, "type": payload, "in": payload, "version": payload})
        assert answer.status_code in (200, 404)
        inspect(answer.text)
    answer = someone.get("/console/login", query_string={"next": payload})
    inspect(answer.text)


def test_what_turns_hides_or_stacks_text_is_shown_as_what_it_is(someone: Any) -> None:
    tricky = "invoice\u202efdp.exe \u2066x\u2069 a\u200bb c\u0301\u0301\u0301\u0301\u0301\u0301\u0301d \x07\U000e0041"
    bad = malware(name=tricky, description=f"{tricky}\nsecond line")
    someone.world.post([bad])
    for path in (URL, f"{URL}objects/{bad['id']}/", "/console/search/?q=invoice"):
        page = someone.get(path).text
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x07\U000e0041]", page)
        assert "⟨U+202E⟩fdp.exe" in page
        assert "c\u0301\u0301\u0301\u0301d" in page.replace("\u0301" * 5, "too many")


def test_huge_deep_and_odd_objects_are_shown_in_part(someone: Any) -> None:
    deep: Any = "end"
    for _ in range(150):
        deep = [deep]
    bad = malware(name="n" * 200_000, description="d" * 500_000, aliases=[f"a{number}" for number in range(5_000)])
    bad |= {"x_deep": deep, "x_number": 2**80, "x_yes": True} | {f"x_more_{number}": number for number in range(300)}
    assert someone.world.post([bad]).json["success_count"] == 1
    page = someone.get(f"{URL}objects/{bad['id']}/")
    assert page.status_code == 200
    assert len(page.data) < 300_000
    assert "more characters" in page.text
    assert "4,960 more" in page.text
    inspect(page.text)
    assert len(someone.get(URL).data) < 100_000


def test_texts_are_cut_and_cleaned() -> None:
    assert clean("a\u202eb\n\tc\x00") == "a⟨U+202E⟩b\n\tc⟨U+0000⟩"
    assert clean("x" * 10, 4) == "xxxx … (6 more characters)"
    assert clean("\ud800") == "⟨U+D800⟩"
    assert short("a  b\nc") == "a b c"
    assert short("x" * 100, 10) == "x" * 9 + "…"
    assert instant("2026-01-31T12:00:00.123Z") == "2026-01-31 12:00:00"
    assert instant("<script>") == "<script>"
