"""Settings: limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taxii_server.settings.rows import row, seconds, whole


@dataclass(frozen=True, kw_only=True)
class Limits:
    GROUP: ClassVar = "Limits"

    address_requests_per_minute: int = row(
        whole(0, 1_000_000),
        12_000,
        "Requests a minute from one address (one /64 of IPv6), as many at once as in a minute; more are answered 429. "
        "0: no limit. Behind a proxy that is not trusted, all clients have one address.",
    )
    partner_requests_per_minute: int = row(
        whole(0, 1_000_000),
        6_000,
        "Requests a minute of one partner, as many at once as in a minute: a full copy of a million objects in pages "
        "of 1000 takes 1000. A partner's own requests_per_minute goes before it. 0: no limit.",
    )
    lockout_after: int = row(
        whole(0, 1000),
        50,
        "After so many wrong passwords or tokens under one name from one address, others are not looked at for a while "
        "(429). Partners are not locked out by what others guess elsewhere. 0: never.",
    )
    lockout_s: float = row(seconds(1), 30.0, "How long that is the first time; each further wrong one doubles it.")
    lockout_longest_s: float = row(seconds(1), 900.0, "The longest that it becomes.")
    max_url_bytes: int = row(whole(256, 8160), 8160, "The longest path with its query; a longer one is answered 414.")
    max_headers: int = row(whole(8, 64), 64, "The most header fields; more are answered 431.")
    max_header_bytes: int = row(
        whole(1024, 32_768),
        32_768,
        "The most bytes in the names and values of all header fields; more are answered 431. No single one has more "
        "than 16384.",
    )
    max_query_parameters: int = row(whole(8, 1000), 32, "The most parameters in a query; more are answered 400.")
    max_objects_per_post: int = row(
        whole(1, 1_000_000),
        100_000,
        "The most objects in one POST; more are answered 422. A collection may have a lower one of its own.",
    )
    max_json_depth: int = row(
        whole(10, 400),
        200,
        "How deep lists and objects may be nested inside one object of a POST; deeper ones are answered 422. STIX "
        "needs less than ten.",
    )
    max_json_values: int = row(
        whole(1000, 100_000_000),
        3_000_000,
        "The most values in the JSON of a POST, counted before it is read, by its commas and brackets (those in texts "
        "too); more are answered 422. A value takes up to 250 bytes of memory, however short it is.",
    )
    max_bodies_bytes: int = row(
        whole(1_048_576),
        268_435_456,
        "The most bytes of bodies that one worker holds at a time; further POSTs are answered 429 and come again. One "
        "body is always taken, if it is within max_content_length.",
    )
    max_labels_per_partner: int = row(
        whole(100, 1_000_000),
        20_000,
        "The most different combinations of markings and of what rules look at, of all that a partner posted (docs/"
        "storage.md, labels). What would need more is a failure of that object.",
    )
