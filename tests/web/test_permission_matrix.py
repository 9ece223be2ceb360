"""The two tables of the standard as data: status codes per endpoint, and what can_read and can_write open.

EP-05: MAN-15, OBJG-11, OBJ1-10, VERS-10, ADD-04, DEL-02, DEL-03, DEL-04, DEL-05.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.web.endpoints import endpoints
from tests.web.rooms import InspectedWorld
from tests.world import MT, World, collection, indicator

#: (can_read, can_write) -> the status of GET MAN, OBJS, OBJ, VERS; of POST OBJS; of DELETE OBJ; None: not visible.
RIGHTS: dict[tuple[bool, bool] | None, tuple[int, int, int]] = {
    (True, True): (200, 202, 200),
    (True, False): (200, 403, 403),
    (False, True): (403, 202, 403),
    (False, False): (403, 403, 404),
    None: (404, 404, 404),
}
IDS = {
    (True, True): "7a1a9d4e-6c1c-4d3c-8f0a-5b8d7f6c2a01",
    (True, False): "7a1a9d4e-6c1c-4d3c-8f0a-5b8d7f6c2a02",
    (False, True): "7a1a9d4e-6c1c-4d3c-8f0a-5b8d7f6c2a03",
    (False, False): "7a1a9d4e-6c1c-4d3c-8f0a-5b8d7f6c2a04",
    None: "7a1a9d4e-6c1c-4d3c-8f0a-5b8d7f6c2a05",
}

#: Endpoint -> the failures that its table lists (the standard, sections 4 and 5).
TABLES = {
    "GET DISC": {401, 403, 404, 406},
    "GET ROOT": {401, 403, 404, 406},
    "GET STAT": {401, 403, 404, 406},
    "GET COLS": {400, 401, 403, 404, 406},
    "GET COL": {400, 401, 403, 404, 406},
    "GET MAN": {400, 401, 403, 404, 406},
    "GET OBJS": {400, 401, 403, 404, 406},
    "POST OBJS": {400, 401, 403, 404, 406, 413, 415, 422},
    "GET OBJ": {400, 401, 403, 404, 406},
    "DELETE OBJ": {400, 401, 403, 404, 406},
    "GET VERS": {400, 401, 403, 404, 406},
}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A collection for every row, which admin filled; rw has the rights of the row."""

    def lists(rights: tuple[bool, bool] | None) -> dict[str, list[str]]:
        read, write = rights or (False, False)
        return {
            "readers": ["admin"] + ["rw"] * read,
            "writers": ["admin"] + ["rw"] * write,
            "visible_to": ["rw"] * (rights == (False, False)),
        }

    made = InspectedWorld(
        tmp_path_factory.mktemp("matrix"),
        collections={
            f"c{number}": collection(id_, f"Collection {number}", **lists(rights))
            for number, (rights, id_) in enumerate(IDS.items())
        },
    )
    yield made
    made.close()


# EP-05, AUTH-11
@pytest.mark.parametrize("rights", RIGHTS, ids=lambda rights: f"read, write: {rights}")
@pytest.mark.parametrize("name", ["GET MAN", "GET OBJS", "GET OBJ", "GET VERS", "POST OBJS", "DELETE OBJ"])
def test_rights_open_and_close_the_endpoints(matrix: World, rights: tuple[bool, bool] | None, name: str) -> None:
    mine, theirs = indicator(), indicator()
    # What rw deletes has to be its own, or ownership would decide and not the rights of the collection.
    if rights and rights[1]:
        matrix.post([mine], into=IDS[rights])
    matrix.post([theirs], "admin", IDS[rights])
    object_id = mine["id"] if rights and rights[1] else theirs["id"]
    (endpoint,) = [each for each in endpoints(IDS[rights], object_id) if each.name == name]
    more = {"json": {"objects": [indicator()]}, "headers": {"Content-Type": MT}} if name == "POST OBJS" else {}
    answer = matrix.request(endpoint.method, endpoint.path, **more)
    read, add, delete = RIGHTS[rights]
    assert answer.status_code == {"POST OBJS": add, "DELETE OBJ": delete}.get(name, read)


# EP-05
@pytest.mark.parametrize("rights", RIGHTS, ids=lambda rights: f"read, write: {rights}")
def test_the_collection_says_the_rights(matrix: World, rights: tuple[bool, bool] | None) -> None:
    answer = matrix.get(f"/api1/collections/{IDS[rights]}/")
    assert answer.status_code == (404 if rights is None else 200)
    if rights is not None:
        assert (answer.json["can_read"], answer.json["can_write"]) == rights


# DEL-12
@pytest.mark.parametrize("rights", RIGHTS, ids=lambda rights: f"read, write: {rights}")
def test_deleting_what_is_not_there_tells_the_rights_first(matrix: World, rights: tuple[bool, bool] | None) -> None:
    answer = matrix.delete(f"/api1/collections/{IDS[rights]}/objects/{indicator()['id']}/")
    assert answer.status_code == {(True, True): 404, (False, False): 404, None: 404}.get(rights, 403)


# EP-05, MAN-16, OBJ1-13, DEL-15, VERS-11, ADD-31, COLS-08, STAT-18, DISC-13
@pytest.mark.parametrize("name", TABLES)
def test_an_endpoint_fails_only_as_its_table_says(matrix: World, name: str) -> None:
    for rights, id_ in IDS.items():
        (endpoint,) = [each for each in endpoints(id_) if each.name == name]
        for query in ("", "?limit=0", "?match[version]=all,last", "?next=x", "?added_after=x"):
            for partner in (None, "rw", "admin", "stranger"):
                for headers in ({}, {"Accept": "text/html"}, {"Content-Type": "text/plain"}, {"Content-Type": MT}):
                    path = endpoint.path + query
                    answer = matrix.request(endpoint.method, path, partner, headers=headers, data=b"{}")
                    assert answer.status_code in TABLES[name] | {200}, (rights, path, partner, headers)
