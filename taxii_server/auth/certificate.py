"""Client certificates: from the certificate that a client showed to the partner whose it is.

The server's own TLS has checked a certificate against tls_client_ca before it comes here. What a proxy hands on in a
header is checked here in the same way, because a proxy may be set up to let every certificate through; only one that
is named by its fingerprint needs no CA, as nobody else can have its key.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from taxii_server.certificates import FINGERPRINT, names_of
from taxii_server.model import Actor

_log = logging.getLogger(__name__)
#: How proxies say that there is none.
_NOTHING = ("", "-", "(null)")
_ENVOY = re.compile(r'(?:^|[;,])\s*Cert="([^"]*)"', re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate (DER) that came with a request; empty when what came is none. `is_verified`: TLS has checked it."""

    der: bytes
    is_verified: bool = False


class CertificateScheme:
    """Finds whose a certificate is. `names` gives the names in force and their partners (see certificates.py)."""

    def __init__(
        self, names: Callable[[], Mapping[str, str]], authorities: Sequence[x509.Certificate], *, is_required: bool
    ) -> None:
        self._names = names
        self._authorities = tuple(authorities)
        self.is_required = is_required

    def actor(self, shown: Shown) -> Actor | None:
        """The actor, or None: out of date, unknown, without a CA that vouches for it, or of two partners at once."""
        certificate = _parse(shown.der)
        if certificate is None or not _is_in_time(certificate):
            return None
        known = self._names()
        fingerprint, *others = names_of(certificate)
        partner = known.get(fingerprint)
        if partner is None and (shown.is_verified or is_vouched_for(certificate, self._authorities)):
            partners = {known[name] for name in others if name in known}
            partner = partners.pop() if len(partners) == 1 else None
        if partner is None:
            return None
        return Actor(partner, fingerprint[: len(FINGERPRINT) + 17], "certificate")


def is_vouched_for(certificate: x509.Certificate, authorities: Sequence[x509.Certificate]) -> bool:
    """Whether one of these certificates is this one, or a CA that issued it, and it may be used by clients."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage):
            return False
    except x509.ExtensionNotFound:
        pass
    return certificate in authorities or any(
        _is_authority(each) and _is_in_time(each) and _issued(each, certificate) for each in authorities
    )


def read_header(value: str) -> Shown | None:
    """The certificate that a proxy hands on; None when it says that there is none.

    Understands PEM in URL encoding (nginx), DER in base64 (HAProxy, Caddy, Traefik), and one element of Envoy's
    X-Forwarded-Client-Cert. Two certificates at once are none that anybody could be.
    """
    text = value.strip()
    if text in _NOTHING:
        return None
    if envoy := _ENVOY.findall(text):
        # A comma outside of quotes: what another hop said stands there as well.
        text = envoy[0] if len(envoy) == 1 and "," not in _QUOTED.sub("", text) else "?"
    text = unquote(text).strip()
    pem = re.fullmatch(r"-----BEGIN CERTIFICATE-----(.*)-----END CERTIFICATE-----", text, re.DOTALL)
    try:
        # "-" is in neither alphabet: a second certificate makes this fail.
        der = base64.b64decode(re.sub(r"\s", "", pem[1] if pem else text), validate=True)
    except (binascii.Error, ValueError):
        der = b""
    return Shown(der)


def read_authorities(file: str) -> list[x509.Certificate]:
    """The certificates of a PEM file; none, with a line in the log, when it cannot be read. `serve` looks before."""
    if not file:
        return []
    try:
        return x509.load_pem_x509_certificates(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        _log.error("tls_client_ca %s cannot be read, so it vouches for nobody: %s", file, error)
        return []


@lru_cache(maxsize=1024)
def _parse(der: bytes) -> x509.Certificate | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        names_of(certificate)
        return certificate if certificate.public_bytes(Encoding.DER) == der else None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None


def _is_in_time(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
