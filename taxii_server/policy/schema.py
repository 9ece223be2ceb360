"""The policy file format, as tables: every section, every key, one line of help each.

Parsing, error messages and documentation read these same tables, so a key exists in all or in none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Keys = Mapping[str, str]

#: Top-level keys that stand once, and what they mean.
HEAD: Keys = {
    "schema": "format version of this file; 1",
    "name": "name of the policy, for logs and explain",
    "approved_by": "who approved it and when; free text",
}

#: Sections that are one table.
TABLES: Mapping[str, Keys] = {
    "defaults": {
        "unmarked": "an object without a TLP level: 'deny' (only its submitter reads it) or 'tlp:<level>'",
        "granular": "an object with an unreadable part: 'hide' it whole, or 'derive' a copy without that part",
        "versions": "'newest-governs': a version is readable only if the newest one is; or 'independent'",
        "refs_required": "a relationship, sighting or translation pointing at something hidden: 'hide'",
        "refs_lists": "a list with hidden ids: 'hide' the object, 'derive' a copy without them, or 'keep' them",
        "label_tlp": "whether a label like 'tlp:amber' tightens the level (it never relaxes it)",
        "statements": "what a statement marking does: 'neutral', nothing",
        "marking_sources": "audiences whose posted marking-definitions count for everybody's objects",
    },
}

#: Sections of named tables, such as [audience.cert-de]; [groups] and [markings] hold inline tables.
NAMED: Mapping[str, Keys] = {
    "collections": {"unmarked": "as in [defaults], for objects of this collection"},
    "groups": {"within": "groups that every member of this group is also in"},
    "facets": {
        "labels": "table of label -> value",
        "label_prefix": "labels that begin so give the rest of their text as value",
        "extension": "table with id, property and, optionally, values (text -> value)",
    },
    "markings": {
        "name": "what people call it",
        "tlp": "TLP level that this marking sets",
        "rel_to": "countries that may read; a joint team needs all of its own in the list",
        "rel_to_groups": "groups that may read besides those countries",
        "not_rel_to": "countries that may not read",
        "orcon": "true: only the originator hands it on",
    },
    "audience": {
        "kind": "what sort of organisation: le, le-international, cert, vendor, soc, public, ...",
        "clearance": "highest TLP level it may read",
        "country": "ISO 3166-1 code of its country",
        "countries": "ISO 3166-1 codes of all members of a joint team",
        "sector": "branch, such as finance",
        "groups": "groups it is in",
        "client_of": "audiences whose client it is",
        "identities": "identity ids it may use as created_by_ref; each belongs to one audience",
        "attributes": "table of further attributes, for '@name' in rules",
        "suspended": "true: reads nothing",
        "admin": "true: reads the status of every POST",
        "title": "full name, for people",
        "addresses": "networks that its credentials are taken from, such as '192.0.2.0/24'; left out: from anywhere",
        "claims": "table of claim -> values: an OIDC token with one of the values of each is this audience's",
        "requests_per_minute": "in place of the setting partner_requests_per_minute; 0: no limit",
        "certificates": "its client certificates: sha256:FINGERPRINT, subject:RFC 4514, uri:SAN or dns:SAN",
    },
}

_RULE: Keys = {"id": "name of the rule, unique", "why": "the reason, in prose", "to": "whom it concerns; left out: all"}
_WHAT: Keys = {"what": "which objects it concerns; left out: all"}

#: Sections that are lists of tables, such as [[permit]].
LISTS: Mapping[str, Keys] = {
    "permit": {**_RULE, **_WHAT},
    "forbid": {**_RULE, **_WHAT, "unless": "when it does not apply"},
    "select": {**_RULE, "drop": "which objects are not wanted (keys as in what)"},
    "embargo": {
        **_RULE,
        **_WHAT,
        "delay": "how long after date_added, such as '48h'; a policy has seven different ones at most",
        "until": "the moment it ends, with its offset",
    },
    "strip": {
        **_RULE,
        **_WHAT,
        "properties": "properties to take out of a copy, where they are there",
        "creator": "true: hide who made it",
    },
    "release": {
        "id": "name of the release, unique",
        "why": "the reason, in prose",
        "by": "the audience that releases what it posted",
        "objects": "ids of the objects released",
        "to": "table with audience and group",
        "not_before": "first moment it holds; left out: at once",
        "until": "moment it ends; left out: it does not",
    },
    "guard": {
        "id": "name of the rule, unique",
        "why": "the reason, in prose; whoever posts reads it",
        "collection": "collections that it watches; left out: all",
        "by": "whose posts it watches; left out: everybody's",
        "what": "which objects it stops, by what is posted (keys of its own)",
        "act": "'refuse', 'quarantine', or 'strip': everybody but the submitter reads a copy without the properties",
        "properties": "properties to take out; act 'strip' only",
    },
    "never": {**_RULE, **_WHAT},
    "test": {
        "id": "name of the example",
        "why": "the reason, in prose",
        "object": "the object, in short",
        "at": "the moment for which it is decided; left out: releases hold, and embargoes do",
        "read": "audiences that read all of it",
        "hide": "audiences that do not",
        "redact": "audiences that read a copy with something taken out",
        "post": "what guards make of it: 'accepted', 'refused' or 'quarantined'",
    },
}

#: What only a policy holds: no key of a server.toml or of a collection's file is called so.
POLICY_SECTIONS = frozenset({"schema", *TABLES, *NAMED, *LISTS})

#: Keys of `object` in a [[test]] that are not simply properties present.
OBJECT: Keys = {
    "type": "STIX type",
    "by": "the audience that posted it",
    "tlp": "TLP level, as a TLP 2.0 marking",
    "marking": "marking ids",
    "granular": "marking ids, or TLP level names, of granular markings",
    "labels": "labels",
    "identity_class": "of an identity",
    "confidence": "0 to 100",
    "revoked": "true or false",
    "id": "the object's id, where it matters",
    "age": "how long ago it was added, such as '72h'; left out: just now",
    "creator": "created_by_ref: an identity id or an audience with exactly one identity",
    "collection": "collection it was posted to",
    "extensions": "table of extension id -> table of properties",
    "spec_version": "2.0 or 2.1 (the default)",
}

FACET_EXTENSION: Keys = {
    "id": "extension-definition id",
    "property": "text property inside the extension",
    "values": "table of text in the object -> value of the facet; left out: the text itself",
}
RELEASE_TO: Keys = {"audience": "audiences that may read", "group": "groups that may read"}

Shape = Literal["texts", "table", "pair", "number", "flag"]


@dataclass(frozen=True, slots=True)
class Key:
    """One condition: the shape of its value, what its names must be, whether `not_` may precede it."""

    shape: Shape
    names: str
    help: str
    negatable: bool = True


#: Conditions on the reader (`to`, and inside `unless`).
TO: Mapping[str, Key] = {
    "audience": Key("texts", "audience", "audiences by name"),
    "group": Key("texts", "group", "members of a group, also through `within`"),
    "kind": Key("texts", "kind", "audiences of a kind"),
    "country": Key("texts", "country", "countries; of a joint team, a permit wants all, a forbid any"),
    "sector": Key("texts", "text", "audiences of a sector"),
    "client_of": Key("texts", "audience", "clients of an audience"),
    "attribute": Key("table", "attribute", "table of attribute -> values"),
}

#: Conditions on the object (`what`, `drop`, and inside `unless`).
WHAT: Mapping[str, Key] = {
    "type": Key(
        "texts", "text", "STIX types, also of somebody's own; one that is nearly a type of STIX is warned about"
    ),
    "spec_version": Key("texts", "text", "2.0, 2.1"),
    "tlp": Key("texts", "level", "TLP levels, after the unmarked rule and tlp: labels"),
    "marking": Key("texts", "marking", "marking ids, built in or of [markings]"),
    "label": Key("texts", "label", "labels"),
    "facet": Key("table", "facet", "table of facet -> values; '@country' is the audience's own"),
    "has_facet": Key("texts", "facet", "facets that have any value"),
    "identity_class": Key("texts", "text", "identity classes"),
    "by": Key("texts", "submitter", "who posted it; '@client_of': one whose client the audience is"),
    "creator": Key(
        "texts", "creator", "created_by_ref; a permit wants it verified, a forbid not, or its owner as poster"
    ),
    "collection": Key("texts", "collection", "collection it was posted to"),
    "extension": Key("texts", "extension", "extension ids"),
    "confidence_below": Key("number", "", "confidence under this; missing counts as under", negatable=False),
    "confidence_at_least": Key("number", "", "confidence of this or more", negatable=False),
    "revoked": Key("flag", "", "whether it is revoked", negatable=False),
}

#: Conditions of a guard on the posted object itself. All texts are compared as plain words.
GUARD_WHAT: Mapping[str, Key] = {
    "type": Key("texts", "text", "STIX types"),
    "label": Key("texts", "text", "labels"),
    "label_prefix": Key("texts", "text", "beginnings of labels, such as 'customer:'"),
    "identity_class": Key("texts", "text", "identity classes"),
    "sector": Key("texts", "text", "values of `sectors`"),
    "property": Key("texts", "text", "properties that are there; nested ones with dots: 'extensions.ID.name'"),
    "extension": Key("texts", "text", "extension ids"),
    "text": Key("table", "text", "table of property -> words or phrases, one of which is in its text", False),
    "names_customer": Key("texts", "text", "names, one of which is in any text of the object, as whole words", False),
}

#: Further keys of `unless`.
ATTRIBUTE_IN_FACET = Key("pair", "attribute", "table of attribute -> facet: its values are all in the facet", False)
ALTERNATIVES: Mapping[str, str] = {"or_audience": "audience", "or_group": "group", "or_kind": "kind"}

NOT = "not_"


def spelled(table: Mapping[str, Key]) -> dict[str, str]:
    """Every key that a condition table allows, with its `not_` form, and the help of each."""
    keys = {name: key.help for name, key in table.items()}
    keys.update({f"{NOT}{name}": f"the opposite of {name}" for name, key in table.items() if key.negatable})
    return keys


def unless_keys() -> dict[str, str]:
    """Every key that `unless` allows, and the help of each."""
    keys = spelled({**TO, **WHAT})
    keys["attribute_in_facet"] = ATTRIBUTE_IN_FACET.help
    keys.update({name: f"or else: {key}" for name, key in ALTERNATIVES.items()})
    return keys


_ISO_3166_1 = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
#: Country codes, upper case.
COUNTRIES = frozenset(_ISO_3166_1.split())
