"""A hub whose every answer is inspected, and a collection in it for one test alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from tests.web.shapes import inspect
from tests.world import World

#: The collection with FT6 and MIX that nobody changes; ro reads it.
LIBRARY = "6f2a1a5c-9e83-4f0c-8c1c-0c5ff0f4d3a1"


class InspectedWorld(World):
    """A World that holds every answer to the shapes."""

    def request(
        self,
        method: str,
        path: str,
        partner: str | None = "rw",
        *,
        headers: Mapping[str, str | None] | None = None,
        **more: Any,
    ) -> TestResponse:
        answer = super().request(method, path, partner, headers=headers, **more)
        inspect(method, path, answer)
        return answer


@dataclass(frozen=True)
class Room:
    """One collection: rw and partner_b read and write, ro reads, wo writes."""

    world: World
    id: str

    @property
    def url(self) -> str:
        return f"/api1/collections/{self.id}"

    def post(self, objects: object, partner: str = "rw") -> dict[str, Any]:
        """The status of a POST that is accepted."""
        answer = self.world.post(objects, partner, self.id)
        assert answer.status_code == 202, answer.text
        return dict(answer.json)

    def store(self, *objects: dict[str, Any], partner: str = "rw") -> None:
        """POST objects that all have to be stored."""
        status = self.post(list(objects), partner)
        assert status["success_count"] == len(objects), status

    def get(self, tail: str = "objects/", partner: str = "rw", **more: Any) -> TestResponse:
        return self.world.get(f"{self.url}/{tail}", partner, **more)

    def page(self, tail: str = "objects/", partner: str = "rw") -> dict[str, Any]:
        """The resource of a GET that succeeds."""
        answer = self.get(tail, partner)
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    def objects(self, query: str = "", partner: str = "rw") -> list[dict[str, Any]]:
        return list(self.page(f"objects/{query}", partner).get("objects", []))

    def names(self, query: str = "", partner: str = "rw") -> list[str]:
        return [each["name"] for each in self.objects(query, partner)]

    def manifest(self, query: str = "", partner: str = "rw") -> list[dict[str, Any]]:
        return list(self.page(f"manifest/{query}", partner).get("objects", []))

    def versions(self, object_id: str, query: str = "", partner: str = "rw") -> list[str]:
        return list(self.page(f"objects/{object_id}/versions/{query}", partner).get("versions", []))

    def delete(self, object_id: str, query: str = "", partner: str = "rw") -> TestResponse:
        return self.world.delete(f"{self.url}/objects/{object_id}/{query}", partner)

    def walk(self, resource: str = "objects", query: str = "", limit: int = 7) -> list[Any]:
        """Every item, by way of `next`."""
        return list(self.world.walk("rw", self.id, resource, query, limit))


MakeHub = Callable[..., InspectedWorld]
