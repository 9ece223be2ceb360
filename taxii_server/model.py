"""The few shapes that travel between the parts. Frozen; no behaviour beyond reading them; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: The largest value a position can have (int64).
POSITION_MAX = 2**63 - 1
#: Positions of records are multiples of this. What lies between two of them is room for what one audience sees of a
#: record at another time than others (an embargo), or besides it (where a copy comes from).
POSITION_UNIT = 16
#: What an object is, which version it is, and who may read it: no copy is without these properties. A withdrawn object
#: stays withdrawn.
NEVER_CUT = frozenset(
    {
        "type",
        "spec_version",
        "id",
        "created",
        "modified",
        "revoked",
        "object_marking_refs",
        "granular_markings",
    }
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from and what it says: for the ledger, no decision looks at it."""

    address: str = ""
    method: str = ""
    path: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is asking: one credential of one partner (the audience)."""

    partner: str
    credential: str
    scheme: str
    origin: Origin = Origin()


@dataclass(frozen=True, slots=True)
class Traits:
    """The raw values that rules may look at, read off one object version (policy design, B.2).

    `labels` are lower case; all tuples are sorted and without repeats. `extension_values` holds
    (extension id, property, value) for every text value one level inside `extensions`.
    `firm_granular` are those of `granular` whose marked parts cannot be taken out of the object, and
    `fixed_properties` those of `properties` that cannot (required ones; every one of an observable).
    `covered_granular` are those of `granular` of which nothing is left when the parts of the others are taken out.
    `defines` is the object's own id when it is a marking-definition, else None.
    `submitter` is the authenticated partner, `collection` the name (file stem) it was posted to.
    """

    collection: str
    submitter: str
    id: str
    type: str
    spec_version: str
    revoked: bool = False
    markings: tuple[str, ...] = ()
    granular: tuple[str, ...] = ()
    creator: str | None = None
    labels: tuple[str, ...] = ()
    confidence: int | None = None
    extensions: tuple[str, ...] = ()
    extension_values: tuple[tuple[str, str, str], ...] = ()
    identity_class: str | None = None
    properties: tuple[str, ...] = ()
    defines: str | None = None
    firm_granular: tuple[str, ...] = ()
    fixed_properties: tuple[str, ...] = ()
    covered_granular: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Removal:
    """What one audience may not read of an object that it may otherwise read: it gets a derived copy.

    `markings`: the parts that granular markings with these ids mark. `properties`: whole properties, by name.
    `creator`: who made it. `references`: ids in lists of references, hidden from the audience.
    """

    markings: frozenset[str] = frozenset()
    properties: frozenset[str] = frozenset()
    creator: bool = False
    references: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Draft:
    """One validated object version on its way into a store.

    `version` is the text of `modified`, else `created`, as posted; None for an object that has
    neither (a cyber-observable): its version is then the date_added that the store gives it.
    `version_key` orders versions as instants (stix.times.instant_key); None when `version` is.
    `hard_refs` and `soft_refs` are the ids whose being hidden hides this object, and the ids that
    stand in lists from which they could be taken out. `digest` is SHA-256 over the canonical value. `terms` are what
    the object is found by (stix/terms.py); None: not known yet, so that it is looked at whatever is asked for.
    `at`: where an object that another server had wants to stand (µs); 0: at the present, like every new one.
    """

    collection: str
    submitter: str
    id: str
    type: str
    spec_version: str
    version: str | None
    version_key: str | None
    content: bytes
    digest: bytes
    hard_refs: tuple[str, ...] = ()
    soft_refs: tuple[str, ...] = ()
    terms: tuple[int, ...] | None = None
    at: int = 0


class Record(NamedTuple):
    """One stored object version. `content` is empty unless it was asked for.

    A tuple, because a page makes a thousand of them: a frozen dataclass takes four times as long to make (measured).
    """

    position: int
    collection: str
    submitter: str
    id: str
    type: str
    spec_version: str
    version: str
    version_key: str
    label: int
    digest: bytes = b""
    hard_refs: tuple[str, ...] = ()
    soft_refs: tuple[str, ...] = ()
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which records a page may hold. All conditions are ANDed; None means no condition.

    `labels` alone decide what may be read (each label belongs to one collection, `collections`
    lists those: stores may use it to choose an index, never to widen). `after` and `before` are exclusive.
    `terms` says for labels which terms their records may have, one of which is enough; records whose terms are not
    known yet are always there. It may be passed over where another condition leads to few records.
    """

    labels: tuple[int, ...]
    collections: tuple[str, ...]
    after: int
    limit: int
    ids: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    spec_versions: tuple[str, ...] | None = None
    version_keys: tuple[str, ...] | None = None
    content: bool = True
    #: the page ends after the record whose content brings it above so many bytes; 0: no such limit
    limit_bytes: int = 0
    before: int = POSITION_MAX
    #: label -> terms; a label that is not there has no condition, one without terms no record
    terms: Mapping[int, tuple[int, ...]] | None = None
    #: The records may come without collection, submitter, type, spec_version, version and digest: most pages are given
    #: away as they are, and a store that has to put records together from fields does less.
    only_texts: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Records in ascending position.

    `horizon`: no record of the store at or before the last one of this page has a label whose
    number in the log is greater (of the whole store, when the page has fewer than `limit`).
    A reader that knows fewer log entries than `horizon` may have stepped over a record.
    `cut`: the page ended because of `limit_bytes`, or of what the database gives at once where there is such a limit;
    more may follow though it has fewer than `limit`.
    """

    records: tuple[Record, ...]
    horizon: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of the store's append-only log of labels, marking meanings and vocabularies.

    Numbers start at 1 and have no gap. `payload` is canonical JSON that stores do not read.
    """

    number: int
    kind: str
    payload: str


@dataclass(frozen=True, slots=True)
class EventPlan:
    """An event: records that get a further place in the order, because some audience can read them from now on.

    `entries` are (class, position) of these records in the order of their places; a class says to the service which
    audiences they are for. The places lie in uneven steps from `base` to `end` (both are the same when there is
    at most one), behind every position so far, those of the same write included. `payload` makes the entry of
    kind "event" for the log from base, end and the positions of the records that the same write inserts.
    """

    entries: Sequence[tuple[int, int]]
    payload: Callable[[int, int, Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Credential:
    """A stored credential. `secret_hash` is hex SHA-256 of a token, or an argon2 hash of a password."""

    id: str
    partner: str
    kind: str
    secret_hash: str = field(repr=False)
    created: str
    comment: str = ""
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """A status resource as it was answered: who may read it, under which API root, until when (µs)."""

    id: str
    api_root: str
    submitter: str
    body: bytes
    expires: int


@dataclass(frozen=True, slots=True)
class AppliedCatalog:
    """The configuration texts in force: file name -> text. `epoch` grows by one with each change.

    `moment` (µs) is the time for which its dates are judged; it never goes back.
    """

    epoch: int
    digest: str
    applied: int
    applied_by: str
    files: Mapping[str, str]
    moment: int = 0


@dataclass(frozen=True, slots=True)
class StoreState:
    """The small facts that tell a worker what to read again."""

    catalog_epoch: int
    credentials_epoch: int
    log_length: int
    #: the last position that was taken
    clock: int
