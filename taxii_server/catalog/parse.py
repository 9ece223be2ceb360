"""Texts -> one catalog, or every problem in them. Pure: the same texts give the same catalog on every machine.

Everything that names something else is checked here, so that a request never meets a name without a meaning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection as Names
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from taxii_server import policy as rules
from taxii_server.catalog.filed import FILED, read_releases, with_way_out, wrong_in_filed
from taxii_server.catalog.schema import EVERY_PARTNER, SELECTORS, Catalog, Collection, Door, Limits
from taxii_server.certificates import FINGERPRINT
from taxii_server.errors import ConfigError, Problem
from taxii_server.policy import Audience, Policy
from taxii_server.settings import ApiRoot, Settings, read_api_roots
from taxii_server.settings.rows import is_name, parse_toml, read_table, rows_of, unknown

#: Where a file of the catalog belongs, by the first part of its name.
CONFIG = "config/"
COLLECTIONS = "collections/"
#: The part of server.toml that belongs to the catalog.
API_ROOTS_FILE = "config/server.toml"

#: The lists of a collection that hold partners.
_DOORS = ("readers", "writers", "visible_to")


def parse_catalog(files: Mapping[str, str]) -> Catalog:
    """The catalog that these texts (file name -> text, as `load.read_files` gives them) declare.

    Does not judge whether the policy's examples and claims hold: `check_catalog` does.
    Raises ConfigError with everything that is wrong.
    """
    problems: list[Problem] = []
    api_roots = _read_api_roots(files, problems)
    texts = {name: text for name, text in sorted(files.items()) if name.startswith(COLLECTIONS)}
    policy = _read_policy(files, [_stem(name) for name in texts], problems)
    problems += [
        Problem(name, "", f"belongs neither to {CONFIG} nor to {COLLECTIONS} nor to {FILED}")
        for name in files
        if not name.startswith((CONFIG, COLLECTIONS, FILED))
    ]
    problems += wrong_in_filed(files)
    collections = _read_collections(texts, problems)
    stems = frozenset(_stem(name) for name in texts)
    for each in collections.values():
        problems += _wrong_names(each, stems, api_roots, policy)
    problems += _clashes(collections.values())
    if problems or policy is None:
        raise ConfigError(problems)
    return Catalog(
        policy=policy,
        collections=MappingProxyType(collections),
        api_roots=api_roots,
        doors=MappingProxyType({name: _door(each, policy.audiences) for name, each in collections.items()}),
        digest=digest_of(files),
        releases=read_releases(files),
        certificates=MappingProxyType(
            {name: each.name for each in policy.audiences.values() for name in each.certificates}
        ),
        warnings=(*policy.warnings, *_oddities(collections), *_undecided(policy, collections)),
    )


def check_catalog(files: Mapping[str, str], settings: Settings | None = None) -> Catalog:
    """The catalog, when it may be put in force: every rule enforced, every example and claim true.

    With `settings`, it also has to agree with those of this server. Raises ConfigError with everything that is wrong.
    """
    catalog = parse_catalog(files)
    problems = rules.check(catalog.policy)
    if settings is not None:
        problems += check_settings(settings, catalog)
    if problems:
        raise ConfigError(problems)
    return catalog


def check_settings(settings: Settings, catalog: Catalog) -> list[Problem]:
    """What the settings of this server and the catalog disagree about."""
    return [*_wrong_certificates(settings, catalog), *_wrong_anonymous(settings, catalog)]


def _wrong_certificates(settings: Settings, catalog: Catalog) -> list[Problem]:
    """Names that nobody would vouch for: without a CA, whoever makes a certificate chooses its subject."""
    named = sorted(name for name in catalog.certificates if not name.startswith(FINGERPRINT))
    if settings.auth_certificate == "off" or settings.tls_client_ca or not named:
        return []
    partner = catalog.certificates[named[0]]
    return [
        Problem(
            settings.sources.get("tls_client_ca", "default"),
            "tls_client_ca",
            f"'{partner}' is known by {named[0]}, for which a CA has to vouch: set this to the file of that CA, "
            "or name the certificate by its fingerprint",
        )
    ]


def _wrong_anonymous(settings: Settings, catalog: Catalog) -> list[Problem]:
    name = settings.anonymous_partner
    if not name:
        return []
    source = settings.sources.get("anonymous_partner", "default")
    audience = catalog.policy.audiences.get(name)
    if audience is None:
        return [Problem(source, "anonymous_partner", unknown("partner", name, catalog.policy.audiences))]
    if audience.admin:
        return [Problem(source, "anonymous_partner", f"'{name}' is an administrator; anybody could act as one")]
    return []


def digest_of(files: Mapping[str, str]) -> str:
    """SHA-256 over names and texts: workers with the same digest answer alike."""
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        for part in (name, text):
            raw = part.encode()
            digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


# ---- reading


def _read_api_roots(files: Mapping[str, str], problems: list[Problem]) -> Mapping[str, ApiRoot]:
    values, wrong = parse_toml(files.get(API_ROOTS_FILE, ""), API_ROOTS_FILE)
    problems += wrong
    if wrong:
        return {}
    problems += [
        Problem(API_ROOTS_FILE, "", unknown("key", name, ["api_roots"])) for name in values if name != "api_roots"
    ]
    roots, wrong = read_api_roots(values.get("api_roots", {}), API_ROOTS_FILE)
    problems += wrong
    return roots


def _read_policy(files: Mapping[str, str], names: Names[str], problems: list[Problem]) -> Policy | None:
    texts = {name: text for name, text in files.items() if name.startswith(CONFIG) and name != API_ROOTS_FILE}
    # Filed releases last: what the policy as such lacks is told of a file that an operator wrote.
    texts.update((name, text) for name, text in sorted(files.items()) if name.startswith(FILED))
    try:
        return rules.parse(texts, names)
    except ConfigError as error:
        problems += [with_way_out(problem, files) for problem in error.problems]
        return None


def _read_collections(texts: Mapping[str, str], problems: list[Problem]) -> dict[str, Collection]:
    """The collections whose file is in order, by name; the others leave their problems."""
    collections: dict[str, Collection] = {}
    for file, text in texts.items():
        name = _stem(file)
        wrong = [] if is_name(name) else [Problem(file, "", "the name of the file is not made of a-z, 0-9, - and _")]
        values, unreadable = parse_toml(text, file)
        wrong += unreadable
        if not unreadable:
            found, misread = read_table(Collection, values, file, also=("limits",))
            limits, misread_limits = read_table(
                Limits, values.get("limits", {}), file, "limits", above=rows_of(Collection)
            )
            wrong += misread + misread_limits
            if not wrong:
                collections[name] = Collection(name=name, **found, limits=Limits(**limits))
        problems += wrong
    return collections


def _stem(file: str) -> str:
    return file.removeprefix(COLLECTIONS).removesuffix(".toml")


def _file(collection: Collection) -> str:
    return f"{COLLECTIONS}{collection.name}.toml"


# ---- checking


def _wrong_names(
    collection: Collection, stems: Names[str], api_roots: Mapping[str, ApiRoot], policy: Policy | None
) -> list[Problem]:
    """Names in a collection that nobody declared. Partners are left alone while the policy cannot be read."""
    file = _file(collection)
    problems = []
    if api_roots and collection.api_root not in api_roots:
        problems.append(Problem(file, "api_root", unknown("API root", collection.api_root, api_roots)))
    if policy is not None:
        if collection.owner is not None and collection.owner not in policy.audiences:
            problems.append(Problem(file, "owner", unknown("partner", collection.owner, policy.audiences)))
        for key in _DOORS:
            for selector in getattr(collection, key):
                problems += _wrong_selector(file, key, selector, policy)
    for source in collection.sources:
        if source == collection.name:
            problems.append(Problem(file, "sources", f"'{source}' is this collection; its own objects are always in"))
        elif source not in stems:
            problems.append(Problem(file, "sources", unknown("collection", source, stems)))
    return problems


def _wrong_selector(file: str, key: str, selector: str, policy: Policy) -> list[Problem]:
    if selector == EVERY_PARTNER:
        return []
    what, colon, name = selector.partition(":")
    if not colon:
        what, name = "partner", selector
    known: Mapping[str, Iterable[str]] = {
        "partner": policy.audiences,
        "group": policy.groups,
        "kind": {audience.kind for audience in policy.audiences.values()},
    }
    if what not in known or (colon and what not in SELECTORS):
        message = f"'{selector}' is neither a partner nor group:NAME nor kind:NAME nor \"{EVERY_PARTNER}\""
        return [Problem(file, key, message)]
    return [] if name in known[what] else [Problem(file, key, unknown(what, name, known[what]))]


def _clashes(collections: Iterable[Collection]) -> list[Problem]:
    """Ids that are not unique in the catalog, titles and aliases that are not under their API root."""
    problems = []
    taken: dict[tuple[str, ...], str] = {}
    for each in collections:
        claims = [("id", each.id), ("title", each.api_root, each.title.casefold())]
        if each.alias is not None:
            claims.append(("alias", each.api_root, each.alias.casefold()))
        for claim in claims:
            if claim in taken:
                value = getattr(each, claim[0])
                where = "" if claim[0] == "id" else f" under the API root '{each.api_root}'"
                message = f"'{value}' is taken by {taken[claim]}{where}"
                problems.append(Problem(_file(each), claim[0], message))
            else:
                taken[claim] = _file(each)
    return problems


def _oddities(collections: Mapping[str, Collection]) -> list[Problem]:
    """What is allowed and probably not meant."""
    problems = []
    shown = {source for each in collections.values() for source in each.sources}
    for name, each in collections.items():
        if "." in each.title:
            problems.append(
                Problem(_file(each), "title", "has a dot in it; OpenCTI will not find the collection by it")
            )
        if each.writers and not each.readers and name not in shown:
            problems.append(Problem(_file(each), "readers", "nobody reads what is posted here, here or in a view"))
        if not each.writers and not each.sources:
            problems.append(Problem(_file(each), "writers", "nobody posts here and there are no sources: stays empty"))
    return problems


def _undecided(policy: Policy, collections: Mapping[str, Collection]) -> list[Problem]:
    """Guards that hold what nobody at the hub could release."""
    if any(audience.admin for audience in policy.audiences.values()):
        return []
    return [
        Problem(
            guard.file, guard.key, f"nobody owns {name}: only an operator can release what is held (rule {guard.id!r})"
        )
        for guard in policy.guards
        if guard.act == "quarantine"
        for name in sorted(guard.collections)
        if collections[name].owner is None
    ]


# ---- doors


def _door(collection: Collection, audiences: Mapping[str, Audience]) -> Door:
    readers, writers, viewers = (_partners(getattr(collection, key), audiences) for key in _DOORS)
    owner = frozenset(() if collection.owner is None else (collection.owner,))
    return Door(readers=readers, writers=writers, viewers=readers | writers | viewers | owner)


def _partners(selectors: Iterable[str], audiences: Mapping[str, Audience]) -> frozenset[str]:
    """The partners that a list stands for."""
    found: set[str] = set()
    for selector in selectors:
        what, colon, name = selector.partition(":")
        if selector == EVERY_PARTNER:
            found.update(audiences)
        elif not colon:
            found.add(selector)
        elif what == "group":
            found.update(each for each, audience in audiences.items() if name in audience.groups)
        elif what == "kind":
            found.update(each for each, audience in audiences.items() if audience.kind == name)
    return frozenset(found)
