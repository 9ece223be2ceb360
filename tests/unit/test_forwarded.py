"""What is believed of what proxies say: from whom, from which header, and which of several addresses."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest

from taxii_server.auth.certificate import Shown, read_header
from taxii_server.settings import Settings
from taxii_server.web.forwarded import CERTIFICATE, PEER_CERTIFICATE, Forwarded
from tests.certificates import Issued, authority

TRUSTED = ("10.0.0.0/8", "2001:db8::/64")


def seen(peer: str, headers: dict[str, str], more: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """The environment of the application behind the middleware."""
    found: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        found.update(environ)
        return []

    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "HTTP_HOST": "hub", **(more or {})}
    environ |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    Forwarded(app, Settings(**{"trusted_proxies": TRUSTED, **settings}))(environ, None)
    return found


def client(peer: str, said: str, **settings: Any) -> str:
    name = "Forwarded" if settings.get("forwarded_header") == "forwarded" else "X-Forwarded-For"
    return str(seen(peer, {name: said}, **settings)["REMOTE_ADDR"])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("203.0.113.1, 198.51.100.7", "198.51.100.7"),  # the left one may be the client's invention
        ("198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("203.0.113.1,198.51.100.7,10.9.9.9,10.8.8.8", "198.51.100.7"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("198.51.100.7:4711", "198.51.100.7"),
        ("[2001:db8:1::7]:4711", "2001:db8:1::7"),
        ("2001:db8:1::7", "2001:db8:1::7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 2001:db8::9", "198.51.100.7"),
        ("", "10.0.0.1"),
        ("nonsense", "10.0.0.1"),
        ("198.51.100.7, unknown", "10.0.0.1"),
        ("198.51.100.7, unknown, 10.9.9.9", "10.9.9.9"),
        ("198.51.100.7, ", "10.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_of_several_addresses_the_last_that_is_no_proxy_counts(said: str, expected: str) -> None:
    assert client("10.0.0.1", said) == expected
    assert client("::ffff:10.0.0.1", said) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("for=198.51.100.7;proto=https", "198.51.100.7"),
        ('for="[2001:db8:1::7]:4711"', "2001:db8:1::7"),
        ("For=203.0.113.1, for=198.51.100.7;by=10.0.0.1, for=10.9.9.9", "198.51.100.7"),
        ('for="_hidden, for=203.0.113.1", for=10.9.9.9', "10.9.9.9"),  # a comma in quotes begins no element
        ("for=198.51.100.7, for=unknown", "10.0.0.1"),
        ("for=198.51.100.7, nonsense", "10.0.0.1"),
        ('for="198.51.100.7', "10.0.0.1"),
    ],
)
def test_the_standard_header_is_read_when_it_is_chosen(said: str, expected: str) -> None:
    assert client("10.0.0.1", said, forwarded_header="forwarded") == expected


def test_only_the_header_that_was_chosen_counts() -> None:
    both = {"X-Forwarded-For": "198.51.100.1", "Forwarded": "for=198.51.100.2"}
    assert seen("10.0.0.1", both)["REMOTE_ADDR"] == "198.51.100.1"
    assert seen("10.0.0.1", both, forwarded_header="forwarded")["REMOTE_ADDR"] == "198.51.100.2"


def test_a_trusted_proxy_says_scheme_and_host() -> None:
    environ = seen("10.0.0.1", {"X-Forwarded-Proto": "http, https", "X-Forwarded-Host": "evil, taxii.example.com:8443"})
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("https", "taxii.example.com:8443")
    standard = seen("10.0.0.1", {"Forwarded": 'for=1.2.3.4;proto=HTTPS;host="a.example"'}, forwarded_header="forwarded")
    assert (standard["wsgi.url_scheme"], standard["HTTP_HOST"]) == ("https", "a.example")
    odd = seen("10.0.0.1", {"X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "a b\t<script>"})
    assert (odd["wsgi.url_scheme"], odd["HTTP_HOST"]) == ("http", "hub")


@pytest.mark.parametrize("trusted", [TRUSTED, ()])
def test_nothing_that_anybody_else_says_arrives(trusted: tuple[str, ...]) -> None:
    said = {
        "X-Forwarded-For": "203.0.113.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil",
        "X-Real-IP": "1.1.1.1",
        "Forwarded": "for=203.0.113.1;proto=https;host=evil", "X-SSL-Client-Cert": "x", "X-Client": "x",
    }  # fmt: skip
    environ = seen("192.0.2.1", said, trusted_proxies=trusted, certificate_header="X-Client")
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("http", "hub")
    assert {name for name in environ if name.startswith("HTTP_")} == {"HTTP_HOST"}
    assert CERTIFICATE not in environ


# ---- certificates


@pytest.fixture(scope="module")
def shown() -> Issued:
    return authority().issue("CN=feed", "dns:feed.example")


def test_every_proxys_way_of_handing_a_certificate_on_is_understood(shown: Issued) -> None:
    line = base64.b64encode(shown.der).decode()
    for text in (
        quote(shown.pem),
        quote(shown.pem, safe=""),
        line,
        quote(line, safe=""),
        f'Hash=abc;Cert="{quote(shown.pem, safe="")}";Subject="CN=x"',
    ):
        assert read_header(text) == Shown(shown.der)


@pytest.mark.parametrize("text", ["", "-", "(null)", "  "])
def test_no_certificate_is_none(text: str) -> None:
    assert read_header(text) is None


def test_what_is_no_certificate_or_two_of_them_is_one_that_is_nobodys(shown: Issued) -> None:
    one, line = quote(shown.pem), base64.b64encode(shown.der).decode()
    envoy = f'Cert="{one}"'
    two = (one + one, f"{one},{one}", f"{line},{line}", f"{envoy},{envoy}", f"{envoy},Hash=a")
    for text in (*two, "nonsense!", "%00", "\xff"):
        assert read_header(text) == Shown(b"")


def test_the_header_counts_from_proxies_and_the_handshake_from_everybody_else(shown: Issued) -> None:
    header = {"X-Client": quote(shown.pem)}
    own = {PEER_CERTIFICATE: b"own"}
    settings: dict[str, Any] = {"certificate_header": "X-Client"}
    assert seen("10.0.0.1", header, **settings)[CERTIFICATE] == Shown(shown.der)
    assert CERTIFICATE not in seen("10.0.0.1", header)
    assert seen("192.0.2.1", header, own, **settings)[CERTIFICATE] == Shown(b"own", is_verified=True)
    # The certificate by which a proxy itself logs in is not the client's.
    assert CERTIFICATE not in seen("10.0.0.1", {}, own, **settings)
    assert seen("10.0.0.1", {}, own)[CERTIFICATE] == Shown(b"own", is_verified=True)
