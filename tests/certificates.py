"""Certificates for tests, made when they are needed: a CA, and what it issues."""

from __future__ import annotations

import datetime
import functools
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, as objects and as files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def fingerprint(self) -> str:
        return "sha256:" + self.certificate.fingerprint(hashes.SHA256()).hex()

    def write(self, folder: Path, name: str) -> tuple[str, str]:
        """NAME.pem and NAME.key in the folder; their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_text(self.pem)
        key.touch(0o600)
        key.write_text(self.key_pem)
        return str(certificate), str(key)


class Authority:
    """A CA."""

    def __init__(self, name: str = "Test CA", above: Authority | None = None) -> None:
        self.issuer: Issued | None = None
        self.issuer = (above or self).issue(f"CN={name}", is_ca=True)

    def issue(
        self,
        subject: str,
        *names: str,
        is_ca: bool = False,
        since: datetime.timedelta = -DAY,
        until: datetime.timedelta = 30 * DAY,
        usage: x509.ObjectIdentifier | None = None,
    ) -> Issued:
        """A certificate; `names` are dns:, uri: or ip: with what follows."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        name = x509.Name.from_rfc4514_string(subject)
        issuer = self.issuer
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name if issuer is None else issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + until)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(each) for each in names]), False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        signer = key if issuer is None else issuer.key
        return Issued(builder.sign(signer, hashes.SHA256()), key)

    @property
    def pem(self) -> str:
        assert self.issuer is not None
        return self.issuer.pem


def _general(name: str) -> x509.GeneralName:
    kind, _, value = name.partition(":")
    if kind == "ip":
        return x509.IPAddress(ipaddress.ip_address(value))
    return x509.DNSName(value) if kind == "dns" else x509.UniformResourceIdentifier(value)


@functools.cache
def authority() -> Authority:
    """The CA that the tests trust."""
    return Authority()


@functools.cache
def stranger_authority() -> Authority:
    """A CA that nobody trusts, with the same name."""
    return Authority()


def server_certificate(**more: object) -> Issued:
    """What a server on this machine shows."""
    return authority().issue("CN=127.0.0.1", "ip:127.0.0.1", "dns:localhost", **more)  # type: ignore[arg-type]


CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
