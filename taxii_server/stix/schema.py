"""The OASIS JSON schemas, one per STIX type, compiled once.

Why by type: the schema for bundles refuses ATT&CK and other real sets as a whole. Why this validator: it checks
tens of thousands of objects per second, and its patterns need linear time. The schemas come with the package
stix2-validator; only its data is opened, its code is never imported. Nothing is fetched from the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from itertools import islice
from typing import Any

import jsonschema_rs
import orjson

from taxii_server.errors import InvalidObject
from taxii_server.stix.kinds import OBSERVABLE_TYPES, TYPE_MAX_CHARS, UUID_PATTERN, is_observable, shown

_FOLDERS = ("common", "sdos", "sros", "observables")
_TOP_LEVEL_IN_COMMON = frozenset({"marking-definition", "language-content", "extension-definition"})
_MESSAGE_MAX_CHARS = 200
#: An id with a UUID of version 6, 7 or 8, in two parts beside that digit.
_NEWER_UUID = re.compile(
    rf"\A([a-z0-9-]{{1,{TYPE_MAX_CHARS}}}--[0-9a-f]{{8}}-[0-9a-f]{{4}}-)[678]([0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}})\Z"
)
_ERRORS_LOOKED_AT = 20


def check_schema(value: dict[str, Any], spec_version: str) -> None:
    """Checks an object against the OASIS schema of its type, or the schema of all objects for a custom type.

    `created` and `modified` have been checked before, with any number of digits.

    Raises InvalidObject with the path of the property and what the schema says about it.
    """
    validator = _validator(spec_version, _schema_name(value, spec_version))
    if validator.is_valid(value):
        return
    errors = _errors(validator, value)
    if errors and spec_version == "2.1":
        # Only now: most of what it complains about in real feeds is harmless, and needs no walk through the object.
        errors = _errors(validator, _with_older_uuids(value))
    if errors:
        error = max(errors, key=lambda candidate: len(candidate.instance_path))
        raise InvalidObject(*_explain(error))


def _errors(validator: jsonschema_rs.Draft202012Validator, value: dict[str, Any]) -> list[Any]:
    """The first errors that are not harmless."""
    found = (_plainest(error) for error in validator.iter_errors(value))
    return list(islice((error for error in found if not _is_harmless(error)), _ERRORS_LOOKED_AT))


def required_properties(of_type: str, spec_version: str) -> frozenset[str]:
    """The names without which no object of this type is valid; those of every object for a custom type."""
    return _required(of_type if of_type in _object_types(spec_version) else "core", spec_version)


@cache
def _required(name: str, spec_version: str) -> frozenset[str]:
    schema = _schemas()[spec_version, name]
    found = set(schema.get("required", ()))
    for part in schema.get("allOf", ()):
        found.update(part.get("required", ()))
        if part.get("$ref", "").endswith("/core.json"):
            found |= _required("core", spec_version)
    return frozenset(found)


@cache
def _schemas() -> Mapping[tuple[str, str], dict[str, Any]]:
    """(spec version, schema name) -> schema."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for spec_version in ("2.0", "2.1"):
        for folder in _FOLDERS:
            for file in (_package_data() / f"schemas-{spec_version}" / "schemas" / folder).iterdir():
                if file.name.endswith(".json"):
                    schema = orjson.loads(file.read_bytes())
                    # All are written for draft 2020-12, but the older ones name it by an address of no draft.
                    schema.pop("$schema", None)
                    found[spec_version, file.name.removesuffix(".json")] = schema
    return found


def _package_data() -> Traversable:
    """The files of stix2-validator, found without running its code: importing it takes most of a second."""
    spec = find_spec("stix2validator")
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("stix2-validator is not installed: its package data holds the OASIS schemas")
    reader = spec.loader.get_resource_reader("stix2validator")  # type: ignore[attr-defined]
    files: Traversable = reader.files()
    return files


@cache
def _registry() -> jsonschema_rs.Registry:
    resources = [(schema["$id"], schema) for schema in _schemas().values()]
    return jsonschema_rs.Registry(resources, draft=jsonschema_rs.Draft202012, retriever=_no_network)


def _no_network(uri: str) -> Any:
    raise LookupError(f"{uri} is not among the OASIS schemas")


@cache
def _validator(spec_version: str, name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        _schemas()[spec_version, name], registry=_registry(), retriever=_no_network
    )


@cache
def _object_types(spec_version: str) -> frozenset[str]:
    """The types that may stand at the top level of this version and have a schema of their own."""
    observables = OBSERVABLE_TYPES if spec_version == "2.1" else frozenset()
    sdo = {
        name
        for (version, name), schema in _schemas().items()
        if version == spec_version and ("/sdos/" in schema["$id"] or "/sros/" in schema["$id"])
    }
    common = {name for name in _TOP_LEVEL_IN_COMMON if (spec_version, name) in _schemas()}
    return frozenset(sdo | common | observables)


def _schema_name(value: Mapping[str, Any], spec_version: str) -> str:
    """STIX 2.0 knows observables only inside observed-data: at the top level they are custom objects there.

    A custom type is an object or an observable, and nothing tells which unless an extension does: one with
    neither `created` nor `modified` is held to what the standard asks of observables.
    """
    if value["type"] in _object_types(spec_version):
        return str(value["type"])
    timeless = "created" not in value and "modified" not in value
    return "cyber-observable-core" if spec_version == "2.1" and (is_observable(value) or timeless) else "core"


def _with_older_uuids(value: Any) -> Any:
    """The same, with version 4 in the place of the versions that UUIDs have had since (RFC 9562: 6 to 8) in its ids.

    STIX 2.1, 2.9, asks for a UUID as RFC 4122 has them, which RFC 9562 replaces; real feeds carry version 7, and the
    schemas know 1 to 5.
    """
    if isinstance(value, str):
        return _NEWER_UUID.sub(r"\g<1>4\g<2>", value)
    if isinstance(value, list):
        return [_with_older_uuids(each) for each in value]
    if isinstance(value, dict):
        return {_with_older_uuids(key): _with_older_uuids(each) for key, each in value.items()}
    return value


def _is_harmless(error: Any) -> bool:
    """Whether it is one of the things that real feeds do and nobody is hurt by.

    Other digits than milliseconds in `created` and `modified`, which were read as real instants already; custom
    properties, of the object or in an extension, with other names than STIX 2.1, 11.1 wants (capitals, one letter);
    and granular markings that STIX 2.1, 7.2.3 allows and its schema does not: of a language, without a
    `marking_ref`, and selectors with capitals, as in `hashes.SHA-256`. That they resolve was checked already.
    """
    path, kind = list(error.instance_path), error.kind.name
    if kind == "additionalProperties":
        return not path or (path[0] == "extensions" and len(path) > 1)
    if path and path[0] == "granular_markings":
        is_of_language = kind == "required" and error.kind.property == "marking_ref"
        return is_of_language or (kind == "pattern" and "selectors" in path)
    return kind == "pattern" and path in (["created"], ["modified"])


def _plainest(error: Any) -> Any:
    """Of a choice of schemas, the complaint of the one that fits best; else the error itself."""
    branches = [branch for branch in getattr(error.kind, "context", None) or () if branch]
    if not branches:
        return error
    plain = [[_plainest(each) for each in branch] for branch in branches]
    # The fewest complaints first, then the deepest: a wrong value says more than a wrong kind of object.
    best = min(plain, key=lambda each: (len(each), -max(len(one.instance_path) for one in each)))
    return max(best, key=lambda one: len(one.instance_path))


def _explain(error: Any) -> tuple[str, str]:
    """The path of the property and a short text."""
    steps = list(error.instance_path)
    kind = error.kind
    if kind.name == "required":
        return _path([*steps, kind.property]), "the property is missing; the OASIS schema requires it"
    if kind.name == "additionalProperties":
        return _path([*steps, kind.unexpected[0]]), "the OASIS schema allows no property of this name here"
    message = error.message
    if kind.name == "not" and steps == ["definition_type"] and error.instance == "tlp":
        # No other branch of the schema fitted: one of its many small differences, which would be told as one of type.
        message = (
            "it is none of the four TLP markings of STIX 2.1, 7.2.1.4, in which each value is fixed (`created` is"
            " 2017-01-20T00:00:00.000Z, nobody is the creator). Leave it out: everybody knows them"
        )
    elif kind.name == "type" and error.instance is None:
        # The plainest branch of a choice may want something else than this property is: tell what is wrong with null.
        message = "null is no value in STIX: leave the property out"
    elif kind.name == "pattern" and _is_other_uuid(str(error.instance).rpartition("--")[2]):
        message = (
            f"{shown(error.instance)} has no UUID of a version that there is (RFC 9562), or of STIX 2.0: that is 4"
        )
    elif kind.name == "not":
        message = f"{shown(error.instance)} is what the OASIS schema forbids: {orjson.dumps(kind.schema).decode()}"
    elif len(message) > _MESSAGE_MAX_CHARS:
        message = f"{shown(error.instance)} does not hold against {kind.name} of the OASIS schema"
    return _path(steps), message[:_MESSAGE_MAX_CHARS]


def _is_other_uuid(text: str) -> bool:
    """Whether it has the shape of a UUID, but a version or variant that the OASIS schema does not know."""
    return UUID_PATTERN.fullmatch(text) is not None and not (text[14] in "12345" and text[19] in "89ab")


def _path(steps: list[str | int]) -> str:
    """`external_references[0].url`; long names are cut."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:80]}" for step in steps)
    return text.removeprefix(".")
