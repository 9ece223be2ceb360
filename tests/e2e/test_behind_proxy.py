"""A server behind a proxy on this machine, and a stranger that reaches it directly from another address."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.certificates import DAY, authority, stranger_authority
from tests.e2e.server import Server, lanes, running, wait_until
from tests.world import MT, PARTNERS, audiences

PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
SUBJECT = "CN=feed,O=Partner,C=FR"
PINNED = stranger_authority().issue("CN=self-made")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("proxied")
    (folder / "ca.pem").write_text(authority().pem)
    settings = (
        f'trusted_proxies = ["{PROXY}"]\ncertificate_header = "X-SSL-Client-Cert"\nauth_certificate = "optional"\n'
        f'tls_client_ca = "{folder}/ca.pem"\n'
    )
    kind = 'kind = "cert"\nclearance = "red"\n'
    partners = audiences(
        dict.fromkeys(PARTNERS, "")
        | {
            "rw": f'{kind}certificates = ["subject:{SUBJECT}"]\n',
            "ro": f'{kind}certificates = ["{PINNED.fingerprint}"]\n',
        }
    )
    with running(folder, workers=1, settings=settings, partners=partners, collections=lanes(1)) as made:
        yield made


def ask(
    server: Server, source: str, headers: dict[str, str], token: str | None = None
) -> tuple[int, dict[str, object]]:
    """GET /taxii2/rights/ from this address."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20, source_address=(source, 0))
    try:
        login = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", "/taxii2/rights/", headers={"Accept": MT, **login, **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def logged(server: Server, text: str) -> None:
    wait_until(lambda: text in server.stderr(), what=text)


def test_the_log_has_the_address_of_the_client_behind_the_proxy_and_of_nobody_else(server: Server) -> None:
    assert ask(server, PROXY, {"X-Forwarded-For": "203.0.113.66, 198.51.100.7"})[0] == 401
    logged(server, "address=198.51.100.7 ")
    assert ask(server, STRANGER, {"X-Forwarded-For": "198.51.100.99"})[0] == 401
    logged(server, f"address={STRANGER} ")
    assert ask(server, PROXY, {"Forwarded": "for=198.51.100.98"})[0] == 401
    logged(server, f"address={PROXY} ")
    assert "198.51.100.9" not in server.stderr()
    assert "203.0.113.66" not in server.stderr()


def test_a_proxy_hands_certificates_on_and_a_stranger_does_not(server: Server) -> None:
    feed = authority().issue(SUBJECT)
    for shown, partner in ((feed, "rw"), (PINNED, "ro")):
        for value in (quote(shown.pem), base64.b64encode(shown.der).decode()):
            header = {"X-SSL-Client-Cert": value}
            status, body = ask(server, PROXY, header)
            assert (status, body.get("name")) == (200, partner)
            assert ask(server, STRANGER, header)[0] == 401
            assert ask(server, STRANGER, header, server.token("admin"))[1]["name"] == "admin"


def test_what_a_proxy_lets_through_is_checked_here_too(server: Server) -> None:
    wrong = [
        stranger_authority().issue(SUBJECT),
        authority().issue(SUBJECT, since=-3 * DAY, until=-DAY),
        authority().issue("CN=nobody"),
    ]
    for value in [*(quote(each.pem) for each in wrong), "nonsense"]:
        assert ask(server, PROXY, {"X-SSL-Client-Cert": value})[0] == 401
        assert ask(server, PROXY, {"X-SSL-Client-Cert": value}, server.token("rw"))[0] == 401


def test_without_a_certificate_a_token_does_and_both_have_to_agree(server: Server) -> None:
    token, header = server.token("rw"), {"X-SSL-Client-Cert": quote(authority().issue(SUBJECT).pem)}
    for nothing in ({}, {"X-SSL-Client-Cert": ""}, {"X-SSL-Client-Cert": "-"}):
        assert ask(server, PROXY, nothing, token)[1]["name"] == "rw"
        assert ask(server, PROXY, nothing)[0] == 401
    assert ask(server, PROXY, header, token)[1]["name"] == "rw"
    assert ask(server, PROXY, header, server.token("partner_b"))[0] == 401


def test_names_that_need_a_ca_are_refused_without_one(server: Server, tmp_path: Path) -> None:
    config = server.config.read_text()
    other = Server(tmp_path)
    other.config.write_text(config.replace("tls_client_ca", "# tls_client_ca"))
    (other.config.parent / "partners.toml").write_text((server.config.parent / "partners.toml").read_text())
    said = other.cli("check", status=2).stderr
    assert f"tls_client_ca: 'rw' is known by subject:{SUBJECT}, for which a CA has to vouch" in said
