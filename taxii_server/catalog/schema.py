"""What a catalog is: the collections, who comes through their doors, and the policy, as one frozen object.

The collection says who comes through the door, the policy which objects each audience sees inside. Rights are
closed: a partner that stands in none of a collection's lists does not learn that it exists.

Why sources do not reach further than one step: a view shows its own records and those of the collections it
names, full stop. Two collections may then be each other's source, and nobody has to follow a chain through ten
files to know what a partner is offered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from taxii_server.catalog.filed import ReleaseEntry
from taxii_server.errors import Problem
from taxii_server.policy import Policy
from taxii_server.settings import ApiRoot
from taxii_server.settings.rows import Kind, matching, one_of, required_row, row, text, texts, whole

#: STIX versions that a collection can store, the preferred one first.
STIX_VERSIONS = ("2.1", "2.0")
#: What stands before a name in a list of partners.
SELECTORS = ("group", "kind")
EVERY_PARTNER = "*"

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_URL_SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._~-]*[A-Za-z0-9])?")


def _is_alias(value: str) -> bool:
    return _URL_SAFE.fullmatch(value) is not None and _UUID.fullmatch(value) is None


UUID4: Kind[str] = matching(
    "UUIDv4", lambda value: _UUID4.fullmatch(value) is not None, "a version 4 UUID in lower case (try `uuidgen -r`)"
)
ALIAS: Kind[str] = matching(
    "name", _is_alias, "a name that a URL can hold as it is: letters, digits, . _ ~ and - (and not a UUID)"
)
PARTNERS: Kind[tuple[str, ...]] = texts(name="list of partners")
ACCEPTS: Kind[tuple[str, ...]] = texts(one_of(*STIX_VERSIONS), "list of STIX versions", may_be_empty=False)


# fmt: off
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`[limits]` of a collection, where it is stricter than the server."""

    max_page: int = row(whole(0, 20_000), 0, "The most objects in one page. 0: as in server.toml.")
    max_objects: int = row(whole(0), 0, "The most objects in one POST. 0: as many as fit into max_content_length.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """One collection as its file declares it. `name` is the stem of the file, by which rules refer to it."""

    name: str
    id: str = required_row(
        UUID4, "The identity of the collection and part of its URL. It never changes, whatever else does."
    )
    api_root: str = required_row(text(may_be_empty=False), "The API root it is served under, as in server.toml.")
    title: str = required_row(
        text(may_be_empty=False),
        "What clients show, and what some of them find the collection by: unique under its API root, without dots.",
    )
    description: str = row(text(), "", "What is in it, for the partner who reads the list of collections.", active=True)
    alias: str | None = row(
        ALIAS, None, "A second name for the URL, unique under its API root. Clients are safer with the id."
    )
    owner: str | None = row(
        text(may_be_empty=False), None,
        "The partner it belongs to: sees it, and may delete from it whatever it can read. Reading and writing are "
        "granted by the lists below, to the owner too.", active=True,
    )
    readers: tuple[str, ...] = row(
        PARTNERS, (), "Who may read: partners by name, \"group:NAME\", \"kind:NAME\", or \"*\" for every partner.",
        active=True,
    )
    writers: tuple[str, ...] = row(PARTNERS, (), "Who may post.", active=True)
    visible_to: tuple[str, ...] = row(
        PARTNERS, (),
        "Who else sees that it exists, without reading or writing. Everybody who is in no list gets 404.",
    )
    sources: tuple[str, ...] = row(
        texts(name="list of collections"), (),
        "Other collections, by the names of their files, whose objects are shown here as well. One step only: what "
        "those take from elsewhere does not come along.", active=True,
    )
    accepts: tuple[str, ...] = row(
        ACCEPTS, ("2.1",), "The STIX versions it stores. Many vendors still publish 2.0."
    )
    strictness: str = row(
        one_of("structure", "schema"), "schema",
        "How objects are checked when they are posted: schema (ids, times, references, markings, and the OASIS schema "
        "of their type) or structure, without the schema, for sources that keep to it only roughly.",
    )
    retention_days: int = row(
        whole(0, 36_500), 0,
        "After how many days an object version is removed, counted from its date_added (docs/upkeep.md). 0: never.",
    )
    retention_versions: int = row(
        whole(0), 0,
        "How many versions of an object by one submitter are kept; older ones are removed. 0: all of them.",
    )
    limits: Limits = field(default_factory=Limits)
# fmt: on


@dataclass(frozen=True, slots=True)
class Rights:
    """What one partner may do with one collection. `delete_any`: also delete what others posted and it can read."""

    visible: bool = False
    read: bool = False
    write: bool = False
    delete_any: bool = False


@dataclass(frozen=True, slots=True)
class Door:
    """Who comes through the door of one collection: its lists, spelled out in partners."""

    readers: frozenset[str]
    writers: frozenset[str]
    viewers: frozenset[str]


_CLOSED = Rights()


@dataclass(frozen=True, slots=True)
class Catalog:
    """All that operators declare and partners file, immutable: a request takes one catalog and finishes on it.

    `digest` is that of the texts it was made from. `collections` and `doors` are by name, `api_roots` in the
    order of server.toml.
    """

    policy: Policy
    collections: Mapping[str, Collection]
    api_roots: Mapping[str, ApiRoot]
    doors: Mapping[str, Door]
    digest: str
    releases: tuple[ReleaseEntry, ...] = ()
    warnings: tuple[Problem, ...] = ()
    #: name of a client certificate -> partner
    certificates: Mapping[str, str] = field(default_factory=dict)
    _places: Mapping[tuple[str, str], Collection] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places: dict[tuple[str, str], Collection] = {}
        for each in self.collections.values():
            places[each.api_root, each.id] = each
            if each.alias is not None:
                places[each.api_root, each.alias] = each
        object.__setattr__(self, "_places", MappingProxyType(places))

    def collection_at(self, api_root: str, id_or_alias: str) -> Collection | None:
        """The collection at this place of the URL, or None. Says nothing about who may see it."""
        return self._places.get((api_root, id_or_alias))

    def collections_in(self, api_root: str) -> tuple[Collection, ...]:
        """The collections under an API root, by id."""
        found = (each for each in self.collections.values() if each.api_root == api_root)
        return tuple(sorted(found, key=lambda each: each.id))

    def feeds(self, collection: Collection) -> tuple[str, ...]:
        """The ids of the collections whose records it shows: its own first, then its sources in their order."""
        return (collection.id, *(self.collections[name].id for name in collection.sources))

    def rights(self, collection: Collection, partner: str) -> Rights:
        """What the partner may do with the collection; nothing at all for an unknown or suspended partner."""
        audience = self.policy.audiences.get(partner)
        door = self.doors[collection.name]
        if audience is None or audience.suspended or partner not in door.viewers:
            return _CLOSED
        read = partner in door.readers
        return Rights(
            visible=True,
            read=read,
            write=partner in door.writers,
            delete_any=read and partner == collection.owner,
        )

    def visible(self, api_root: str, partner: str) -> tuple[Collection, ...]:
        """The collections under an API root that the partner knows of, by id."""
        return tuple(each for each in self.collections_in(api_root) if self.rights(each, partner).visible)

    def reachable(self, partner: str) -> frozenset[str]:
        """The ids of all collections whose records the partner is offered, here or through a view."""
        return frozenset(
            feed
            for collection in self.collections.values()
            if self.rights(collection, partner).read
            for feed in self.feeds(collection)
        )

    def accepted(self, collection: Collection) -> tuple[str, ...]:
        """The STIX versions that a reader of the collection may meet: its own and those of its sources."""
        shown = {
            version
            for each in (collection, *(self.collections[name] for name in collection.sources))
            for version in each.accepts
        }
        return tuple(version for version in STIX_VERSIONS if version in shown)

    def media_types(self, collection: Collection) -> tuple[str, ...]:
        """`media_types` of the collection resource: one for each STIX version a reader may meet."""
        return tuple(f"application/stix+json;version={version}" for version in self.accepted(collection))
