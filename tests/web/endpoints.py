"""The TAXII endpoints as data, for what has to hold on each of them."""

from __future__ import annotations

from dataclasses import dataclass

from tests.world import RW, A

NO_STATUS = "b0a5c1c6-8a3f-4c2e-9a55-3d2a9d0c6e11"


@dataclass(frozen=True)
class Endpoint:
    """One method of one URL, by the name that the tables of the standard give it."""

    name: str
    method: str
    path: str


def endpoints(
    collection: str = RW, object_id: str = A, root: str = "api1", status_id: str = NO_STATUS
) -> list[Endpoint]:
    """Every endpoint, on this collection and this object."""
    url = f"/{root}/collections/{collection}"
    return [
        Endpoint("GET DISC", "GET", "/taxii2/"),
        Endpoint("GET ROOT", "GET", f"/{root}/"),
        Endpoint("GET STAT", "GET", f"/{root}/status/{status_id}/"),
        Endpoint("GET COLS", "GET", f"/{root}/collections/"),
        Endpoint("GET COL", "GET", f"{url}/"),
        Endpoint("GET MAN", "GET", f"{url}/manifest/"),
        Endpoint("GET OBJS", "GET", f"{url}/objects/"),
        Endpoint("POST OBJS", "POST", f"{url}/objects/"),
        Endpoint("GET OBJ", "GET", f"{url}/objects/{object_id}/"),
        Endpoint("DELETE OBJ", "DELETE", f"{url}/objects/{object_id}/"),
        Endpoint("GET VERS", "GET", f"{url}/objects/{object_id}/versions/"),
    ]


def within_a_collection(found: list[Endpoint]) -> list[Endpoint]:
    """Those that stand below a collection."""
    return [each for each in found if each.name.split()[1] in ("COL", "MAN", "OBJS", "OBJ", "VERS")]


def by_name(endpoint: Endpoint) -> str:
    """The id of an endpoint as a test parameter."""
    return endpoint.name
