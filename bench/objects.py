"""A deterministic mix of STIX objects: the same number gives the same object, whatever the size of the collection.

Of twenty objects in a row there are nine indicators, one malware, five observables, three relationships and two
sightings; every seventh indicator is marked. Relationships and sightings refer to objects of the same twenty, as in
the bundles that feeds send. Sizes are those of real feeds: 250 bytes for an observable, 700 for an indicator.
"""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

from taxii_server.tlp import TLP_2_IDS

_GROUP = 20
_KINDS = ("indicator",) * 9 + ("malware",) + ("ipv4-addr",) * 3 + ("url",) * 2 + ("relationship",) * 3 + (
    "sighting",
) * 2  # fmt: skip
_MARKED = TLP_2_IDS["green"]
_WORDS = [
    "loader",
    "beacon",
    "stealer",
    "panel",
    "dropper",
    "gate",
    "relay",
    "drop",
    "mule",
    "phish",
    "kit",
    "botnet",
    "sinkhole",
    "proxy",
    "wiper",
]
_CREATOR = f"identity--{uuid.uuid5(uuid.NAMESPACE_OID, 'bench')}"
#: Words of the policy in site.py: 0.5 %, 30 % and the rest of the objects carry them.
TINY, THIRD, REST = "tiny", "third", "rest"


def object_id(number: int, salt: str = "") -> str:
    """The id of the object with this number."""
    return f"{_KINDS[number % _GROUP]}--{uuid.UUID(int=_bits(number, salt), version=4)}"


def stix(number: int, salt: str = "") -> dict[str, Any]:
    """The object with this number; `salt` makes other objects of the same form."""
    kind = _KINDS[number % _GROUP]
    base = number - number % _GROUP
    draw = random.Random(number)
    value: dict[str, Any] = {"type": kind, "spec_version": "2.1", "id": object_id(number, salt)}
    if kind in ("ipv4-addr", "url"):
        address = ".".join(str(draw.randrange(1, 255)) for _ in range(4))
        value["value"] = address if kind == "ipv4-addr" else f"https://{address}/{draw.choice(_WORDS)}/{number}"
    else:
        stamp = f"2026-01-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:00.000Z"
        value |= {"created_by_ref": _CREATOR, "created": stamp, "modified": stamp}
    if kind == "indicator":
        text = " ".join(draw.choices(_WORDS, k=45))
        value |= {
            "name": f"{draw.choice(_WORDS)} {number}",
            "description": text,
            "indicator_types": ["malicious-activity"],
            "pattern": f"[url:value = 'https://{draw.choice(_WORDS)}{number}.example/{draw.choice(_WORDS)}']",
            "pattern_type": "stix",
            "valid_from": stamp,
            "confidence": draw.randrange(101),
        }
        if number % 7 == 0:
            value["object_marking_refs"] = [_MARKED]
    elif kind == "malware":
        value |= {"name": f"{draw.choice(_WORDS)} {number}", "is_family": False, "malware_types": ["trojan"]}
    elif kind == "relationship":
        value |= {
            "relationship_type": "indicates",
            "source_ref": object_id(base + number % 9, salt),
            "target_ref": object_id(base + 9, salt),
        }
    elif kind == "sighting":
        value |= {"sighting_of_ref": object_id(base + number % 9, salt), "count": 1 + number % 50}
    # Observables have none in STIX; the collection takes what only looks like STIX, and the policy can choose.
    value["labels"] = [word_of(number)]
    return value


def word_of(number: int) -> str:
    """The word that the policy looks at: the same for all of one bundle."""
    place = number // _GROUP * 7919 % 1000
    return TINY if place < 5 else THIRD if place < 305 else REST


def text(number: int, salt: str = "") -> bytes:
    """The object as it is posted."""
    return json.dumps(stix(number, salt), separators=(",", ":")).encode()


def envelope(numbers: range, salt: str = "") -> bytes:
    """A TAXII envelope with these objects."""
    return b'{"objects":[' + b",".join(text(number, salt) for number in numbers) + b"]}"


def _bits(number: int, salt: str) -> int:
    return random.Random(f"{salt}:{number}").getrandbits(128)
