"""Who posts what in the demo, and how a partner's client does it. Everything goes through HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files

import orjson
from taxii2client.v21 import ApiRoot, Collection, as_pages

#: (partner, collection that it posts to): each posts demo/data/<partner>.json.
POSTS = (
    ("cisco-talos", "drop-cisco-talos"),
    ("kaspersky", "drop-kaspersky"),
    ("bt", "drop-bt"),
    ("interpol", "interpol"),
    ("cert-fr", "cert-fr"),
    ("cert-de", "cert-de"),
)
#: Objects that one request of the demo posts or polls: small, so that paging is seen at work.
PAGE = 50


@dataclass(frozen=True, slots=True)
class Login:
    """A partner with the secret of a token, as its client uses it."""

    partner: str
    secret: str


def bundle(partner: str) -> list[dict[str, object]]:
    """The objects that this partner posts."""
    raw = files("taxii_server.demo").joinpath("data", f"{partner}.json").read_bytes()
    objects: list[dict[str, object]] = orjson.loads(raw)["objects"]
    spec_version = orjson.loads(raw).get("spec_version")
    return [{"spec_version": spec_version, **each} if spec_version else each for each in objects]


def post(
    url: str, login: Login, collection_id: str, objects: list[dict[str, object]]
) -> Iterator[tuple[int, int, int]]:
    """Add the objects in several requests; (stored or already there, held in quarantine, refused) after each."""
    collection = Collection(f"{url}/hub/collections/{collection_id}/", user=login.partner, password=login.secret)
    for start in range(0, len(objects), PAGE):
        status = collection.add_objects({"objects": objects[start : start + PAGE]})
        held = sum(failure.get("message", "").startswith("held in quarantine") for failure in status.failures)
        yield status.success_count, held, status.failure_count - held


def poll(url: str, login: Login, page_read: Callable[[int], None]) -> dict[str, int]:
    """How many objects each collection gives that this partner may read, by collection id."""
    root = ApiRoot(f"{url}/hub/", user=login.partner, password=login.secret)
    counts: dict[str, int] = {}
    for collection in root.collections:
        if collection.can_read:
            counts[collection.id] = 0
            for page in as_pages(collection.get_objects, per_request=PAGE):
                counts[collection.id] += len(page.get("objects", []))
                page_read(1)
    return counts
