"""PageQuery -> SQL. Every shape reads an index in order of position; none sorts what it may not show.

Few labels: one arm per label (and per value of the leading filter), each the exact range of an index, merged
by SQLite in order of position. Records that are not asked for are never touched.
Many labels: the records of the filter or of the collections in order of position, each tested against
the table `wanted`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from taxii_server.model import POSITION_MAX, PageQuery
from taxii_server.storage.base import grouped

#: SQLite merges up to 500 arms. Up to here the merge was never slower than walking a collection.
ARMS_MAX = 400

#: Queries are padded to these numbers of arms: planning 400 arms takes 15 ms, a statement in the cache none.
_ARM_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320, ARMS_MAX)

#: No record has this label, or this term.
_NO_LABEL = -1
_NO_TERM = -1

_BOUND_MAX = 32

COLUMNS = (
    "r.position, r.collection, r.submitter, r.id, r.type, r.spec_version, r.version, r.version_key, r.label,"
    " r.digest, r.hard_refs, r.soft_refs"
)

#: The same of a record of which only the text is wanted (PageQuery.only_texts).
_OF_TEXTS = "r.position, '', '', r.id, '', '', '', r.version_key, r.label, x'', r.hard_refs, r.soft_refs"

#: All records of some ids, without content. Parameter: the ids as a JSON list.
LOOKUP = (
    f"SELECT {COLUMNS}, x'' FROM records AS r INDEXED BY records_by_id"  # noqa: S608
    " WHERE r.id IN (SELECT value FROM json_each(?))"
)


#: One record: COLUMNS, the content and the terms.
INSERT = f"INSERT INTO records VALUES ({', '.join('?' * 14)})"  # noqa: S608


@dataclass(slots=True)
class Parameters:
    """Values bound by number, so that arms can share them."""

    values: list[object] = field(default_factory=list)

    def add(self, value: object) -> str:
        self.values.append(value)
        return f"?{len(self.values)}"

    def one_of(self, column: str, wanted: Sequence[str]) -> str:
        """The condition that a column has one of these values."""
        if len(wanted) == 1:
            return f"{column} = {self.add(wanted[0])}"
        if len(wanted) <= _BOUND_MAX:
            return f"{column} IN ({', '.join(self.add(value) for value in wanted)})"
        return self.listed(column, wanted)

    def listed(self, column: str, wanted: Sequence[object]) -> str:
        """The same, for any number of values."""
        return f"{column} IN (SELECT value FROM json_each({self.add(json.dumps(wanted))}))"  # noqa: S608


@dataclass(frozen=True, slots=True)
class PageStatement:
    """The statement for one page; `wanted` are the labels that the table of this name has to hold (none: unused)."""

    sql: str
    values: list[object]
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Lead:
    """The filter that chooses the index: its column, its values, the index with and without an exact label."""

    column: str
    values: tuple[str, ...]
    exact: str
    walk: str
    sorts: bool


def page_statement(query: PageQuery, *, lacks_terms: bool = True) -> PageStatement | None:
    """The statement that reads this page, in any order of its rows; None when nothing can satisfy the query.

    `lacks_terms`: there may be records whose terms are not known.
    """
    labels = tuple(sorted(set(query.labels)))
    if query.terms is not None and query.ids is None and query.version_keys is None:
        groups = grouped(query, lacks_terms=lacks_terms)
        if any(groups):
            return _by_terms(query, groups)
        labels = groups.get((), ())
    filters = {
        "id": _unique(query.ids),
        "version_key": _unique(query.version_keys),
        "type": _unique(query.types),
        "spec_version": _unique(query.spec_versions),
    }
    if not labels or query.limit <= 0 or query.before <= query.after + 1 or () in filters.values():
        return None
    lead = _lead(filters)
    others = {column: values for column, values in filters.items() if values and (not lead or column != lead.column)}
    parameters = Parameters()
    after, limit = parameters.add(query.after), parameters.add(query.limit)
    conditions = [f"position > {after}"]
    if query.before < POSITION_MAX:
        conditions.append(f"position < {parameters.add(query.before)}")
    conditions += (parameters.one_of(column, values) for column, values in others.items())

    wanted: tuple[int, ...] = ()
    if len(labels) * (len(lead.values) if lead else 1) <= ARMS_MAX:
        arms = _exact_arms(lead, labels, conditions, parameters)
    else:
        wanted = labels
        arms = _walking_arms(lead, query.collections, conditions, parameters)
    sql = (
        f"SELECT {_selected(query)}"  # noqa: S608 - values are bound, the rest is from this module
        f" FROM (SELECT position FROM ({' UNION ALL '.join(arms)} ORDER BY position LIMIT {limit})) AS hit"
        " CROSS JOIN records AS r ON r.position = hit.position"
    )
    return PageStatement(sql, parameters.values, wanted)


def _selected(query: PageQuery) -> str:
    """What a row has: COLUMNS and the content."""
    if not query.content:
        return f"{COLUMNS}, x''"
    return f"{_OF_TEXTS if query.only_texts else COLUMNS}, r.content"


def _by_terms(query: PageQuery, groups: Mapping[tuple[int, ...], tuple[int, ...]]) -> PageStatement | None:
    """The statement for records with some terms: one range of an index for each pair of a term and a label.

    With more pairs than can be merged, the positions are collected and sorted: of readable records that have one of
    the terms, no others.
    """
    types, spec_versions = _unique(query.types), _unique(query.spec_versions)
    if query.limit <= 0 or query.before <= query.after + 1 or () in (types, spec_versions):
        return None
    parameters = Parameters()
    between = [f"position > {parameters.add(query.after)}"]
    if query.before < POSITION_MAX:
        between.append(f"position < {parameters.add(query.before)}")
    limit = parameters.add(query.limit)
    pairs = [(term, label) for terms, labels in groups.items() for term, label in product(terms, labels)]
    walked = groups.get((), ())
    if len(pairs) + len(walked) <= ARMS_MAX:
        if not walked:
            pairs += [(_NO_TERM, _NO_LABEL)] * (_arm_count(len(pairs)) - len(pairs))
        found = [(f"term = {parameters.add(term)}", f"label = {parameters.add(label)}") for term, label in pairs]
        arms = [_term_arm(*each, *between) for each in found]
        arms += [_walked_arm(f"label = {parameters.add(label)}", *between) for label in walked]
    else:
        arms = [
            _term_arm(parameters.listed("term", terms), parameters.listed("label", labels), *between)
            for terms, labels in groups.items()
            if terms
        ]
        if walked:
            arms.append(_walked_arm(parameters.listed("label", walked), *between))
    conditions = [
        parameters.one_of(f"r.{column}", values)
        for column, values in (("type", types), ("spec_version", spec_versions))
        if values
    ]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    # A record may have several of the terms: UNION, not UNION ALL. Without a limit SQLite drops the inner order.
    inner = "-1" if conditions else limit
    sql = (
        f"SELECT {_selected(query)}"  # noqa: S608 - values are bound, the rest is from this module
        f" FROM (SELECT position, label FROM ({' UNION '.join(arms)} ORDER BY position, label LIMIT {inner})) AS hit"
        # The label once more: what a damaged table says must not show what is hidden.
        f" CROSS JOIN records AS r ON r.position = hit.position AND r.label = hit.label{where} LIMIT {limit}"
    )
    return PageStatement(sql, parameters.values, ())


def _lead(filters: dict[str, tuple[str, ...] | None]) -> _Lead | None:
    """The narrowest filter of those that have an index."""
    if ids := filters["id"]:
        return _Lead("id", ids, "records_by_id", "records_by_id", sorts=True)
    if keys := filters["version_key"]:
        return _Lead("version_key", keys, "records_by_version", "records_by_version", sorts=True)
    if (types := filters["type"]) and len(types) <= ARMS_MAX:
        return _Lead("type", types, "records_by_type_label", "records_by_type", sorts=False)
    return None


def _exact_arms(
    lead: _Lead | None, labels: tuple[int, ...], conditions: list[str], parameters: Parameters
) -> list[str]:
    """One range of an index for each label, or for each pair of a label and a value of the filter."""
    if lead is None:
        padded = labels + (_NO_LABEL,) * (_arm_count(len(labels)) - len(labels))
        return [_arm("records_by_label", f"label = {parameters.add(label)}", *conditions) for label in padded]
    pairs = list(product(lead.values, labels))
    pairs += [(lead.values[0], _NO_LABEL)] * (_arm_count(len(pairs)) - len(pairs))
    return [
        _arm(
            lead.exact,
            f"{lead.column} = {parameters.add(value)}",
            f"label = {parameters.add(label)}",
            *conditions,
        )
        for value, label in pairs
    ]


def _walking_arms(
    lead: _Lead | None, collections: tuple[str, ...], conditions: list[str], parameters: Parameters
) -> list[str]:
    """Index ranges in order of position that are tested against `wanted`."""
    # The + keeps SQLite from looking up each label: records of one id are few, labels may be many thousands.
    conditions = [*conditions, "+label IN (SELECT label FROM temp.wanted)"]
    if lead is not None and lead.sorts:
        # Only the few records of these ids or versions are sorted.
        return [_arm(lead.walk, parameters.one_of(lead.column, lead.values), *conditions)]
    if lead is not None:
        return [_arm(lead.walk, f"{lead.column} = {parameters.add(value)}", *conditions) for value in lead.values]
    places = tuple(sorted(set(collections)))
    if not 0 < len(places) <= ARMS_MAX:
        return [_arm(None, *conditions)]
    return [_arm("records_by_collection", f"collection = {parameters.add(place)}", *conditions) for place in places]


def _term_arm(*conditions: str) -> str:
    return f"SELECT DISTINCT position, label FROM terms WHERE {' AND '.join(conditions)}"  # noqa: S608


def _walked_arm(*conditions: str) -> str:
    return f"SELECT position, label FROM records INDEXED BY records_by_label WHERE {' AND '.join(conditions)}"  # noqa: S608


def _arm(index: str | None, *conditions: str) -> str:
    hint = f"INDEXED BY {index}" if index else "NOT INDEXED"
    return f"SELECT position FROM records {hint} WHERE {' AND '.join(conditions)}"  # noqa: S608


def _arm_count(needed: int) -> int:
    return next(count for count in _ARM_COUNTS if count >= needed)


def _unique(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Repeats would make records appear twice."""
    return None if values is None else tuple(sorted(set(values)))
