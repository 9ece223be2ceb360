"""X-TAXII-Date-Added-First and -Last (TAXII 2.1, 3.2). That exactly four endpoints send them, as timestamps of six
digits and in order, is checked of every answer in shapes.py: HDR-01, HDR-02, HDR-03, HDR-06, HDR-07.
"""

from __future__ import annotations

import pytest

from tests.web.rooms import Room
from tests.world import EMPTY, FIRST, FT6, LAST, A, World, indicator

RESOURCES = ["objects/", "manifest/", f"objects/{A}/", f"objects/{A}/versions/"]


# HDR-01, HDR-02, HDR-04, HDR-05, HDR-09, OBJG-08
@pytest.mark.parametrize("resource", RESOURCES)
@pytest.mark.parametrize(("query", "first", "last"), [("", 0, -1), ("&limit=2", 0, 1), ("&limit=1", 0, 0)])
def test_the_headers_are_the_dates_of_the_first_and_last_record_of_the_page(
    room: Room, resource: str, query: str, first: int, last: int
) -> None:
    room.store(*FT6[:5])
    dates = [each["date_added"] for each in room.manifest(f"?match[id]={A}&match[version]=all")]
    answer = room.get(f"{resource}?match[version]=all{query}")
    assert (answer.headers[FIRST], answer.headers[LAST]) == (dates[first], dates[last])


# HDR-04, HDR-05
@pytest.mark.parametrize("resource", RESOURCES)
def test_the_second_page_has_headers_of_its_own(room: Room, resource: str) -> None:
    room.store(*FT6[:5])
    dates = [each["date_added"] for each in room.manifest("?match[version]=all")]
    token = room.page(f"{resource}?match[version]=all&limit=2")["next"]
    answer = room.get(f"{resource}?next={token}&limit=2")
    assert (answer.headers[FIRST], answer.headers[LAST]) == (dates[2], dates[3])


# HDR-06
def test_one_record_gives_two_equal_headers(room: Room) -> None:
    room.store(indicator())
    answer = room.get()
    assert answer.headers[FIRST] == answer.headers[LAST] == room.manifest()[0]["date_added"]


# HDR-07
def test_other_answers_have_no_such_headers(room: Room) -> None:
    posted = room.world.post(FT6, into=room.id)
    answers = [
        posted,
        room.world.get(f"/api1/status/{posted.json['id']}/"),
        *(room.world.get(path) for path in ("/taxii2/", "/api1/", "/api1/collections/", f"{room.url}/")),
        room.get("objects/?limit=0"),
        room.get(f"objects/{A}x/"),
        room.delete(A),
    ]
    assert not [answer for answer in answers if FIRST in answer.headers or LAST in answer.headers]


# HDR-08, MAN-11
@pytest.mark.parametrize("resource", ["objects/", "manifest/"])
@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", "1970-01-01T00:00:00.000000Z"),
        ("?added_after=2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000000Z"),
        ("?added_after=2020-01-01T01:00:00.1234567%2B01:00", "2020-01-01T00:00:00.123456Z"),
        ("?added_after=2999-01-01T00:00:00Z", "2999-01-01T00:00:00.000000Z"),
    ],
)
def test_an_empty_page_names_the_bound_it_was_read_from(hub: World, resource: str, query: str, value: str) -> None:
    answer = hub.get(f"/api1/collections/{EMPTY}/{resource}{query}")
    assert answer.json == {}
    assert answer.headers[FIRST] == answer.headers[LAST] == value


# HDR-08: a poller that keeps the header of an empty answer misses nothing
def test_polling_from_the_header_of_an_empty_page_finds_what_comes_next(room: Room) -> None:
    room.store(indicator(name="old"))
    mark = room.get().headers[LAST]
    idle = room.get(f"objects/?added_after={mark}")
    assert idle.json == {}
    assert idle.headers[LAST] == mark
    room.store(indicator(name="new"))
    assert room.names(f"?added_after={idle.headers[LAST]}") == ["new"]


# HDR-02
def test_head_sends_the_headers_too(room: Room) -> None:
    room.store(indicator())
    answer = room.world.request("HEAD", f"{room.url}/objects/")
    assert answer.headers[LAST] == room.get().headers[LAST]
