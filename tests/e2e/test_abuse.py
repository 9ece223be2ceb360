"""Abuse of a real server: what its workers count together, heads that are too large, keys that come over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.e2e.server import Server, running
from tests.idp import AUDIENCE, ISSUER, jwk, key_set, private_key, send, serving, token
from tests.world import PARTNERS, audiences

CLAIMED = 'kind = "cert"\nclearance = "red"\nclaims = { azp = "cert-misp" }\n'
SLOW = 'kind = "cert"\nclearance = "red"\nrequests_per_minute = 20\n'


class Provider:
    """An identity provider behind HTTP; `keys` is what it publishes, None when it is down."""

    def __init__(self) -> None:
        self.keys: bytes | None = key_set(jwk())
        self.asked = 0

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        send(handler, self.keys or b"down", 200 if self.keys else 503)


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def server(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(provider.answer) as url:
        settings = (
            f'lockout_after = 4\nauth_oidc = true\noidc_issuer = "{ISSUER}"\noidc_audiences = ["{AUDIENCE}"]\n'
            f'oidc_jwks = "{url}"\noidc_refetch_s = 1'
        )
        partners = audiences(dict.fromkeys(PARTNERS, "") | {"admin": CLAIMED, "ro": SLOW})
        with running(tmp_path_factory.mktemp("abuse"), settings=settings, partners=partners) as made:
            yield made


def test_workers_count_requests_together(server: Server) -> None:
    server.token("ro")
    statuses = []
    for worker in server.workers() * 2:
        with server.only(worker):
            statuses += [server.get("/taxii2/", "ro").status_code for _ in range(8)]
    # One more comes free every three seconds, also after a first one was refused.
    assert 20 <= statuses.index(429) <= 25
    assert statuses[: statuses.index(429)] == [200] * statuses.index(429)


def test_workers_count_wrong_secrets_together(server: Server) -> None:
    def guess() -> int:
        return server.request(
            "GET", "/taxii2/", None, headers={"Authorization": "Bearer txs_0123456789ab_x"}
        ).status_code

    statuses = []
    for worker in server.workers():
        with server.only(worker):
            statuses += [guess() for _ in range(2)]
    assert statuses == [401] * 4
    answer = server.request("GET", "/taxii2/", None, headers={"Authorization": "Bearer txs_0123456789ab_y"})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 30
    assert server.get("/taxii2/", "rw").status_code == 200


def test_keys_come_over_http_once_and_new_ones_when_a_token_names_them(server: Server, provider: Provider) -> None:
    def status(value: str) -> int:
        return server.request("GET", "/taxii2/", None, headers={"Authorization": f"Bearer {value}"}).status_code

    (worker, _) = server.workers()
    with server.only(worker):
        assert [status(token()) for _ in range(5)] == [200] * 5
        assert provider.asked == 1
        provider.keys = None
        new = token(kid="k1", key=private_key("RS256", 1))
        for _ in range(1000):
            assert status(new) == 401
            if provider.asked > 1:  # not before oidc_refetch_s is over
                break
        assert status(token()) == 200, "what is down takes no known key away"
        provider.keys = key_set(jwk(), jwk("k1", key=private_key("RS256", 1)))
        assert 200 in (status(new) for _ in range(1000)), "nobody is locked out by that"
    assert "signature" not in server.stderr().lower()


@pytest.mark.parametrize(
    ("path", "headers", "status", "limit"),
    [
        ("/taxii2/?" + "x" * 8151, {}, 200, ""),
        ("/taxii2/?" + "x" * 8152, {}, 414, "max_url_bytes"),
        ("/taxii2/", {f"X-{number}": "a" for number in range(57)}, 200, ""),
        ("/taxii2/", {"X-A": "a" * 16000, "X-B": "a" * 16000}, 200, ""),
        ("/taxii2/", {"X-A": "a" * 16300, "X-B": "a" * 16300}, 431, "max_header_bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_head_at_its_limits(server: Server, path: str, headers: dict[str, str], status: int, limit: str) -> None:
    answer = server.get(path, "rw", headers=headers)
    assert answer.status_code == status, answer.text
    assert limit in answer.json().get("description", "")


def test_nothing_starts_on_a_database_that_everybody_can_read(server: Server, tmp_path: Path) -> None:
    other = Server(tmp_path)
    other.cli("check")
    other.token("rw")
    Path(other.store).chmod(0o644)
    for command in (("serve", "--port", str(other.port)), ("check",), ("token", "list")):
        said = other.cli(*command, status=2).stderr
        assert f"chmod o-rwx {other.store}" in said
    Path(other.store).chmod(0o600)
    assert json.loads(other.cli("get", "/taxii2/", "--as", "rw").stdout)["title"] == "Test hub"


def test_check_reads_the_file_of_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_bytes(b"{}")
    settings = f'auth_oidc = true\noidc_issuer = "{ISSUER}"\noidc_audiences = ["{AUDIENCE}"]\noidc_jwks = "{keys}"'
    other = Server(tmp_path, settings=settings)
    assert "oidc_jwks: not a JSON Web Key Set" in other.cli("check", status=2).stderr
    keys.write_bytes(key_set(jwk()))
    keys.chmod(0o666)
    assert f"chmod go-w {keys}" in other.cli("check", status=2).stderr
    keys.chmod(0o644)
    other.cli("check")
