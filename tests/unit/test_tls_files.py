"""The files of TLS: what is wrong with them is said with the setting, the file and what to do."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from taxii_server.cli import main
from taxii_server.errors import ConfigError
from taxii_server.serving import connection
from taxii_server.serving.connection import MIN_BYTES_PER_S, SILENT_S, Connection
from taxii_server.serving.tls import make_context, warnings_of
from taxii_server.settings import Settings
from tests.certificates import DAY, authority, server_certificate
from tests.patching import but_for


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Any]:
    certificate, key = server_certificate().write(tmp_path, "server")
    return {"tls_certificate": certificate, "tls_key": key}


def refused(**settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make_context(Settings(**settings))
    return str(caught.value)


def test_what_holds_makes_a_context(pair: dict[str, Any]) -> None:
    context = make_context(Settings(**pair))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE
    assert make_context(Settings()) is None


def test_the_key_may_stand_in_the_file_of_the_certificate_and_the_chain_in_another(tmp_path: Path) -> None:
    made = server_certificate()
    both, chain = tmp_path / "both.pem", tmp_path / "chain.pem"
    both.touch(0o640)
    both.write_text(made.pem + made.key_pem)
    chain.write_text(authority().pem)
    assert make_context(Settings(tls_certificate=str(both), tls_chain=str(chain))) is not None
    both.chmod(0o644)
    assert "tls_certificate: everybody on this machine can read" in refused(tls_certificate=str(both))


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_key_for_everybody_is_refused(pair: dict[str, Any], mode: int) -> None:
    Path(pair["tls_key"]).chmod(mode)
    assert f"(mode {mode:04o}): chmod 640" in refused(**pair)


def test_a_missing_file_is_named_with_its_setting(pair: dict[str, Any], tmp_path: Path) -> None:
    for name in pair:
        assert refused(**{**pair, name: str(tmp_path / "none")}).endswith(
            f"{name}: {tmp_path}/none cannot be read: no such file or directory"
        )
    assert "tls_client_ca: " in refused(tls_client_ca=str(tmp_path / "none"))


def test_what_is_not_pem_is_named(pair: dict[str, Any], tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.touch(0o600)
    nonsense.write_text("nonsense")
    for name in ("tls_certificate", "tls_key", "tls_chain", "tls_client_ca"):
        assert f"{name}: {nonsense} holds no " in refused(**{**pair, name: str(nonsense)})


def test_a_key_that_does_not_fit_is_named(pair: dict[str, Any], tmp_path: Path) -> None:
    _, other = server_certificate().write(tmp_path / "other", "server")
    assert f"the private key {other} does not fit" in refused(**{**pair, "tls_key": other})


def test_a_key_with_a_passphrase_asks_nobody(pair: dict[str, Any]) -> None:
    made = server_certificate()
    form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    Path(pair["tls_key"]).write_bytes(made.key.private_bytes(*form))
    assert "is encrypted" in refused(**pair)


def test_dates_are_looked_at(tmp_path: Path) -> None:
    for name, since, until, expected in (
        ("old", -3 * DAY, -DAY, "expired on"),
        ("young", DAY, 3 * DAY, "is not valid before"),
    ):
        certificate, key = server_certificate(since=since, until=until).write(tmp_path, name)
        assert expected in refused(tls_certificate=certificate, tls_key=key)
    certificate, key = server_certificate(until=3 * DAY).write(tmp_path, "soon")
    (said,) = warnings_of(Settings(tls_certificate=certificate, tls_key=key))
    assert "expires on" in said


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tls_key": "x"}, "tls_key: has no meaning without tls_certificate"),
        ({"tls_chain": "x"}, "tls_chain: has no meaning without tls_certificate"),
        ({"certificate_header": "X-A", "auth_certificate": "optional"}, "list the proxies in trusted_proxies"),
        ({"certificate_header": "X-A", "trusted_proxies": ("10.0.0.1",)}, "set auth_certificate to"),
        ({"host": "0.0.0.0"}, "without TLS credentials travel in the clear"),
        ({"host": "::"}, "without TLS credentials travel in the clear"),
        ({"host": "hub.example.com"}, "without TLS credentials travel in the clear"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(settings: dict[str, Any], expected: str) -> None:
    assert expected in refused(**settings)


def test_certificates_of_clients_need_a_ca(pair: dict[str, Any]) -> None:
    assert "tls_client_ca: auth_certificate is on" in refused(**pair, auth_certificate="optional")


@pytest.mark.parametrize("asked", ["optional", "required"])
def test_clients_are_asked_for_certificates(pair: dict[str, Any], tmp_path: Path, asked: str) -> None:
    (tmp_path / "ca.pem").write_text(authority().pem)
    context = make_context(Settings(**pair, auth_certificate=asked, tls_client_ca=str(tmp_path / "ca.pem")))
    assert context is not None
    assert context.verify_mode is getattr(ssl, f"CERT_{asked.upper()}")
    assert context.num_tickets == 0


def test_plain_http_is_warned_of_at_every_start() -> None:
    for more in ({"plain_http": True}, {"trusted_proxies": ("10.0.0.1",)}):
        assert make_context(Settings(host="0.0.0.0", **more)) is None
    (said,) = warnings_of(Settings(host="0.0.0.0", plain_http=True))
    assert said.startswith("PLAIN HTTP on 0.0.0.0")
    assert not warnings_of(Settings(plain_http=True))
    (said,) = warnings_of(Settings(auth_certificate="optional"))
    assert "none can arrive" in said


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert Settings(host=host).is_local is expected


def test_the_names_of_a_certificate_are_printed(tmp_path: Path) -> None:
    made = authority().issue("CN=feed,C=FR", "dns:a.example")
    file, key = made.write(tmp_path, "client")
    said = CliRunner().invoke(main, ["certificate", file])
    assert said.output.splitlines() == [made.fingerprint, "subject:CN=feed,C=FR", "dns:a.example"]
    wrong = CliRunner().invoke(main, ["certificate", key])
    assert (wrong.exit_code, "no certificate in PEM form" in wrong.stderr) == (2, True)


def test_what_moves_too_slowly_is_noticed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    ours, theirs = socket.socketpair()
    now = 1000.0
    monkeypatch.setattr(connection, "time", but_for(time, monotonic=lambda: now))
    with ours, theirs:
        conn = Connection(ours, ("192.0.2.1", 1), None, None)
        conn.enter(connection.State.BODY, SILENT_S)
        now += SILENT_S - 1
        assert conn.progress(1)
        assert conn.deadline == now + SILENT_S
        now += 2
        assert not conn.progress(1)
        assert conn.progress(MIN_BYTES_PER_S * 40)
