"""A hub in which every operation of the description can succeed, be refused and find nothing.

`owner` owns the one collection, reads and posts; `poster` posts to it; `reader` reads; `admin` is one; `stranger` sees
nothing. A guard holds back what carries the label `customer`; a rule keeps the label `secret` from `reader`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.world import OPEN_POLICY, World, audiences, collection, indicator, new_id

OWNED = "0a5e4c51-4b0c-4a53-9c41-6a1f4f1b9d10"
ALIAS = "owned-alias"
PARTNERS = ("owner", "poster", "reader", "admin", "stranger")
POLICY = (
    OPEN_POLICY
    + """
[[forbid]]
id = "not-for-readers"
to = { audience = "reader" }
what = { label = "secret" }

[[guard]]
id = "no-customers"
why = "customer data never leaves"
what = { label = "customer" }
act = "quarantine"
"""
)


class Scene:
    """The hub, and the names of what is in it; `refill` makes good what requests used up."""

    def __init__(self, folder: Path, store: str | None = None, kind: type[World] = World) -> None:
        body = 'kind = "cert"\nclearance = "red"\ngroups = ["friends"]\n'
        partners = "[groups]\nfriends = {}\n" + audiences(
            {name: body + ("admin = true\n" if name == "admin" else "") for name in PARTNERS}
        )
        self.world = kind(
            folder,
            store,
            policy=POLICY,
            partners=partners,
            collections={
                "owned": collection(
                    OWNED, "Owned", owner="owner", alias=ALIAS, accepts=["2.0", "2.1"],
                    readers=["owner", "reader", "admin"], writers=["owner", "poster", "admin"],
                )
            },
            max_content_length=200_000,
        )  # fmt: skip
        self.url = f"/api1/collections/{OWNED}"
        self.values: dict[str, str] = {"api_root": "api1", "name": OWNED}
        self.refill()

    def refill(self, *names: str) -> None:
        """New things with these names, all of them the owner's: a posted object and its status, a release of it, an
        entry of the quarantine. Without names: all."""
        wanted = set(names or ("object_id", "status_id", "release_id", "entry_id"))
        if wanted & {"object_id", "status_id", "release_id"}:
            sent = indicator(name="kept")
            self.values["object_id"] = sent["id"]
            self.values["status_id"] = self._post(sent)["id"]
        if "release_id" in wanted:
            self.values["release_id"] = self.release("owner", self.values["object_id"])["id"]
        if "entry_id" in wanted:
            self.values["entry_id"] = self.hold()

    def release(self, partner: str, *ids: str, **more: Any) -> dict[str, Any]:
        """File a release."""
        body = {"objects": list(ids), "to": {"audience": ["reader"]}, **more}
        answer = self.world.request(
            "POST", "/api1/releases/", partner, json=body, headers={"Content-Type": "application/taxii+json"}
        )
        assert answer.status_code == 201, answer.text
        return dict(answer.json)

    def hold(self, partner: str = "owner") -> str:
        """Post something that the guard holds; the id of its entry."""
        status = self._post(indicator(new_id(), labels=["customer"]), partner)
        return str(status["failures"][0]["message"]).rpartition("quarantine id ")[2].rstrip(")")

    def _post(self, sent: dict[str, Any], partner: str = "owner") -> dict[str, Any]:
        answer = self.world.post([sent], partner, OWNED)
        assert answer.status_code == 202, answer.text
        return dict(answer.json)
