"""A small hub for tests: the collections and partners of the checklist's fixtures, in a Flask client.

Partners rw, ro, wo, nn have the rights on the collections that their names say; partner_b owns what is hidden
from the others; admin may read every status. The policy lets everybody read everything, unless a test brings
its own.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from taxii_server.app import create_app
from taxii_server.auth.secrets import new_token
from taxii_server.catalog import read_files
from taxii_server.service.hub import Hub
from taxii_server.settings import Settings, load
from taxii_server.storage import open_store
from taxii_server.storage.base import Store

MT = "application/taxii+json;version=2.1"
FIRST, LAST = "X-TAXII-Date-Added-First", "X-TAXII-Date-Added-Last"

RW = "378e5de7-84a4-45e4-8a34-c02a43d0b657"
RO = "253900d3-b9dd-46df-8184-469380fae6d2"
WO = "1105e147-e4c1-4566-8fb1-1046d181fbf8"
NN = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"
EMPTY = "64993447-4d7e-4f70-b94d-d7f33742ee63"
HIDDEN = "52892447-4d7e-4f70-b94d-d7f22742ff63"
ALIAS = "472c94ae-3113-4e3e-a4dd-a9f4ac7471d4"
OTHER_ROOT = "365fed99-08fa-4ddc-a1b3-fb247eb41d01"
UNKNOWN = "d021ecc8-ab8e-41ab-815e-911c7e329f88"

PARTNERS = ("rw", "ro", "wo", "nn", "partner_b", "admin", "stranger")

SERVER = """
title = "Test hub"
description = "for tests"
contact = "soc@example.com"
{settings}

[api_roots.api1]
title = "First root"
description = "the one with everything"
max_content_length = {max_content_length}

[api_roots.api2]
title = "Second root"
"""

#: What tests of other things must not run into: they ask often, and are wrong on purpose.
UNLIMITED = {"address_requests_per_minute": 0, "partner_requests_per_minute": 0, "lockout_after": 0}


def with_limits(settings: str) -> str:
    """These lines of a server.toml, and no limit of requests or of wrong credentials that they do not name."""
    more = [f"{name} = {value}" for name, value in UNLIMITED.items() if name not in settings]
    return "\n".join([settings, *more])


#: Everybody reads everything: what the policy hides has tests of its own.
OPEN_POLICY = """
schema = 1
name = "open"

[defaults]
unmarked = "tlp:clear"

[[permit]]
id = "everybody"
"""


def audiences(names: Mapping[str, str]) -> str:
    """[audience.*] tables: name -> further lines."""
    return "\n".join(f"[audience.{name}]\n{lines or _AUDIENCE}" for name, lines in names.items())


_AUDIENCE = 'kind = "cert"\nclearance = "red"\n'


def collection(
    id_: str, title: str, *, root: str = "api1", readers: object = (), writers: object = (), **more: object
) -> str:
    """The text of a collection file."""
    values = {"id": id_, "api_root": root, "title": title, "readers": list(readers), "writers": list(writers)} | more
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


COLLECTIONS = {
    "rw": collection(RW, "Read write", readers=["rw", "admin", "partner_b"], writers=["rw", "admin", "partner_b"],
                     accepts=["2.0", "2.1"], description="both ways"),
    "ro": collection(RO, "Read only", readers=["rw", "ro"], writers=["admin"], visible_to=["wo"]),
    "wo": collection(WO, "Write only", readers=["admin"], writers=["rw", "wo"]),
    "nn": collection(NN, "Neither", readers=["admin"], writers=["admin"], visible_to=["rw", "nn"]),
    "empty": collection(EMPTY, "Empty", readers=["rw"], writers=["rw"]),
    "hidden": collection(HIDDEN, "Hidden", readers=["partner_b"], writers=["partner_b"], alias="hidden-alias"),
    "alias": collection(ALIAS, "With alias", readers=["rw"], writers=["rw"], alias="critical-high-value-indicators"),
    "other": collection(OTHER_ROOT, "In the other root", root="api2", readers=["rw"], writers=["rw"]),
}  # fmt: skip


class World:
    """One hub on one store, with a client for every partner."""

    def __init__(
        self,
        folder: Path,
        store: str | None = None,
        *,
        policy: str = OPEN_POLICY,
        partners: str | None = None,
        collections: Mapping[str, str] | None = None,
        settings: str = "",
        max_content_length: int = 1_000_000,
    ) -> None:
        self.folder = folder
        self.settings = self._write(
            folder,
            policy,
            partners or audiences({name: _AUDIENCE + "admin = true\n" if name == "admin" else "" for name in PARTNERS}),
            COLLECTIONS if collections is None else collections,
            SERVER.format(settings=with_limits(settings), max_content_length=max_content_length),
            store,
        )
        self.store: Store = open_store(self.settings.store)
        self.store.prepare()
        self.hub = Hub(self.settings, self.store)
        self.apply()
        self.tokens: dict[str, str] = {}
        for partner in self.hub.snapshot.catalog.policy.audiences:
            credential, secret = new_token(partner)
            self.store.save_credential(credential)
            self.tokens[partner] = secret
        self.app: Flask = create_app(self.settings, self.store, background=False)
        self.client: FlaskClient = self.app.test_client()

    @staticmethod
    def _write(
        folder: Path, policy: str, partners: str, collections: Mapping[str, str], server: str, store: str | None
    ) -> Settings:
        for part in ("config", "collections"):
            (folder / part).mkdir(exist_ok=True)
        (folder / "config/server.toml").write_text(server)
        (folder / "config/policy.toml").write_text(policy)
        (folder / "config/partners.toml").write_text(partners)
        for name, text in collections.items():
            (folder / f"collections/{name}.toml").write_text(text)
        return load(folder / "config/server.toml", environment={}, flags={"store": store} if store else {})

    def apply(self, policy: str | None = None) -> None:
        """Put the files in force, with another policy if given."""
        if policy is not None:
            (self.folder / "config/policy.toml").write_text(policy)
        self.hub.apply(read_files(self.settings), "test")

    def close(self) -> None:
        self.store.close()

    # ---- requests; `partner` None sends no credentials

    def request(
        self,
        method: str,
        path: str,
        partner: str | None = "rw",
        *,
        headers: Mapping[str, str | None] | None = None,
        **more: Any,
    ) -> TestResponse:
        """One request with the Accept header of a TAXII client; a header that is None is left out."""
        all_headers: dict[str, str | None] = {"Accept": MT} | dict(headers or {})
        if partner is not None and "Authorization" not in all_headers:
            all_headers["Authorization"] = self.basic(partner)
        given = {name: value for name, value in all_headers.items() if value is not None}
        return self.client.open(path, method=method, headers=given, **more)

    def get(self, path: str, partner: str | None = "rw", **more: Any) -> TestResponse:
        return self.request("GET", path, partner, **more)

    def delete(self, path: str, partner: str | None = "rw", **more: Any) -> TestResponse:
        return self.request("DELETE", path, partner, **more)

    def post(
        self,
        objects: object,
        partner: str | None = "rw",
        into: str = RW,
        *,
        root: str = "api1",
        headers: Mapping[str, str | None] | None = None,
    ) -> TestResponse:
        """POST an envelope of these objects, or a body as it is when given bytes."""
        body = objects if isinstance(objects, bytes) else json.dumps({"objects": objects}).encode()
        all_headers: dict[str, str | None] = {"Content-Type": MT} | dict(headers or {})
        return self.request("POST", f"/{root}/collections/{into}/objects/", partner, headers=all_headers, data=body)

    def basic(self, partner: str) -> str:
        pair = f"{partner}:{self.tokens[partner]}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def objects(self, partner: str = "rw", of: str = RW, query: str = "", root: str = "api1") -> list[dict[str, Any]]:
        """The objects of one page."""
        answer = self.get(f"/{root}/collections/{of}/objects/{query}", partner)
        assert answer.status_code == 200, answer.text
        return list(answer.json.get("objects", []))

    def walk(
        self,
        partner: str = "rw",
        of: str = RW,
        resource: str = "objects",
        query: str = "",
        limit: int = 7,
        root: str = "api1",
    ) -> Iterator[dict[str, Any]]:
        """Every item of a resource, following `next`; checks that no page is empty with more to come."""
        key = "versions" if resource.endswith("versions") else "objects"
        base = f"/{root}/collections/{of}/{resource}/?limit={limit}" + (f"&{query}" if query else "")
        path = base
        while True:
            answer = self.get(path, partner)
            assert answer.status_code == 200, answer.text
            page = answer.json
            yield from page.get(key, [])
            if not page.get("more"):
                assert "next" not in page
                return
            assert page[key]
            path = f"{base}&next={page['next']}"


@contextmanager
def world(folder: Path, store: str | None = None, **more: Any) -> Iterator[World]:
    """A World that is closed at the end."""
    made = World(folder, store, **more)
    try:
        yield made
    finally:
        made.close()


# ---- objects


def stop_threads(app: Flask) -> None:
    """End what an application with `background` does by itself, before its store is closed."""
    for name in ("arrivals", "refresher", "upkeep"):
        app.extensions[f"taxii_server.{name}"].stop()


def new_id(type_: str = "indicator") -> str:
    return f"{type_}--{uuid.uuid4()}"


def indicator(id_: str | None = None, modified: str = "2020-01-01T00:00:00.000Z", **more: Any) -> dict[str, Any]:
    """A valid STIX 2.1 indicator."""
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": id_ or new_id(),
        "created": "2018-01-01T00:00:00.000Z",
        "modified": modified,
        "pattern": "[url:value = 'http://x4z9arb.cn/4712/']",
        "pattern_type": "stix",
        "valid_from": "2018-01-01T00:00:00Z",
        **more,
    }


def malware(id_: str | None = None, modified: str = "2020-01-01T00:00:00.000Z", **more: Any) -> dict[str, Any]:
    """A valid STIX 2.1 malware."""
    return {
        "type": "malware",
        "spec_version": "2.1",
        "id": id_ or new_id("malware"),
        "created": "2018-01-01T00:00:00.000Z",
        "modified": modified,
        "name": "Poison Ivy",
        "is_family": True,
        **more,
    }


def relationship(source: str, target: str, id_: str | None = None, **more: Any) -> dict[str, Any]:
    """A valid STIX 2.1 relationship."""
    return {
        "type": "relationship",
        "spec_version": "2.1",
        "id": id_ or new_id("relationship"),
        "created": "2018-01-01T00:00:00.000Z",
        "modified": "2020-01-01T00:00:00.000Z",
        "relationship_type": "indicates",
        "source_ref": source,
        "target_ref": target,
        **more,
    }


#: Two indicators, one in five versions: the data of the FreeTAXII TestLab.
A = "indicator--1efc6673-9d95-46c3-a09c-c29f926da9af"
B = "indicator--213dea46-8750-4b8b-b988-aae8f86a62d6"
_A_TIMES = ("01:51:01.123", "01:52:01.234", "01:53:01.345", "01:54:01.456", "01:55:01.567")
FT6 = [
    indicator(A, f"2018-08-08T{time}Z", created="2018-08-08T01:51:01.123Z", name=f"A{number}")
    for number, time in enumerate(_A_TIMES, start=1)
] + [indicator(B, "2018-08-08T02:51:02.123Z", created="2018-08-08T02:51:02.123Z", name="B")]
