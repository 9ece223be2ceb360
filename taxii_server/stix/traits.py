"""The values that policy rules may look at, read off one object."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from taxii_server.model import Removal, Traits
from taxii_server.stix.derive import can_derive, markings_left
from taxii_server.stix.kinds import MARKING_DEFINITION, plain_word
from taxii_server.stix.markings import is_plain_tlp
from taxii_server.stix.whole import fixed_properties
from taxii_server.tlp import TLP_2_IDS, TLP_IDS

#: Each marking is tried by making a copy, which takes 10 us for each selector of the object.
MAX_TRIED_MARKINGS = 16
MAX_TRIED_SELECTORS = 2000

#: Names of properties are kept up to so many characters an object: strangers choose them.
_REMEMBERED_CHARS = 1000


def read_traits(value: Mapping[str, Any], *, collection: str, submitter: str, spec_version: str) -> Traits:
    """The traits of an object that passed `read_object`; values of an unexpected form are left out.

    `labels` are lower-cased, those in an odd spelling stand there as plain words, too; `granular` holds the marking
    ids of the granular markings, languages do not count. Extension ids with capitals stand there in lower case, too.
    `extension_values` holds the texts that stand directly inside an extension. What cannot be taken out of the object
    is told by trying, for each granular marking, and by the schemas, for its properties.
    """
    # Most objects have few of these: what is not there is not searched.
    extensions = _members(value["extensions"]) if "extensions" in value else {}
    granular = _marked_by(value["granular_markings"]) if "granular_markings" in value else ()
    firm = _firm(value, granular, spec_version) if granular else ()
    properties, fixed = _names(value, spec_version)
    return Traits(
        collection=collection,
        submitter=submitter,
        id=value["id"],
        type=value["type"],
        spec_version=spec_version,
        revoked=value.get("revoked") is True,
        markings=_texts(_list(value["object_marking_refs"])) if "object_marking_refs" in value else (),
        granular=granular,
        creator=_text(value.get("created_by_ref")),
        labels=_words(_list(value["labels"])) if "labels" in value else (),
        confidence=_confidence(value["confidence"]) if "confidence" in value else None,
        extensions=_texts([form for name in extensions for form in (name, name.lower())]) if extensions else (),
        extension_values=_extension_values(extensions) if extensions else (),
        identity_class=_word(value.get("identity_class")),
        properties=properties,
        defines=_defined(value) if value["type"] == MARKING_DEFINITION else None,
        firm_granular=firm,
        fixed_properties=fixed,
        covered_granular=_covered(value, granular, firm, spec_version) if len(granular) > 1 else (),
    )


def _names(value: Mapping[str, Any], spec_version: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the properties of an object, and of those that are fixed, both sorted."""
    if "extensions" in value or sum(map(len, value)) > _REMEMBERED_CHARS:
        return tuple(sorted(value)), tuple(sorted(fixed_properties(value, spec_version)))
    return _usual_names(value["type"], spec_version, value.get("is_family") is True, tuple(value))


@lru_cache(maxsize=2000)
def _usual_names(
    of_type: str, spec_version: str, is_family: bool, names: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The same for an object without extensions. Kept: the objects of a feed are alike (1.3 us less an object)."""
    alike = dict[str, Any].fromkeys(names) | {"type": of_type}
    if "is_family" in alike:
        alike["is_family"] = is_family
    return tuple(sorted(names)), tuple(sorted(fixed_properties(alike, spec_version)))


def _members(extensions: Any) -> dict[str, dict[str, Any]]:
    return {name: member for name, member in _dict(extensions).items() if isinstance(member, dict)}


def _marked_by(granular_markings: Any) -> tuple[str, ...]:
    return _texts([marking.get("marking_ref") for marking in _list(granular_markings) if _dict(marking)])


def _extension_values(extensions: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        sorted(
            (form, name, member)
            for extension, members in extensions.items()
            for form in {extension, extension.lower()}
            for name, member in members.items()
            if isinstance(member, str)
        )
    )


def _firm(value: Mapping[str, Any], granular: tuple[str, ...], spec_version: str) -> tuple[str, ...]:
    """The granular markings whose parts cannot be taken out; all of them when the others cannot go together.

    Those of TLP are ordered: who may not read a level may not read those above it either. So when all cannot go, as
    when each item of a required list is marked, the lowest levels are firm and the copy without those above is made.

    All are firm as well when there are too many to try each one: nobody should pay for a hostile object.
    """
    selectors = sum(len(marking["selectors"]) for marking in value["granular_markings"])
    if len(granular) > MAX_TRIED_MARKINGS or selectors > MAX_TRIED_SELECTORS:
        return granular
    loose = {marking for marking in granular if _can_lose(value, {marking}, spec_version)}
    for level in ("", *TLP_2_IDS):
        loose = {marking for marking in loose if TLP_IDS.get(marking) != level}
        if _can_lose(value, loose, spec_version):
            return tuple(marking for marking in granular if marking not in loose)
    return granular


def _covered(
    value: Mapping[str, Any], granular: tuple[str, ...], firm: tuple[str, ...], spec_version: str
) -> tuple[str, ...]:
    """The granular markings that a copy without the parts of the others lacks; firm ones are in every copy."""
    return tuple(
        marking
        for marking in granular
        if marking not in firm
        and marking
        not in (
            markings_left(value, Removal(markings=frozenset(granular).difference(firm, {marking})), spec_version) or ()
        )
    )


def _can_lose(value: Mapping[str, Any], markings: set[str], spec_version: str) -> bool:
    return can_derive(value, Removal(markings=frozenset(markings)), spec_version)


def _defined(value: Mapping[str, Any]) -> str | None:
    """The marking that a marking-definition defines. Those of TLP are public: a copy with more in it is none."""
    return None if value["id"] in TLP_IDS and not is_plain_tlp(value) else str(value["id"])


def _texts(found: Collection[Any]) -> tuple[str, ...]:
    return () if not found else tuple(sorted({text for text in found if isinstance(text, str)}))


def _words(found: Collection[Any]) -> tuple[str, ...]:
    return _texts([form for text in found if isinstance(text, str) for form in (text.lower(), plain_word(text))])


def _word(found: Any) -> str | None:
    return plain_word(found) if isinstance(found, str) else None


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) else None


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _dict(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _confidence(found: Any) -> int | None:
    """0 to 100 (STIX 2.1, 3.2); STIX 2.0 knows no confidence, so a custom one may hold anything."""
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= 100:
        return None
    return int(found) if found == int(found) else None
