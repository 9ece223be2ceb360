"""added_after, limit, next, and the order of pages (TAXII 2.1, 3.3 to 3.5). Malformed values are data:
tests/cases/taxii/paging.toml.
"""

from __future__ import annotations

import base64
import random
import re
from typing import Any

import pytest

from taxii_server.app import create_app
from taxii_server.times import format_position, parse_position
from tests.web.data import MIX
from tests.web.rooms import MakeHub, Room
from tests.world import EMPTY, FT6, LAST, MT, RW, A, B, World, collection, indicator, malware

RESOURCES = ["objects/", "manifest/", f"objects/{A}/", f"objects/{A}/versions/"]


def keep(page: dict[str, Any]) -> list[Any]:
    return list(page.get("objects", page.get("versions", [])))


# LIM-02, LIM-05, LIM-07, LIM-09, PAG-01, PAG-02, NXT-10
@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("limit", [1, 2, 4])
def test_a_page_has_as_many_records_as_asked_for_and_says_that_more_follow(
    room: Room, resource: str, limit: int
) -> None:
    room.store(*FT6[:5])
    page = room.page(f"{resource}?match[version]=all&limit={limit}")
    assert len(keep(page)) == limit
    assert page["more"] is True
    assert page["next"]


# LIM-03
@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize("limit", [5, 6, 1000])
def test_what_fits_comes_in_one_page(room: Room, resource: str, limit: int) -> None:
    room.store(*FT6[:5])
    page = room.page(f"{resource}?match[version]=all&limit={limit}")
    assert len(keep(page)) == 5
    assert "more" not in page


# LIM-04, LIM-06, POL-10
@pytest.mark.parametrize("query", ["", "?limit=1000000", "?limit=11"])
def test_the_servers_own_limit_holds_without_an_error(make_hub: MakeHub, query: str) -> None:
    hub = make_hub(settings="max_page = 10\ndefault_page = 10")
    hub.post([indicator() for _ in range(25)])
    assert len(hub.objects(query=query)) == 10
    assert len(list(hub.walk(limit=1_000_000))) == 25


# LIM-06
def test_a_default_page_and_a_collections_own_largest_page(make_hub: MakeHub) -> None:
    small = collection(EMPTY, "Small", readers=["rw"], writers=["rw"]) + "[limits]\nmax_page = 3\n"
    usual = collection(RW, "Usual", readers=["rw"], writers=["rw"])
    hub = make_hub(collections={"small": small, "usual": usual}, settings="max_page = 10\ndefault_page = 5")
    for into, without, largest in ((EMPTY, 3, 3), (RW, 5, 10)):
        hub.post([indicator() for _ in range(12)], into=into)
        assert len(hub.objects(of=into)) == without
        assert len(hub.objects(of=into, query="?limit=100")) == largest


# PAG-03, PAG-13, NXT-01, OBJG-17
@pytest.mark.parametrize("resource", ["objects", "manifest"])
def test_a_walk_by_next_visits_a_thousand_objects_once_and_in_order(room: Room, resource: str) -> None:
    sent = [indicator() for _ in range(1000)]
    room.store(*sent)
    assert [each["id"] for each in room.walk(resource, "", 70)] == [each["id"] for each in sent]


# PAG-04, PAG-05, AFT-01, AFT-07
@pytest.mark.parametrize("resource", ["objects/", "manifest/"])
def test_a_walk_by_the_header_visits_every_object_of_one_post_once(room: Room, resource: str) -> None:
    sent = [indicator() for _ in range(1000)]
    room.store(*sent)
    found: list[str] = []
    query = ""
    while True:
        answer = room.get(f"{resource}?limit=70{query}")
        found += [each["id"] for each in answer.json.get("objects", [])]
        if "more" not in answer.json:
            break
        query = f"&added_after={answer.headers[LAST]}"
    assert found == [each["id"] for each in sent]


# PAG-05, AFT-08, HDR-04
def test_each_record_has_a_date_of_its_own(room: Room) -> None:
    room.store(*[indicator(name=str(number)) for number in range(20)])
    dates = [each["date_added"] for each in room.manifest()]
    assert len(set(dates)) == 20
    for number, date in enumerate(dates):
        assert room.names(f"?added_after={date}") == [str(each) for each in range(number + 1, 20)]
        just_before = format_position(parse_position(date) - 1)
        assert room.names(f"?added_after={just_before}") == [str(each) for each in range(number, 20)]


# AFT-01, AFT-07
def test_added_after_is_strictly_after(room: Room) -> None:
    room.store(*FT6)
    answer = room.get("objects/?match[version]=all&limit=3")
    assert room.names(f"?match[version]=all&added_after={answer.headers[LAST]}") == ["A4", "A5", "B"]
    assert room.names("?match[version]=all") == ["A1", "A2", "A3", "A4", "A5", "B"]


# AFT-05, AFT-09: nine digits are cut, not rounded up, or the next object would be lost
def test_digits_beyond_microseconds_never_lose_an_object(room: Room) -> None:
    room.store(*FT6)
    dates = [each["date_added"] for each in room.manifest("?match[version]=all")]
    for number, date in enumerate(dates):
        longer = date.replace("Z", "999Z")
        assert len(room.objects(f"?match[version]=all&added_after={longer}")) == 5 - number


# PAG-16
def test_a_date_cut_to_milliseconds_repeats_objects_and_loses_none(room: Room) -> None:
    room.store(*FT6)
    last = room.get("objects/?match[version]=all&limit=4").headers[LAST]
    names = room.names(f"?match[version]=all&added_after={last[:-4]}Z")
    assert names[-2:] == ["A5", "B"]


# AMB-06, MVR-14: the choice of versions comes first, then the date
def test_an_old_version_that_arrives_late_is_not_served_as_the_latest(room: Room) -> None:
    id_ = indicator()["id"]
    room.store(indicator(id_, "2022-01-01T00:00:00Z", name="new"))
    mark = room.get().headers[LAST]
    room.store(indicator(id_, "2021-01-01T00:00:00Z", name="old"))
    assert room.names(f"?added_after={mark}") == []
    assert room.names(f"?added_after={mark}&match[version]=first") == ["old"]
    assert room.names(f"?added_after={mark}&match[version]=all") == ["old"]
    assert room.names() == ["new"]


# AMB-06: nor does an object come when only a newer version lies behind the date that was given
def test_a_version_that_was_overtaken_is_not_served_for_its_date(room: Room) -> None:
    room.store(*FT6[:2])
    first = room.manifest("?match[version]=first")[0]["date_added"]
    assert room.names(f"?added_after={first}&match[version]=first") == []
    assert room.names(f"?added_after={first}") == ["A2"]


# NXT-05
def test_a_token_is_short_and_safe_in_urls(room: Room) -> None:
    room.store(*FT6)
    many = ",".join([A, B] + [indicator()["id"] for _ in range(100)])
    for query in ("", "&match[type]=indicator,malware", f"&match[id]={many}&match[version]=all"):
        token = room.page(f"objects/?limit=1{query}")["next"]
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,511}", token)


# NXT-06
def test_the_limit_may_change_between_pages(room: Room) -> None:
    room.store(*FT6)
    token = room.page("objects/?match[version]=all&limit=1")["next"]
    for limit, names in ((3, ["A2", "A3", "A4"]), (100, ["A2", "A3", "A4", "A5", "B"])):
        assert room.names(f"?match[version]=all&limit={limit}&next={token}") == names


# NXT-07: clients that send nothing but the token
@pytest.mark.parametrize("resource", RESOURCES)
def test_a_token_alone_continues_with_the_filters_of_the_first_request(room: Room, resource: str) -> None:
    room.store(*FT6[:5], malware())
    start = room.manifest("?match[version]=all")[0]["date_added"]
    query = f"?match[version]=all&match[type]=indicator&added_after={start}&limit=2"
    first = room.page(resource + query)
    second = room.page(f"{resource}?next={first['next']}&limit=1")
    whole = keep(room.page(f"{resource}{query.replace('limit=2', 'limit=100')}"))
    assert keep(first) + keep(second) == whole[:3]
    assert keep(room.page(f"{resource}?next={second['next']}")) == whole[3:]


# NXT-07: an added_after beside the token, old, repeated or new, changes nothing
@pytest.mark.parametrize("added_after", ["1970-01-01T00:00:00Z", "2020-01-01T00:00:00.5Z", "2999-01-01T00:00:00Z"])
def test_the_position_of_the_token_governs(room: Room, added_after: str) -> None:
    room.store(*FT6)
    token = room.page("objects/?match[version]=all&limit=4")["next"]
    assert room.names(f"?next={token}&added_after={added_after}") == ["A5", "B"]


# NXT-01, NXT-08
@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ("match[type]=indicator", "match[type]=indicator", 200),
        ("match[type]=indicator,malware", "match[type]=malware,indicator", 200),
        ("match[type]=indicator", "", 200),
        ("match[type]=indicator", "match[type]=malware", 400),
        ("match[type]=indicator", "match[type]=indicator&match[version]=all", 400),
        ("", "match[type]=indicator", 400),
        ("match[version]=all", "match[version]=last", 400),
        ("match[version]=2018-08-08T01:52:01.234Z,last", "match[version]=last,2018-08-08T01:52:01.2340Z", 200),
    ],
)
def test_the_filters_beside_a_token_are_those_of_the_first_request(
    room: Room, first: str, second: str, status: int
) -> None:
    room.store(*FT6)
    token = room.page(f"objects/?limit=1&{first}")["next"]
    answer = room.get(f"objects/?next={token}&{second}")
    assert answer.status_code == status
    if status == 400:
        assert answer.json["error_code"] == "bad-query"


# NXT-08, NXT-05: a long query does not travel in the token
def test_a_long_query_has_to_be_repeated(room: Room) -> None:
    sent = [indicator() for _ in range(20)]
    room.store(*sent)
    ids = [each["id"] for each in sent[:10]]
    query = f"match[id]={','.join(ids)}"
    token = room.page(f"objects/?limit=4&{query}")["next"]
    assert room.get(f"objects/?next={token}").status_code == 400
    assert room.get(f"objects/?next={token}&match[id]={','.join(ids[:9])}").status_code == 400
    random.Random(5).shuffle(ids)
    page = room.page(f"objects/?next={token}&match[id]={','.join(ids)}")
    assert [each["id"] for each in page["objects"]] == [each["id"] for each in sent[4:10]]


# NXT-02
@pytest.mark.parametrize(
    ("partner", "path"),
    [
        ("partner_b", "{room}/objects/"),
        ("rw", "{room}/manifest/"),
        ("rw", "{room}/objects/{A}/"),
        ("rw", "{room}/objects/{A}/versions/"),
        ("rw", "{other}/objects/"),
    ],
)
def test_a_token_is_good_for_who_got_it_and_where(room: Room, free_rooms: Any, partner: str, path: str) -> None:
    other = next(free_rooms)
    room.store(*FT6)
    if other.world is room.world:
        other.store(*FT6)
    token = room.page("objects/?match[version]=all&limit=1")["next"]
    url = path.format(room=room.url, other=other.url, A=A)
    answer = room.world.get(f"{url}?next={token}", partner)
    assert answer.status_code == (400 if other.world is room.world or "other" not in path else 404)
    assert "objects" not in answer.json


# NXT-02, NXT-04
def test_an_altered_token_is_refused(room: Room) -> None:
    room.store(*FT6)
    token = room.page("objects/?match[version]=all&limit=1")["next"]
    for place in range(0, len(token), 5):
        altered = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert room.get(f"objects/?next={altered}").status_code == 400
    for altered in (token[:-4], token + "AAAA", token * 2, "A" * 7_900):
        assert room.get(f"objects/?next={altered}").status_code == 400


# NXT-02: a token that showed its position would tell how much hidden lies between two pages
def test_a_token_shows_nothing_of_what_is_in_it(room: Room) -> None:
    room.store(*FT6)
    token = room.page("objects/?match[type]=indicator&limit=1")["next"]
    raw = base64.urlsafe_b64decode(token + "==")
    position = parse_position(room.manifest()[0]["date_added"])
    assert b"indicator" not in raw
    assert str(position).encode() not in raw
    assert position.to_bytes(8, "big") not in raw
    assert position.to_bytes(8, "little") not in raw


# NXT-09
def test_a_token_outlives_the_process_that_gave_it(make_hub: MakeHub) -> None:
    hub = make_hub()
    hub.post(FT6)
    url = f"/api1/collections/{RW}/objects/"
    token = hub.get(f"{url}?limit=1").json["next"]
    again = create_app(hub.settings, hub.store, background=False).test_client()
    answer = again.get(f"{url}?next={token}", headers={"Accept": MT, "Authorization": hub.basic("rw")})
    assert [each["name"] for each in answer.json["objects"]] == ["B"]


# PAG-08
def test_what_arrives_during_a_walk_comes_at_its_end(room: Room) -> None:
    room.store(*[indicator(name=str(number)) for number in range(5)])
    first = room.page("objects/?limit=2")
    room.store(indicator(name="late"))
    second = room.page(f"objects/?limit=2&next={first['next']}")
    third = room.page(f"objects/?limit=2&next={second['next']}")
    names = [each["name"] for page in (first, second, third) for each in page["objects"]]
    assert names == ["0", "1", "2", "3", "4", "late"]


# PAG-09, PAG-13
def test_a_clock_that_steps_back_does_not_break_the_order(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.store(indicator(name="before"))
    mark = room.get().headers[LAST]
    monkeypatch.setattr(room.world.store, "_now", lambda: parse_position("2001-01-01T00:00:00.000000Z"))
    room.store(indicator(name="after"))
    assert room.names() == ["before", "after"]
    assert room.names(f"?added_after={mark}") == ["after"]


# PAG-14
def test_the_same_page_comes_every_time(room: Room) -> None:
    room.store(*MIX)
    assert len({room.get("objects/?match[version]=all&limit=9").data for _ in range(20)}) == 1


# PAG-15
def test_a_late_page_reads_no_more_records_than_an_early_one(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.store(*[indicator() for _ in range(500)])
    read: list[int] = []
    real = type(room.world.store).page

    def counted(self: Any, query: Any) -> Any:
        page = real(self, query)
        read.append(len(page.records))
        return page

    monkeypatch.setattr(type(room.world.store), "page", counted)
    room.walk("objects", "", 20)
    assert len(read) == 25
    assert max(read) <= 21


# MID-01: the order of the ids asked for does not matter
def test_objects_come_by_date_whatever_the_order_of_the_ids(room: Room) -> None:
    room.store(*FT6)
    assert room.names(f"?match[id]={B},{A}") == ["A5", "B"]
    assert room.names(f"?match[id]={B},{B},{A}") == ["A5", "B"]


# FLT-06: AMB-15, by setting
def test_a_server_may_be_told_to_reject_unknown_match_fields(make_hub: MakeHub) -> None:
    hub = make_hub(settings='unknown_match = "reject"')
    url = f"/api1/collections/{RW}/objects/"
    assert hub.get(f"{url}?match[foo]=1").status_code == 400
    assert hub.get(f"{url}?foo=1&match[type]=indicator").status_code == 200


# POL-10
@pytest.mark.parametrize(("count", "status"), [(500, 200), (501, 400), (10_000, 414)])
def test_a_list_of_too_many_values_is_refused(hub: World, count: int, status: int) -> None:
    ids = ",".join(f"indicator--{number}" for number in range(count))
    assert hub.get(f"/api1/collections/{EMPTY}/objects/?match[id]={ids}").status_code == status
