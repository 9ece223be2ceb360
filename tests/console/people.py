"""Somebody in front of a browser, without the browser: a client with cookies, and the forms of the pages."""

from __future__ import annotations

import re
from typing import Any

from werkzeug.test import TestResponse

from taxii_server.auth.secrets import OPERATOR, new_token
from tests.world import World

HTML = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Site": "same-origin"}
_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]+)"')


class Person:
    """One browser at one hub."""

    def __init__(self, world: World, **environ: Any) -> None:
        self.world = world
        self.client = world.app.test_client()
        self.environ = environ

    def get(self, path: str, **more: Any) -> TestResponse:
        return self._open("GET", path, **more)

    def post(
        self, path: str, fields: dict[str, Any] | None = None, *, via: str = "/console/", **more: Any
    ) -> TestResponse:
        """Send a form, with the token that the page `via` has."""
        data = {"form_token": self.token(via), **(fields or {})}
        return self._open("POST", path, data={name: value for name, value in data.items() if value is not None}, **more)

    def token(self, path: str = "/console/") -> str:
        found = _TOKEN.search(self.get(path).text)
        assert found, f"{path} has no form"
        return found[1]

    def log_in(self, partner: str, secret: str | None = None, **more: Any) -> TestResponse:
        fields = {"name": partner, "secret": self.world.tokens[partner] if secret is None else secret}
        return self.post("/console/login", fields | more, via="/console/login")

    def cookie(self, what: str = "session") -> str | None:
        found = self.client.get_cookie(f"taxii-{what}", path="/console")
        return None if found is None else found.value

    def _open(self, method: str, path: str, **more: Any) -> TestResponse:
        headers = HTML | more.pop("headers", {})
        return self.client.open(path, method=method, headers=headers, environ_overrides=self.environ, **more)


def person(world: World, partner: str = "rw", **environ: Any) -> Person:
    """Somebody who is logged in as this partner."""
    made = Person(world, **environ)
    assert made.log_in(partner).status_code == 303
    return made


def operator(world: World, partner: str = "admin") -> Person:
    """Somebody who is logged in with an operator's token."""
    credential, secret = new_token(partner, "for tests", kind=OPERATOR)
    world.store.save_credential(credential)
    made = Person(world)
    assert made.log_in(partner, secret).status_code == 303
    return made
