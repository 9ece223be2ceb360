"""Publish guards: which posted objects they stop, how a policy says so, and what refers to what is stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taxii_server.errors import ConfigError
from taxii_server.policy import Policy, check, parse
from taxii_server.policy.guard import Stop, Watch, spread, watch_over
from taxii_server.policy.words import Phrases, plain, texts_in, words, words_of

Make = Callable[..., Policy]
EXTENSION = "extension-definition--51001c85-0000-4000-8000-000000001c85"


def guard(what: str, act: str = "quarantine", more: str = "") -> str:
    return f'[[guard]]\nid = "g"\nwhat = {{ {what} }}\nact = "{act}"\n{more}\n'


def wide(text: str) -> str:
    """The text in full-width letters."""
    return "".join(chr(ord(char) + 0xFEE0) for char in text)


def watch(policy: Policy, collection: str = "box", submitter: str = "origin") -> Watch:
    found = watch_over(policy.guards, collection, submitter)
    assert found is not None
    return found


def identity(**more: Any) -> dict[str, Any]:
    return {"type": "identity", "id": "identity--1", "name": "Harbour Water plc", **more}


# ---- words


@pytest.mark.parametrize(
    "text",
    [
        "harbour water",
        "HARBOUR WATER PLC",
        wide("HARBOUR") + "\u3000" + wide("water"),
        "Har\u200bbour Wa\u00adter",
        "Har\u2060bour\ufeff Water",
        "Har\u3164bour\u115f Water",
        "H\u0301arbour Wa\u0308ter",
        "Härbour Wáter",
        "Har\x00bour\x1b Water",
        "Har\x1cbour\x1e Wat\x1fer",
        "http://x.example/harbour-water/login",
        "seen at harbour_water.",
        "harbour\n\t water",
        "Harbour\u00a0Water",
    ],
)
def test_a_name_is_found_however_it_is_spelled(text: str) -> None:
    assert Phrases(["Harbour Water"]).first_in(words(text)) == "Harbour Water"


@pytest.mark.parametrize("text", ["harbour", "water harbour", "harbours water", "harbour of water", "", "harbourwater"])
def test_a_name_is_found_as_whole_words_in_order_only(text: str) -> None:
    assert Phrases(["Harbour Water"]).first_in(words(text)) is None


def test_several_names_are_looked_for_at_once_also_where_one_begins_like_another() -> None:
    phrases = Phrases(["Bank of Nowhere", "Bank", "Bank of England"])
    assert phrases.first_in(words("the bank of england")) == "Bank"
    longer = Phrases(["Bank of Nowhere", "of England"])
    assert longer.first_in(words("the bank of england")) == "of England"
    assert longer.first_in(words("the bank of")) is None


@pytest.mark.parametrize(
    ("name", "text"), [("三菱", "株式会社三菱電機の工場"), ("삼성", "삼성은 오늘"), ("ไทย", "ประเทศไทย")]
)
def test_a_name_in_a_script_without_spaces_is_found_inside_of_a_text(name: str, text: str) -> None:
    assert Phrases([name]).first_in(words(text)) == name


def test_no_name_is_found_across_two_texts_nor_hidden_by_what_stands_between_them() -> None:
    phrases = Phrases(["Harbour Water"])
    assert phrases.first_in(words_of(["harbour", "water"])) is None
    assert phrases.first_in(words_of(["x", "Har\x1ebour\x1e Wa\u200bter", "y"])) == "Harbour Water"
    assert phrases.first_in(words_of(["é", "harbour\nwater"])) == "Harbour Water"
    assert words_of([]) == []


def test_plain_texts_are_compared_whole() -> None:
    assert plain("  Cus\u200btomer \u00a0 DATA ") == "customer data"
    assert plain(wide("customer")) == "customer"


def test_every_text_of_an_object_is_read_at_any_depth() -> None:
    value = {"a": ["one", {"two": [["three"]]}], "b": 4711, "c": True, "d": 1.5, "e": "x%2Dfive"}
    assert set(texts_in(value)) == {"a", "b", "c", "d", "e", "one", "two", "three", "4711", "x%2Dfive", "x-five"}


# ---- what a guard stops


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ('type = "identity"', identity()),
        ('type = ["x", "identity"]', identity()),
        ('not_type = "indicator"', identity()),
        ('label = "customer"', identity(labels=["other", " CUSTOMER "])),
        ('label = "Customer"', identity(labels=["cus\u200btomer"])),
        ('label = "customer"', identity(labels="customer")),
        ('not_label = "shareable"', identity(labels=["customer"])),
        ('not_label = "shareable"', identity()),
        ('label_prefix = "customer:"', identity(labels=[wide("C") + "ustomer:acme"])),
        ('identity_class = "individual"', identity(identity_class="Individual")),
        ('sector = "utilities"', identity(sectors=["energy", "utilities"])),
        ('property = "x_customer"', identity(x_customer=False)),
        ('property = "x_customer"', identity(**{"X_Custo\u200bmer": 1})),
        ('property = "x_a.b.c"', identity(x_a=[{"z": 1}, {"b": [[{"c": None}]]}])),
        (f'property = "extensions.{EXTENSION}.customer"', identity(extensions={EXTENSION: {"customer": "x"}})),
        ('not_property = "description"', identity()),
        (f'extension = "{EXTENSION}"', identity(extensions={EXTENSION.upper(): {}})),
        ('text = { name = "harbour water" }', identity()),
        ('text = { "x_a.b" = ["no", "our customer"] }', identity(x_a={"b": {"deep": "Our CUSTOMER said"}})),
        ('names_customer = "Harbour Water"', {"type": "indicator", "pattern": "[url:value = 'a/harbour%20water']"}),
        ('names_customer = "4711"', identity(x_number=4711)),
        ('names_customer = "Acme"', identity(x_customers={"ACME": 3})),
        ('type = "identity", label = "customer"', identity(labels=["customer"])),
    ],
)
def test_what_it_is_about_is_stopped(make: Make, what: str, value: dict[str, Any]) -> None:
    assert watch(make(guard(what))).judge(value) == Stop("g", "quarantine")


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ('type = "identity"', {"type": "indicator"}),
        ('not_type = "identity"', identity()),
        ('label = "customer"', identity(labels=["customers", "a customer"])),
        ('label = "customer"', identity()),
        ('not_label = "shareable"', identity(labels=["customer", "Shareable"])),
        ('label_prefix = "customer:"', identity(labels=["customer"])),
        ('identity_class = "individual"', identity(identity_class="organization")),
        ('sector = "utilities"', identity(x_sectors=["utilities"])),
        ('property = "x_customer"', identity(x={"x_customer": 1})),
        ('property = "x_a.b"', identity(x_a="b")),
        ('not_property = "name"', identity()),
        (f'extension = "{EXTENSION}"', identity(x={EXTENSION: {}})),
        ('text = { description = "harbour water" }', identity()),
        ('text = { name = "harbour", description = "harbour" }', identity()),
        ('names_customer = "Harbour"', {"type": "indicator", "name": "harbours"}),
        ('type = "identity", label = "customer"', {"type": "indicator", "labels": ["customer"]}),
        ('label = "customer"', {"type": "identity", "labels": [{"customer": 1}, 3]}),
        ('label = "customer"', {}),
    ],
)
def test_everything_else_passes(make: Make, what: str, value: dict[str, Any]) -> None:
    assert watch(make(guard(what))).judge(value) is None


def test_it_watches_its_collections_and_submitters_only(make: Make) -> None:
    policy = make(guard('type = "identity"', more='collection = ["box", "other"]\nby = "origin"'))
    assert watch_over(policy.guards, "box", "origin") is not None
    assert watch_over(policy.guards, "other", "origin") is not None
    assert watch_over(policy.guards, "box", "fr") is None
    assert watch_over(policy.guards, "third", "origin") is None


def test_refusing_goes_before_holding_whatever_the_order_in_the_file(make: Make) -> None:
    rules = guard('type = "identity"') + guard('label = "customer"', "refuse", 'why = "no"').replace('"g"', '"h"')
    found = watch(make(rules))
    assert found.judge(identity(labels=["customer"])) == Stop("h", "refuse", "no")
    assert found.judge(identity()) == Stop("g", "quarantine")


# ---- strip


def test_strip_is_a_rule_of_reading_and_stops_no_post() -> None:
    text = f"""
schema = 1
[audience.bt]
kind = "vendor"
clearance = "red"
[[permit]]
id = "open"
[[guard]]
id = "tickets"
why = "ours"
collection = "box"
by = "bt"
what = {{ type = "Report", not_label = "Shareable", extension = "{EXTENSION}", identity_class = "Group" }}
act = "strip"
properties = ["x_bt_ticket"]
"""
    policy = parse({"p.toml": text}, ["box"])
    assert watch_over(policy.guards, "box", "bt") is None
    (rule,) = (rule for rule in policy.rules if rule.kind == "strip")
    assert (rule.id, rule.why, rule.to, rule.properties) == ("tickets", "ours", (), ("x_bt_ticket",))
    assert [str(condition) for condition in rule.what] == [
        "collection = box",
        "by = bt",
        "type = Report",
        "not_label = shareable",
        f"extension = {EXTENSION}",
        "identity_class = group",
    ]


# ---- examples of posts


def test_an_example_of_a_post_that_turns_out_otherwise_is_told(make: Make) -> None:
    def example(post: str, label: str) -> str:
        return (
            f'[[test]]\npost = "{post}"\n'
            f'object = {{ type = "identity", labels = ["{label}"], by = "origin", collection = "box" }}\n'
        )

    rules = '[[permit]]\nid = "open"\n' + guard('label = "customer"', "refuse")
    assert check(make(rules + example("refused", "customer") + example("accepted", "x"))) == []
    wrong = make(rules + example("quarantined", "customer") + example("refused", "x"))
    assert [str(problem) for problem in check(wrong)] == [
        "policy.toml: test[1]: posted by origin to box it is refused (guard 'g'), not quarantined",
        "policy.toml: test[2]: posted by origin to box it is accepted, not refused",
    ]


def test_what_is_wrong_with_guards_is_told_all_at_once(make: Make) -> None:
    with pytest.raises(ConfigError) as raised:
        make(
            '[[permit]]\nid = "g"\n'
            + guard('wat = "x"', "drop")
            + '[[guard]]\nid = "h"\ncollection = "box"\nby = "nobody"\nact = "refuse"\nproperties = ["name"]\n'
            + '[[guard]]\nid = "i"\nact = "strip"\nwhat = { text = { name = "x" }, property = "x" }\n'
            + '[[guard]]\nid = "j"\nact = "refuse"\n'
            + 'what = { label = "\\u200b", property = "a..b", names_customer = ["--"], extension = "x", '
            + "not_text = 3 }\n"
            + f'[[guard]]\nid = "k"\nact = "refuse"\nwhat = {{ names_customer = "{"a " * 17}" }}\n'
            + '[[test]]\nobject = { type = "x", by = "origin" }\npost = "lost"\n'
        )
    found = [str(problem).removeprefix("policy.toml: ") for problem in raised.value.problems]
    assert [each.partition(" (known")[0].partition(" (rule")[0] for each in found] == [
        "guard[1].id: 'g' is the id of permit[1] in policy.toml already",
        "guard[1].act: unknown value 'drop'",
        "guard[1].what: unknown key 'wat'",
        "guard[2].what: missing: a guard without it would stop everything",
        "guard[2].properties: only an act 'strip' takes properties out, this one is 'refuse'",
        "guard[2].by: unknown audience 'nobody'",
        "guard[3].properties: an act 'strip' needs the properties to take out",
        "guard[3].what.text: an act 'strip' decides at every read, where this is not known",
        "guard[3].what.property: an act 'strip' decides at every read, where this is not known",
        "guard[4].what: unknown key 'not_text'",
        "guard[4].what.label: '\\u200b' has nothing in it that can be seen",
        "guard[4].what.property: 'a..b' is not a property; write its name, or names with a dot between them",
        "guard[4].what.names_customer: '--' has no word in it",
        "guard[4].what.extension: 'x' is not an extension id",
        f"guard[5].what.names_customer: {'a ' * 17!r} has 17 words, at most 16 can be looked for",
        "test[1].post: unknown value 'lost'",
        "test[1].post: the object needs a collection that it is posted to",
    ]


# ---- what refers to what is stopped

REFUSE, HOLD = Stop("r", "refuse"), Stop("q", "quarantine")


def spreading(stops: dict[int, Stop], *bodies: tuple[str, list[str]], **more: Any) -> dict[int, tuple[str, str]]:
    ids, references = [id_ for id_, _ in bodies], [refs for _, refs in bodies]
    given: dict[str, Any] = {"passing": frozenset(), "blocked": {}, **more}
    return {place: (stop.act, stop.via) for place, stop in spread(stops, ids, references, **given).items()}


def test_what_refers_to_a_stopped_object_is_stopped_likewise_through_several_steps_and_in_any_order() -> None:
    found = spreading({2: HOLD}, ("report", ["rel"]), ("rel", ["a", "id"]), ("id", []), ("a", []))
    assert found == {2: ("quarantine", ""), 1: ("quarantine", "id"), 0: ("quarantine", "rel")}


def test_circles_come_to_an_end() -> None:
    assert spreading({0: HOLD}, ("a", ["b"]), ("b", ["a"])) == {0: ("quarantine", ""), 1: ("quarantine", "a")}


def test_what_refers_to_both_is_refused() -> None:
    found = spreading({0: REFUSE, 1: HOLD}, ("a", []), ("b", ["a"]), ("c", ["b"]), ("d", ["a", "b"]))
    assert {place: act for place, (act, _) in found.items()} == dict.fromkeys(range(4), "refuse")


def test_what_refers_to_something_in_quarantine_is_held() -> None:
    assert spreading({}, ("a", ["x"]), ("b", ["y"]), blocked={"x": HOLD}) == {0: ("quarantine", "x")}


def test_what_was_released_is_held_no_more_but_may_be_refused() -> None:
    bodies = (("a", []), ("b", ["a"]), ("c", ["b"]))
    assert spreading({0: HOLD}, *bodies, passing=frozenset({1})) == {0: ("quarantine", "")}
    assert spreading({0: REFUSE}, *bodies, passing=frozenset({1}))[1] == ("refuse", "a")


def test_an_object_without_an_id_is_stopped_by_itself_only() -> None:
    assert spread({0: HOLD}, [None, "b"], [[], []], frozenset(), {}) == {0: HOLD}


def test_a_stop_by_a_guard_that_is_gone_still_holds(make: Make) -> None:
    found = watch(make(guard('type = "identity"', "refuse", 'why = "no"')))
    assert found.stop_of("g", "x") == Stop("g", "refuse", "no", "x")
    assert found.stop_of("gone", "x") == Stop("gone", "quarantine", "", "x")
