"""TLS of the server itself, and client certificates: real handshakes with real workers."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from taxii2client import v21

from tests.certificates import CLIENT, DAY, SERVER, Issued, authority, server_certificate, stranger_authority
from tests.e2e.server import Server, lane, lanes, running, wait_until
from tests.world import MT, PARTNERS, audiences, indicator

SUBJECT = "CN=feed,O=Partner,C=FR"
URI = "spiffe://example.org/ro"


class People:
    """The client certificates of these tests."""

    def __init__(self) -> None:
        ca, other = authority(), stranger_authority()
        self.by_fingerprint = ca.issue("CN=anything", usage=CLIENT)
        self.by_subject = ca.issue(SUBJECT, usage=CLIENT)
        self.by_uri = ca.issue("CN=workload", f"uri:{URI}")
        self.unknown = ca.issue("CN=nobody")
        self.expired = ca.issue(SUBJECT, since=-3 * DAY, until=-DAY)
        self.two_partners = ca.issue(SUBJECT, f"uri:{URI}")
        self.for_servers = ca.issue(SUBJECT, usage=SERVER)
        self.forged = other.issue(SUBJECT)
        self.self_signed = other.issue("CN=self-signed")

    def partners(self) -> str:
        named = {
            "rw": [self.by_fingerprint.fingerprint, f"subject:{SUBJECT}"],
            "ro": [f"uri:{URI}", self.self_signed.fingerprint],
        }
        admin = {"admin": 'kind = "cert"\nclearance = "red"\nadmin = true\n'}
        common = 'kind = "cert"\nclearance = "red"\n'
        texts = {name: f"{common}certificates = {json.dumps(certificates)}\n" for name, certificates in named.items()}
        return audiences(dict.fromkeys(PARTNERS, "") | texts | admin)


@pytest.fixture(autouse=True)
def _no_ca_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """requests prefers these to the `verify` of a session, which is where taxii2-client says it."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def people() -> People:
    return People()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "ca.pem").write_text(authority().pem)
    server_certificate().write(folder, "server")
    return folder


def tls_settings(files: Path, *more: str) -> str:
    return "\n".join([f'tls_certificate = "{files}/server.pem"', f'tls_key = "{files}/server.key"', *more])


@pytest.fixture(scope="module")
def tls(files: Path, people: People, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with TLS that takes client certificates beside tokens."""
    settings = tls_settings(files, f'tls_client_ca = "{files}/ca.pem"', 'auth_certificate = "optional"')
    folder = tmp_path_factory.mktemp("tls")
    with running(
        folder, settings=settings, partners=people.partners(), ca=files / "ca.pem", collections=lanes(4)
    ) as made:
        yield made


def client_context(files: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@contextmanager
def handshake(server: Server, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
        yield wrapped


# ---- versions and suites


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_these_versions_are_spoken(tls: Server, files: Path, version: ssl.TLSVersion) -> None:
    context = client_context(files)
    context.minimum_version = context.maximum_version = version
    with handshake(tls, context) as wire:
        assert wire.version() == version.name.replace("_", ".").replace("TLSv1.3", "TLSv1.3")
        assert wire.compression() is None
        wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_refused(tls: Server, files: Path, version: ssl.TLSVersion) -> None:
    context = client_context(files)
    context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)), handshake(tls, context):
        pass


def test_of_tls_1_2_only_suites_with_aead_and_forward_secrecy_are_taken(tls: Server, files: Path) -> None:
    every = client_context(files)
    every.maximum_version = ssl.TLSVersion.TLSv1_2
    taken = set()
    names = [suite["name"] for suite in every.get_ciphers() if suite["protocol"] != "TLSv1.3"]
    assert any("CBC" in name or "SHA" in name.split("-")[-1] for name in names)
    for name in names:
        context = client_context(files)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with suppress(ssl.SSLError):  # some cannot even be offered by this client
            context.set_ciphers(f"{name}:@SECLEVEL=0")
            with suppress(ConnectionError), handshake(tls, context):
                taken.add(name)
    assert taken == {
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
    }  # fmt: skip


def test_there_is_no_early_data_and_no_ticket_where_certificates_are_shown(tls: Server, files: Path) -> None:
    with handshake(tls, client_context(files)) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        wire.recv(100)
        session = wire.session
        assert session is None or not session.has_ticket


# ---- clients


def test_answers_say_that_the_site_is_for_https_only(tls: Server) -> None:
    answer = tls.get("/taxii2/")
    assert answer.status_code == 200
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


def test_the_start_names_the_https_url(tls: Server) -> None:
    assert f"discovery at https://127.0.0.1:{tls.port}/taxii2/" in tls.stderr()


def test_a_client_of_plain_http_is_told_so_at_once(tls: Server) -> None:
    began = time.monotonic()
    answer = requests.get(f"http://127.0.0.1:{tls.port}/taxii2/", timeout=10)
    assert time.monotonic() - began < 5
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == MT
    assert "https://" in answer.json()["description"]


def test_taxii2_client_polls_and_posts_over_tls(tls: Server, files: Path) -> None:
    url = f"{tls.url}/api2/collections/{lane(0)}/"
    made = indicator()
    with v21.Collection(url, user="rw", password=tls.token("rw"), verify=str(files / "ca.pem")) as collection:
        assert collection.add_objects({"objects": [made]}).success_count == 1
        assert [each["id"] for each in collection.get_objects()["objects"]] == [made["id"]]


def test_a_large_page_comes_whole(tls: Server) -> None:
    objects = [indicator(description="x" * 50_000) for _ in range(80)]
    for start in range(0, 80, 16):
        assert tls.post(lane(1), objects[start : start + 16]).json()["success_count"] == 16
    page = tls.get(tls.objects_url(lane(1)), headers={"Accept-Encoding": "identity"})
    assert [each["id"] for each in page.json()["objects"]] == [each["id"] for each in objects]
    assert len(page.content) > 4_000_000


def test_a_body_that_comes_in_pieces_over_tls_is_gathered(tls: Server, files: Path) -> None:
    body = json.dumps({"objects": [indicator(description="y" * 300_000)]}).encode()
    with handshake(tls, client_context(files)) as wire:
        wire.sendall(
            f"POST /api2/collections/{lane(2)}/objects/ HTTP/1.1\r\nHost: x\r\nAccept: {MT}\r\nContent-Type: {MT}\r\n"
            f"Authorization: Bearer {tls.token('rw')}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        for start in range(0, len(body), 50_000):
            wire.sendall(body[start : start + 50_000])
            time.sleep(0.01)
        assert wire.recv(100).startswith(b"HTTP/1.1 202")


def test_a_handshake_that_does_not_go_on_is_ended_and_holds_nobody_up(tls: Server) -> None:
    slow = [socket.create_connection(("127.0.0.1", tls.port), timeout=20) for _ in range(64)]
    try:
        for index, each in enumerate(slow):
            each.sendall(b"\x16\x03\x01\x02\x00" if index % 2 else b"")
        began = time.monotonic()
        assert tls.get("/taxii2/").status_code == 200
        assert time.monotonic() - began < 5
        assert slow[0].recv(1) == b""
        assert slow[1].recv(1) == b""
        assert 5 < time.monotonic() - began < 18
    finally:
        for each in slow:
            each.close()


# ---- client certificates


def ask(server: Server, shown: Issued | None, folder: Path, token: str | None = None) -> requests.Response:
    cert = None if shown is None else shown.write(folder, "client")
    headers = {"Accept": MT, "Connection": "close"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return requests.get(f"{server.url}/taxii2/rights/", headers=headers, verify=server.ca, cert=cert, timeout=20)


@pytest.mark.parametrize(("who", "partner"), [("by_fingerprint", "rw"), ("by_subject", "rw"), ("by_uri", "ro")])
def test_a_certificate_is_its_partner(tls: Server, people: People, tmp_path: Path, who: str, partner: str) -> None:
    answer = ask(tls, getattr(people, who), tmp_path)
    assert answer.status_code == 200
    assert answer.json()["name"] == partner
    assert answer.json()["credential"]["scheme"] == "certificate"


@pytest.mark.parametrize("who", ["unknown", "two_partners"])
def test_a_certificate_that_is_nobodys_is_401_with_or_without_a_token(
    tls: Server, people: People, tmp_path: Path, who: str
) -> None:
    assert ask(tls, getattr(people, who), tmp_path).status_code == 401
    assert ask(tls, getattr(people, who), tmp_path, tls.token("rw")).status_code == 401


@pytest.mark.parametrize("who", ["expired", "forged", "for_servers", "self_signed"])
def test_a_certificate_that_no_ca_stands_for_ends_the_handshake(
    tls: Server, people: People, tmp_path: Path, who: str
) -> None:
    with pytest.raises((requests.exceptions.SSLError, requests.exceptions.ConnectionError)):
        ask(tls, getattr(people, who), tmp_path)


def test_without_a_certificate_a_token_does_and_nothing_does_not(tls: Server, tmp_path: Path) -> None:
    assert ask(tls, None, tmp_path, tls.token("ro")).json()["name"] == "ro"
    assert ask(tls, None, tmp_path).status_code == 401


def test_a_certificate_and_a_token_have_to_be_the_same_partners(tls: Server, people: People, tmp_path: Path) -> None:
    assert ask(tls, people.by_subject, tmp_path, tls.token("rw")).json()["name"] == "rw"
    assert ask(tls, people.by_subject, tmp_path, tls.token("partner_b")).status_code == 401
    assert ask(tls, people.by_subject, tmp_path, "txs_0_wrong").status_code == 401


def test_taxii2_client_comes_in_with_a_certificate_alone(
    tls: Server, files: Path, people: People, tmp_path: Path
) -> None:
    certificate, key = people.by_subject.write(tmp_path, "client")
    both = tmp_path / "both.pem"
    both.write_text(Path(certificate).read_text() + Path(key).read_text())
    url = f"{tls.url}/api2/collections/{lane(3)}/"
    made = indicator()
    with v21.Collection(url, verify=str(files / "ca.pem"), cert=str(both)) as collection:
        assert collection.add_objects({"objects": [made]}).success_count == 1
        assert [each["id"] for each in collection.get_objects()["objects"]] == [made["id"]]


def test_a_header_with_a_certificate_means_nothing_to_a_server_without_proxies(
    tls: Server, people: People, tmp_path: Path
) -> None:
    for name in ("X-SSL-Client-Cert", "X-Forwarded-Client-Cert"):
        headers = {"Accept": MT, name: quote(people.by_subject.pem)}
        answer = requests.get(f"{tls.url}/taxii2/rights/", headers=headers, verify=tls.ca, timeout=20)
        assert answer.status_code == 401


def test_where_certificates_are_required_nobody_else_shakes_hands(files: Path, people: People, tmp_path: Path) -> None:
    settings = tls_settings(files, f'tls_client_ca = "{files}/ca.pem"', 'auth_certificate = "required"')
    cert = people.by_subject.write(tmp_path, "client")
    with running(
        tmp_path / "hub",
        settings=settings,
        partners=people.partners(),
        ca=files / "ca.pem",
        cert=cert,
        workers=1,
        collections=lanes(1),
    ) as server:
        assert server.get("/taxii2/", partner=None).status_code == 200
        with pytest.raises(requests.exceptions.RequestException):
            requests.get(f"{server.url}/taxii2/", verify=server.ca, timeout=20)


# ---- the files


def test_a_new_certificate_is_used_after_sighup_and_a_broken_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(authority().pem)
    server_certificate().write(tmp_path, "server")
    with running(
        tmp_path / "hub", settings=tls_settings(tmp_path), ca=tmp_path / "ca.pem", workers=1, collections=lanes(1)
    ) as server:

        def serial() -> int:
            with handshake(server, client_context(tmp_path)) as wire:
                certificate = wire.getpeercert()
                assert certificate is not None
                return int(str(certificate["serialNumber"]), 16)

        before = serial()
        second = server_certificate()
        second.write(tmp_path, "server")
        server.signal(signal.SIGHUP)
        wait_until(lambda: serial() == second.certificate.serial_number, what="the new certificate")
        assert before != second.certificate.serial_number
        (tmp_path / "server.pem").write_text("nonsense")
        server.signal(signal.SIGHUP)
        wait_until(lambda: "the old certificate stays in use" in server.stderr(), what="the complaint")
        wait_until(lambda: server.stderr().count("Booting worker") == 3, what="the third worker")
        assert "holds no certificate" in server.stderr()
        for _ in range(5):
            assert serial() == second.certificate.serial_number


def test_a_key_that_everybody_can_read_stops_the_start(tmp_path: Path) -> None:
    _, key = server_certificate().write(tmp_path, "server")
    Path(key).chmod(0o644)
    server = Server(tmp_path, settings=tls_settings(tmp_path), collections=lanes(1))
    said = server.cli("serve", "--port", str(server.port), status=2).stderr
    assert f"tls_key: everybody on this machine can read the private key {key} (mode 0644): chmod 640 it" in said
    assert "chmod 640" in server.cli("check", status=2).stderr


def test_plain_http_for_other_machines_has_to_be_asked_for(tmp_path: Path) -> None:
    server = Server(tmp_path, collections=lanes(1))
    said = server.cli("serve", "--host", "0.0.0.0", "--port", str(server.port), status=2).stderr
    assert "without TLS credentials travel in the clear" in said
    assert "trusted_proxies" in said
