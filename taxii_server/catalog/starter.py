"""The files of a new hub, as texts: `init` writes them, and `partner add` takes its table from here.

A hub begins with the team that runs it, which posts to the collection `shared`, and with partners that read it and post
to drop boxes of their own, which `shared` shows. The policy is the smallest one that is safe: the clearance decides,
persons stay with the team. Its examples are about the partners that are there, so that it says what it does from the
first day.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taxii_server.catalog.template import collection_text
from taxii_server.settings import example_text
from taxii_server.settings.rows import toml_value
from taxii_server.tlp import TLP_2_IDS

#: The partner that runs the hub, and the collection that it posts to.
TEAM, SHARED = "hub", "shared"
#: TLP levels as `clearance` takes them, the least secret first.
CLEARANCES = tuple(TLP_2_IDS)
_API_ROOT = "hub"

_PARTNERS = """\
# Who takes part. One [audience.NAME] is one organisation; its credentials are made with `taxii-server token new NAME`.
#
#   title       its full name, for people
#   kind        what sort of organisation it is; rules speak of kinds
#   country     ISO 3166 code; rules speak of it as "@country". An international organisation has none
#   clearance   the highest TLP level it may read: clear < green < amber < amber+strict < red
#   groups      names that [groups] declares, for rules and for the lists of collections
#   identities  the STIX identities it may use as created_by_ref: only these make it the verified creator
#
# `taxii-server partner add NAME` adds one. All keys: docs/policy.md.

schema = 1
name = {name}

# Groups of partners: members = {{}}, or eu-members = {{ within = ["members"] }}.
[groups]

# The team that runs this hub. It posts what it collects, and looks after what others post.
"""

_POLICY = """\
# Who reads what.
#
# Nobody reads anything, unless a [[permit]] below names it. A [[forbid]] takes away, whatever is permitted. Under both
# lies a floor that no rule can lift: an object is read only by partners whose clearance reaches its TLP level, and who
# are named for it when it is TLP:RED; and an object whose marking is not understood is not read at all. What a partner
# posted itself, it can always read back.
#
# At the end stand the claims ([[never]]: proved over every combination of values that a rule can tell apart) and the
# examples ([[test]]). `taxii-server check` tries them all, and a file that fails one of them is not put in force.
#
# Partners: partners.toml. Who comes through which door: ../collections/*.toml. All keys: docs/policy.md.

[defaults]
unmarked = "deny"               # no TLP level: only whoever posted it reads it. Or "tlp:green", ... if you agreed on it
granular = "hide"               # one part of an object is not for this reader: the whole object is not
refs_lists = "hide"             # a report that lists something hidden is hidden too
refs_required = "hide"          # so is a relationship or a sighting of something hidden
versions = "newest-governs"     # an older version is no way round the marking of the newest
label_tlp = true                # a label such as "tlp:amber" can tighten the level, never relax it


# ---- Who may read

[[permit]]
id = "what-the-clearance-allows"
why = "whoever takes part reads what the TLP level of an object allows it to"


# ---- What nobody overrides

[[forbid]]
id = "persons"
why = "personal data stays with the team that runs the hub, whatever its marking says"
what = {{ type = "identity", identity_class = "individual" }}
unless = {{ audience = "{team}" }}


# ---- What is looked at before it is stored
# A guard refuses what is posted, or holds it in quarantine until the owner of the collection decides (docs/guard.md).
# Whoever posts on purpose what one of these holds can release it there; put in front of `what` for whom they are
# (collection = ["drop-..."]) when they should not look at everybody.

[[guard]]
id = "customers-and-victims"
why = "who the customers of a vendor are, and who was hit, leaves its drop box only when the vendor says so"
what = {{ label = ["customer", "customers", "client", "victim"] }}
act = "quarantine"

[[guard]]
id = "customers-by-name"
why = "a label such as customer:acme or tenant:acme names a customer"
what = {{ label_prefix = ["customer:", "client:", "tenant:", "victim:"] }}
act = "quarantine"


# ---- What must never happen

[[never]]
id = "a-person-is-read-outside-the-team"
why = "no rule that is added later may let personal data through"
to = {{ not_audience = "{team}" }}
what = {{ type = "identity", identity_class = "individual" }}


# ---- Examples
"""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A partner that is about to take part. `further` are more keys of its table in partners.toml, in order."""

    name: str
    kind: str
    clearance: str
    title: str = ""
    country: str = ""
    further: Mapping[str, object] | None = None

    @property
    def drop_box(self) -> str:
        """The name of the collection that only this partner posts to."""
        return f"drop-{self.name}"


def audience_text(partner: Newcomer) -> str:
    """Its table for partners.toml; keys without a value are left out."""
    keys = ("title", "kind", "country", "clearance")
    values = {key: getattr(partner, key) for key in keys} | dict(partner.further or {})
    lines = [f"{key} = {toml_value(value)}\n" for key, value in values.items() if value]
    return f"[audience.{partner.name}]\n{''.join(lines)}"


def drop_box_text(partner: str, title: str, api_root: str) -> str:
    """The file of the collection that only this partner posts to; views show it to the others."""
    return collection_text(
        id=str(uuid.uuid4()),
        api_root=api_root,
        title=f"Drop box of {title or partner}".replace(".", " "),
        description="What it shares. Only its owner opens it; the others read it through the views that show it.",
        owner=partner,
        readers=[partner],
        writers=[partner],
        accepts=["2.1", "2.0"],
    )


def hub_files(
    title: str, contact: str, store: str | None, partners: Sequence[Newcomer], settings: Mapping[str, object]
) -> dict[str, str]:
    """Path below the new folder -> text. `settings` are further ones of server.toml; `store` None is the default."""
    team = Newcomer(TEAM, "operator", "red", title)
    place = {} if store is None else {"store": store}
    named = "\n".join(audience_text(each) for each in partners)
    files = {
        "config/server.toml": example_text({"title": title, "contact": contact, **place, **settings}),
        "config/partners.toml": _PARTNERS.format(name=toml_value(title))
        + audience_text(team)
        + (f"\n# ---- Partners\n\n{named}" if named else ""),
        "config/policy.toml": _POLICY.format(team=TEAM) + "".join(_examples(partners)),
        "collections/_template.toml": collection_text(),
        f"collections/{SHARED}.toml": collection_text(
            id=str(uuid.uuid4()),
            api_root=_API_ROOT,
            title="Shared",
            alias=SHARED,
            description="What the hub shares with every partner. Each of them sees what the policy allows.",
            owner=TEAM,
            readers=["*"],
            writers=[TEAM],
            sources=[each.drop_box for each in partners],
            accepts=["2.1", "2.0"],
        ),
    }
    for each in partners:
        files[f"collections/{each.drop_box}.toml"] = drop_box_text(each.name, each.title, _API_ROOT)
    return files


def _examples(partners: Sequence[Newcomer]) -> list[str]:
    """What the policy makes of an indicator of each level, for the partners that are there."""
    found = []
    for level in CLEARANCES[:-1]:
        read = [each.name for each in partners if CLEARANCES.index(each.clearance) >= CLEARANCES.index(level)]
        hide = [each.name for each in partners if each.name not in read]
        if level in ("green", "amber", "amber+strict"):
            why = f"an indicator at TLP:{level.upper()}: the clearance decides"
            found.append(_example(why, f'type = "indicator", tlp = "{level}", by = "{TEAM}"', read, hide))
    names = [each.name for each in partners]
    why = "TLP:RED is for those it names, and nobody is named"
    found.append(_example(why, f'type = "indicator", tlp = "red", by = "{TEAM}"', [], names))
    person = f'type = "identity", identity_class = "individual", tlp = "clear", by = "{TEAM}"'
    found.append(_example("a person, even one whom everybody may know", person, [], names))
    found.append(_example("somebody forgot to mark it", f'type = "indicator", by = "{TEAM}"', [TEAM], names))
    return found


def _example(why: str, words: str, read: Sequence[str], hide: Sequence[str]) -> str:
    # An example without a partner says nothing; the team stands for one as long as it is alone.
    lists = {"read": read, "hide": hide} if read or hide else {"read": [TEAM]}
    said = "".join(f"{key} = {toml_value(names)}\n" for key, names in lists.items() if names)
    return f"\n[[test]]\nwhy = {toml_value(why)}\nobject = {{ {words} }}\n{said}"
