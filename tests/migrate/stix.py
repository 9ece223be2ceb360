"""What is posted to the old servers: six POSTs of ten objects, the fourth with everything that is worth moving."""

from __future__ import annotations

import random
import uuid
from typing import Any

RED = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"
AMBER = "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421"
_random = random.Random(4711)


def new_id(type_: str) -> str:
    """An id that is the same on every run."""
    return f"{type_}--{uuid.UUID(int=_random.getrandbits(128), version=4)}"


def indicator(number: int, **more: Any) -> dict[str, Any]:
    at = f"2024-01-{1 + number % 28:02}T00:00:00.{number:03}Z"
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": new_id("indicator"),
        "created": at,
        "modified": at,
        "name": f"indicator {number}",
        "pattern": f"[ipv4-addr:value = '198.51.100.{number % 256}']",
        "pattern_type": "stix",
        "valid_from": at,
        **more,
    }


def _posts() -> list[list[dict[str, Any]]]:
    posts = [[indicator(10 * post + number) for number in range(10)] for post in range(6)]
    red = posts[2][3]
    red["object_marking_refs"] = [RED]
    posts[3] = [
        {**posts[0][4], "modified": "2024-03-01T00:00:00.000Z", "name": "a newer version"},
        {**posts[2][5], "modified": "2024-03-01T00:00:00.123456Z", "confidence": 80},
        indicator(70, object_marking_refs=[AMBER], x_acme_number=1234567890123456789, x_acme_text="Ω \U0001f6a8"),
        relationship(red["id"], posts[1][0]["id"]),
        relationship(posts[0][1]["id"], posts[1][0]["id"]),
        *posts[3][5:],
    ]
    return posts


def relationship(source: str, target: str) -> dict[str, Any]:
    at = "2024-02-01T00:00:00.000Z"
    return {
        "type": "relationship",
        "spec_version": "2.1",
        "id": new_id("relationship"),
        "created": at,
        "modified": at,
        "relationship_type": "related-to",
        "source_ref": source,
        "target_ref": target,
    }


POSTS = _posts()
RED_ID = POSTS[2][3]["id"]
#: What TLP:RED hides, by itself or through what it refers to.
HIDDEN = {RED_ID, POSTS[3][3]["id"]}
EVERY = [stix for objects in POSTS for stix in objects]
