"""TLS of the server itself: from the files that the settings name to one context, or what is wrong with them.

TLS 1.2 with AEAD suites and forward secrecy, and TLS 1.3. No early data (a replayed POST is a second POST), no
renegotiation, no compression. Where client certificates are asked for, no session is resumed: each connection shows
its certificate again.

The context is made in the parent, so the workers need not be able to read the key, and a file that is broken when
SIGHUP comes leaves the old one in force instead of workers that cannot start.
"""

from __future__ import annotations

import ssl
import stat
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from taxii_server.errors import ConfigError, Problem
from taxii_server.settings import Settings, why_unreadable

#: Of TLS 1.2; all suites of TLS 1.3 are AEAD with forward secrecy anyway.
_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: Whoever can read the file beside its owner and its group.
_OTHERS = stat.S_IROTH | stat.S_IWOTH
_SOON = timedelta(days=14)


def make_context(settings: Settings) -> ssl.SSLContext | None:
    """The context of the settings, None without TLS. Raises ConfigError with everything that is wrong."""
    problems = _Problems(settings)
    problems.check_combination()
    authorities = problems.certificates("tls_client_ca")
    if not settings.tls_certificate:
        problems.raise_any()
        return None
    chain = [*problems.certificates("tls_certificate"), *problems.certificates("tls_chain")]
    problems.check_key(chain)
    problems.check_dates(chain)
    problems.raise_any()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        _load(context, chain, settings.tls_key or settings.tls_certificate)
        if settings.auth_certificate != "off" and authorities:
            context.load_verify_locations(cadata="".join(_pem(each) for each in authorities))
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            is_required = settings.auth_certificate == "required" and not settings.certificate_header
            context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
    except (ssl.SSLError, OSError) as error:
        problems.add("tls_certificate", f"OpenSSL does not take it: {error}")
        problems.raise_any()
    return context


def warnings_of(settings: Settings) -> list[str]:
    """What works and should not stay so, one sentence each."""
    found = []
    if settings.tls_certificate:
        certificate = x509.load_pem_x509_certificates(Path(settings.tls_certificate).read_bytes())[0]
        if certificate.not_valid_after_utc - datetime.now(UTC) < _SOON:
            found.append(
                f"the certificate {settings.tls_certificate} expires on {certificate.not_valid_after_utc:%Y-%m-%d}; "
                "renew it and send SIGHUP"
            )
    elif settings.plain_http and not settings.is_local:
        found.append(
            f"PLAIN HTTP on {settings.host}: credentials and contents travel in the clear. Set tls_certificate and "
            "tls_key, or put a proxy in front and list it in trusted_proxies (docs/tls.md)"
        )
    if settings.auth_certificate != "off" and not settings.tls_certificate and not settings.certificate_header:
        found.append("auth_certificate is on, but without tls_certificate or certificate_header none can arrive")
    return found


class _Problems:
    """Reads the files; what is wrong is noted with the setting that names the file."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: list[Problem] = []

    def add(self, key: str, message: str) -> None:
        source = self._settings.sources.get(key, "default")
        self._found.append(Problem("settings" if source == "default" else source, key, message))

    def raise_any(self) -> None:
        if self._found:
            raise ConfigError(self._found)

    def check_combination(self) -> None:
        """Settings that mean nothing without another, and a port that is open to the network in the clear."""
        settings = self._settings
        for key in ("tls_key", "tls_chain"):
            if getattr(settings, key) and not settings.tls_certificate:
                self.add(key, "has no meaning without tls_certificate; set that as well")
        if settings.certificate_header and not settings.trusted_proxies:
            self.add("certificate_header", "nobody may send it: list the proxies in trusted_proxies")
        if settings.certificate_header and settings.auth_certificate == "off":
            self.add("certificate_header", 'nothing looks at it: set auth_certificate to "optional" or "required"')
        asks = settings.auth_certificate != "off" and settings.tls_certificate and not settings.certificate_header
        if asks and not settings.tls_client_ca:
            self.add(
                "tls_client_ca", "auth_certificate is on: name the file of the CAs whose client certificates are taken"
            )
        is_meant = settings.tls_certificate or settings.trusted_proxies or settings.plain_http
        if not is_meant and not settings.is_local:
            self.add(
                "host",
                f"{settings.host} can be reached by other machines, and without TLS credentials travel in the "
                "clear: set tls_certificate and tls_key; or put a proxy in front and list it in trusted_proxies; "
                "or, in a network that nobody else is in, set plain_http = true",
            )

    def certificates(self, key: str) -> list[x509.Certificate]:
        """The certificates in the file that this setting names; none without it."""
        file = getattr(self._settings, key)
        raw = self._read(key, file) if file else None
        if raw is None:
            return []
        try:
            return x509.load_pem_x509_certificates(raw)
        except ValueError:
            self.add(key, f"{file} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
            return []

    def check_key(self, chain: list[x509.Certificate]) -> None:
        """The key can be read, by few, and is that of the certificate."""
        key = "tls_key" if self._settings.tls_key else "tls_certificate"
        file = getattr(self._settings, key)
        raw = self._read(key, file)
        if raw is None:
            return
        mode = stat.S_IMODE(Path(file).stat().st_mode)
        if mode & _OTHERS:
            self.add(key, f"everybody on this machine can read the private key {file} (mode {mode:04o}): chmod 640 it")
        try:
            private = load_pem_private_key(raw, None)
        except TypeError:
            self.add(key, f"the private key {file} is encrypted; store it without a passphrase, readable by the server")
        except ValueError:
            self.add(key, f"{file} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
        else:
            form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            if chain and chain[0].public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
                self.add(
                    key,
                    f"the private key {file} does not fit the first certificate of {self._settings.tls_certificate} "
                    f"({chain[0].subject.rfc4514_string()}): name the key that it was made with, and put the server's "
                    "own certificate first",
                )

    def check_dates(self, chain: list[x509.Certificate]) -> None:
        """The certificate is valid now: clients would refuse it, and nobody would know why they stay away."""
        now = datetime.now(UTC)
        file = self._settings.tls_certificate
        for certificate in chain[:1]:
            begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            if end < now:
                self.add("tls_certificate", f"{file} expired on {end:%Y-%m-%d %H:%M} UTC; renew it")
            elif begin > now:
                self.add(
                    "tls_certificate", f"{file} is not valid before {begin:%Y-%m-%d %H:%M} UTC; is the clock right?"
                )

    def _read(self, key: str, file: str) -> bytes | None:
        try:
            return Path(file).read_bytes()
        except OSError as error:
            self.add(key, f"{file} cannot be read: {why_unreadable(error)}")
            return None


def _load(context: ssl.SSLContext, chain: list[x509.Certificate], key_file: str) -> None:
    """Python takes a chain from a file only; what is in this one is public."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write("".join(_pem(each) for each in chain))
        file.flush()
        context.load_cert_chain(file.name, key_file, password=lambda: b"")


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
