"""What the policy hides shows nowhere (TAXII 2.1, 1.6.9, 8.2.2-8 and Appendix B)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.web.data import observable, statement
from tests.web.rooms import MakeHub
from tests.world import FIRST, LAST, OPEN_POLICY, RO, RW, WO, World, collection, indicator, malware, relationship

#: partner_b does not get what carries the label "secret"; rw, admin and the others do.
SECRETS = (
    OPEN_POLICY
    + """
[[forbid]]
id = "secrets"
to = { audience = ["partner_b"] }
what = { label = ["secret"] }
"""
)
INDEPENDENT = SECRETS.replace("[defaults]", '[defaults]\nversions = "independent"')


def secret(**more: Any) -> dict[str, Any]:
    return indicator(labels=["secret"], **more)


def plain(answer: TestResponse) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of an answer, but for what differs each time."""
    return answer.status_code, {**answer.json, "error_id": ""}, dict(answer.headers)


@pytest.fixture
def hub(make_hub: MakeHub) -> World:
    return make_hub(policy=SECRETS)


URL = f"/api1/collections/{RW}"


# POL-01
def test_a_hidden_object_is_absent_from_every_resource(hub: World) -> None:
    shown, hidden = indicator(name="shown"), secret(name="hidden")
    hub.post([shown, hidden])
    assert len(hub.objects("rw")) == 2
    assert hub.objects("partner_b") == [shown]
    assert [each["id"] for each in hub.get(f"{URL}/manifest/", "partner_b").json["objects"]] == [shown["id"]]
    for tail in ("", "versions/"):
        assert hub.get(f"{URL}/objects/{hidden['id']}/{tail}", "rw").status_code == 200
        assert hub.get(f"{URL}/objects/{hidden['id']}/{tail}", "partner_b").status_code == 404
    for query in (f"?match[id]={hidden['id']}", "?match[version]=all&limit=100", "?match[type]=indicator"):
        assert hidden["id"] not in hub.get(f"{URL}/objects/{query}", "partner_b").text


# POL-03, OBJ1-09, ERR-06, NXT-03: a hidden object and one that was never there cannot be told apart
@pytest.mark.parametrize(
    "tail",
    [
        "objects/{}/",
        "objects/{}/?match[version]=all",
        "objects/{}/?added_after=2999-01-01T00:00:00Z",
        "objects/{}/versions/",
        "objects/?match[id]={}",
        "manifest/?match[id]={}",
    ],
)
def test_hidden_and_absent_are_one_answer(hub: World, tail: str) -> None:
    hidden = secret()
    hub.post([hidden])
    there = hub.get(f"{URL}/{tail.format(hidden['id'])}", "partner_b")
    nowhere = hub.get(f"{URL}/{tail.format(indicator()['id'])}", "partner_b")
    assert plain(there) == plain(nowhere)


# POL-05, DEL-12
def test_deleting_and_posting_a_hidden_object_is_answered_as_if_it_were_absent(hub: World) -> None:
    hidden = secret()
    hub.post([hidden])
    there = hub.delete(f"{URL}/objects/{hidden['id']}/", "partner_b")
    nowhere = hub.delete(f"{URL}/objects/{indicator()['id']}/", "partner_b")
    assert plain(there) == plain(nowhere)
    assert there.status_code == 404
    mine = indicator(hidden["id"], name="mine")
    status = hub.post([mine], "partner_b").json
    assert status["successes"] == [{"id": mine["id"], "version": mine["modified"]}]
    assert hub.get(f"{URL}/objects/{hidden['id']}/", "rw").status_code == 200


# POL-05, DEL-17: the owner of a collection may delete what others posted there, as far as it can read it
def test_an_owner_cannot_delete_what_is_hidden_from_it(make_hub: MakeHub) -> None:
    lists = {"readers": ["rw", "partner_b"], "writers": ["rw", "partner_b"]}
    hub = make_hub(policy=SECRETS, collections={"rw": collection(RW, "Owned", owner="partner_b", **lists)})
    hidden, shown = secret(), indicator()
    hub.post([hidden, shown])
    assert hub.delete(f"{URL}/objects/{hidden['id']}/", "partner_b").status_code == 404
    assert hub.delete(f"{URL}/objects/{shown['id']}/", "partner_b").status_code == 200
    assert hub.objects("rw") == [hidden]


# POL-02, LIM-03, PAG-11, HDR-05
def test_limit_more_and_headers_speak_of_what_this_client_gets(hub: World) -> None:
    shown = [indicator(name=str(number)) for number in range(5)]
    hub.post([secret(), *shown[:3], secret(), *shown[3:], secret(), secret()])
    answer = hub.get(f"{URL}/objects/?limit=5", "partner_b")
    assert answer.json == {"objects": shown}
    dates = [each["date_added"] for each in hub.get(f"{URL}/manifest/", "partner_b").json["objects"]]
    assert (answer.headers[FIRST], answer.headers[LAST]) == (dates[0], dates[-1])
    page = hub.get(f"{URL}/objects/?limit=3", "partner_b").json
    assert page["objects"] == shown[:3]
    rest = hub.get(f"{URL}/objects/?limit=3&next={page['next']}", "partner_b")
    assert rest.json == {"objects": shown[3:]}
    assert rest.headers[LAST] == dates[-1]


# PAG-10, PAG-11, POL-02
def test_a_page_is_full_whatever_lies_hidden_in_between(make_hub: MakeHub) -> None:
    hub = make_hub(policy=SECRETS, settings="max_page = 20\ndefault_page = 20", max_content_length=10_000_000)
    shown = [indicator() for _ in range(10)]
    hub.post([*shown[:5], *[secret() for _ in range(9990)], *shown[5:]])
    answer = hub.get(f"{URL}/objects/?limit=10", "partner_b")
    assert answer.json == {"objects": shown}
    assert list(hub.walk("partner_b", limit=3)) == shown
    assert len(list(hub.walk("rw", RW, "manifest", limit=20))) == 10_000


# PAG-10: also when references and not labels hide them
def test_a_page_is_full_when_references_hide_what_lies_in_between(make_hub: MakeHub) -> None:
    hub = make_hub(policy=SECRETS)
    hidden, target = secret(), malware()
    shown = [indicator() for _ in range(4)]
    hub.post([hidden, target, *shown[:2], *[relationship(hidden["id"], target["id"]) for _ in range(50)], *shown[2:]])
    assert list(hub.walk("partner_b", limit=3)) == [target, *shown]


# POL-08
def test_a_relationship_to_something_hidden_is_hidden_and_one_to_something_unknown_is_not(hub: World) -> None:
    hidden, target = secret(), malware()
    to_hidden, dangling = relationship(hidden["id"], target["id"]), relationship(indicator()["id"], target["id"])
    hub.post([hidden, target, to_hidden, dangling])
    assert hub.objects("partner_b") == [target, dangling]
    assert hub.objects("rw") == [hidden, target, to_hidden, dangling]


# CN-21: who holds the tag of an answer has read that answer, and nobody else hears that it is still the same
def test_a_tag_is_good_for_its_reader_and_for_what_it_may_read_now(hub: World) -> None:
    id_ = indicator()["id"]
    hub.post([indicator(id_, "2020-01-01T00:00:00Z")])
    for path in (f"{URL}/objects/", f"{URL}/manifest/", f"{URL}/objects/{id_}/", f"{URL}/objects/{id_}/versions/"):
        seen, other = hub.get(path, "partner_b"), hub.get(path, "rw")
        assert (seen.data, seen.headers["ETag"] == other.headers["ETag"]) == (other.data, False)
        for tag, status in (
            (seen.headers["ETag"], 304),
            (f'"x", {seen.headers["ETag"]}', 304),
            (other.headers["ETag"], 200),
            (seen.headers["ETag"].removeprefix("W/"), 304),
            ("*", 304),
        ):
            again = hub.get(path, "partner_b", headers={"If-None-Match": tag})
            assert (again.status_code, again.data) == (status, b"" if status == 304 else seen.data)
    hub.post([secret(id_=id_, modified="2021-01-01T00:00:00Z")])
    held = {"If-None-Match": seen.headers["ETag"]}
    assert hub.get(path, "partner_b", headers=held).status_code == 404
    # A page that would cost more to tag than it is worth has none.
    hub.post([indicator(description="x" * 70_000)])
    assert "ETag" not in hub.get(f"{URL}/objects/").headers


# POL-04: the newest version governs, so hiding it hides the object
def test_an_object_whose_newest_version_is_hidden_is_hidden(hub: World) -> None:
    id_ = indicator()["id"]
    hub.post([indicator(id_, "2020-01-01T00:00:00Z"), secret(id_=id_, modified="2021-01-01T00:00:00Z")])
    assert hub.get(f"{URL}/objects/{id_}/", "partner_b").status_code == 404
    assert hub.objects("partner_b", query="?match[version]=all") == []


# POL-04, MVR-14: by policy, a client gets the latest version it may see
def test_a_policy_may_let_each_version_stand_for_itself(make_hub: MakeHub) -> None:
    hub = make_hub(policy=INDEPENDENT)
    id_ = indicator()["id"]
    old = indicator(id_, "2020-01-01T00:00:00Z")
    hub.post([old, secret(id_=id_, modified="2021-01-01T00:00:00Z")])
    for query in ("", "?match[version]=first", "?match[version]=all", "?match[version]=first,last"):
        assert hub.objects("partner_b", query=query) == [old]
    assert hub.get(f"{URL}/objects/{id_}/versions/", "partner_b").json == {"versions": [old["modified"]]}
    assert hub.get(f"{URL}/objects/{id_}/?match[version]=2021-01-01T00:00:00Z", "partner_b").status_code == 404


# POL-06
def test_objects_are_whole_or_absent(hub: World) -> None:
    sent = [indicator(x_acme={"a": [1]}), observable(), malware(labels=["open"])]
    hub.post(sent)
    assert hub.objects("partner_b") == sent == hub.objects("rw")


# POL-01: a marking-definition is shown to those who meet it on something
def test_a_marking_is_shown_with_what_carries_it(hub: World) -> None:
    hub.post([statement(), secret(object_marking_refs=[statement()["id"]])])
    assert hub.objects("partner_b") == []
    carrier = malware(object_marking_refs=[statement()["id"]])
    hub.post([carrier])
    assert hub.objects("partner_b") == [statement(), carrier]


# NXT-03, POL-12, PAG-11
def test_a_right_that_is_taken_away_between_two_pages_counts_for_the_second(make_hub: MakeHub) -> None:
    hub = make_hub()
    hub.post([indicator(), secret(), secret(), indicator(name="last")])
    page = hub.get(f"{URL}/objects/?limit=1", "partner_b").json
    hub.apply(SECRETS)
    rest = hub.get(f"{URL}/objects/?limit=1&next={page['next']}", "partner_b").json
    assert [each["name"] for each in rest["objects"]] == ["last"]
    assert "more" not in rest


# POL-12: a policy takes effect at the next request
def test_a_policy_takes_effect_at_once(make_hub: MakeHub) -> None:
    hub = make_hub()
    hidden = secret()
    hub.post([hidden])
    assert hub.objects("partner_b") == [hidden]
    hub.apply(SECRETS)
    assert hub.objects("partner_b") == []
    hub.apply(OPEN_POLICY)
    assert hub.objects("partner_b") == [hidden]


# POL-09
def test_every_read_and_write_leaves_an_audit_line(hub: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taxii_server.audit")
    sent = indicator()
    hub.post([sent])
    hub.get(f"{URL}/objects/", "partner_b")
    hub.get(f"{URL}/objects/{sent['id']}/")
    hub.delete(f"{URL}/objects/{sent['id']}/")
    lines = [each.getMessage() for each in caplog.records if each.name == "taxii_server.audit"]
    assert [line.split()[0] for line in lines] == ["add", "read", "read", "delete"]
    assert "partner=partner_b" in lines[1]
    assert "count=1" in lines[1]
    assert sent["pattern"] not in "".join(lines)


# POL-09: who tried what in vain
def test_every_denial_leaves_an_audit_line(hub: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taxii_server.audit")
    hub.get("/api1/%0anope/", None)
    hub.post([indicator()], "ro", RO)
    stranger, reader = [each.facts for each in caplog.records if each.name == "taxii_server.audit"]  # type: ignore[attr-defined]
    assert stranger == {
        "address": "127.0.0.1",
        "status": 401,
        "method": "GET",
        "path": r"/api1/\nnope/",
    }
    assert (reader["partner"], reader["status"], reader["method"]) == ("ro", 403, "POST")
    assert reader["credential"] in hub.tokens["ro"]
    assert hub.tokens["ro"] not in caplog.text


# POL-12, STAT-20: with the API root its statuses are out of sight
def test_a_partner_that_lost_its_root_cannot_read_its_statuses(make_hub: MakeHub) -> None:
    hub = make_hub()
    id_ = hub.post([indicator()], "wo", WO).json["id"]
    assert hub.get(f"/api1/status/{id_}/", "wo").status_code == 200
    for file in (hub.folder / "collections").iterdir():
        file.write_text(file.read_text().replace(', "wo"', "").replace('"wo"', '"admin"'))
    hub.apply()
    assert hub.get(f"/api1/status/{id_}/", "wo").status_code == 404


# POL-12
def test_a_suspended_partner_is_offered_nothing(make_hub: MakeHub) -> None:
    hub = make_hub()
    assert hub.get(f"{URL}/").status_code == 200
    partners = hub.folder / "config/partners.toml"
    partners.write_text(partners.read_text().replace("[audience.rw]\n", "[audience.rw]\nsuspended = true\n"))
    hub.apply()
    assert "api_roots" not in hub.get("/taxii2/").json
    assert hub.get(f"{URL}/objects/").status_code == 404
    assert hub.post([indicator()]).status_code == 404


# POL-07: an object that becomes readable reaches pollers under the date of the grant
def test_what_becomes_readable_later_reaches_pollers(make_hub: MakeHub) -> None:
    hub = make_hub(policy=SECRETS)
    hidden = secret()
    hub.post([hidden, indicator()])
    mark = hub.get(f"{URL}/objects/", "partner_b").headers[LAST]
    hub.apply(OPEN_POLICY)
    assert hub.objects("partner_b", query=f"?added_after={mark}") == [hidden]
