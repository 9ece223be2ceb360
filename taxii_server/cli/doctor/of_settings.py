"""Settings that work on a desk and not in production, TLS, and the files that hold secrets or grant rights."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from taxii_server.auth.provider import require_keys
from taxii_server.catalog import Catalog
from taxii_server.cli.doctor.finding import Finding, failure, ok, or_ok, warning
from taxii_server.errors import ConfigError
from taxii_server.serving.tls import make_context
from taxii_server.settings import Settings, world_readable_database
from taxii_server.storage.condition import why_not_ours

_SOON = timedelta(days=21)


def look_at_settings(settings: Settings, catalog: Catalog | None) -> Iterator[Finding]:
    """What is unsafe, or unwise, in the settings."""
    yield from or_ok(_unsafe(settings, catalog), "settings", "nothing in them is unsafe in production")


def _unsafe(settings: Settings, catalog: Catalog | None) -> Iterator[Finding]:
    area = "settings"
    if settings.plain_http and not settings.is_local and not settings.tls_certificate:
        passwords = "HTTP Basic and tokens" if settings.auth_basic else "tokens"
        yield failure(
            area,
            f"{settings.host} speaks plain HTTP: {passwords} travel in the clear",
            "set tls_certificate and tls_key, or put a proxy in front and list it in trusted_proxies (docs/tls.md)",
        )
    for proxy in settings.trusted_proxies:
        if ip_network(proxy, strict=False).prefixlen < 8:
            yield failure(
                area,
                f"trusted_proxies has {proxy}: nearly anybody may say whom a request comes from",
                "list the addresses of your proxies, and only those",
            )
    if settings.anonymous_partner:
        audience = None if catalog is None else catalog.policy.audiences.get(settings.anonymous_partner)
        if audience is not None and audience.clearance != "clear":
            told = f"without credentials one is '{audience.name}', which reads up to TLP:{audience.clearance.upper()}"
            yield failure(area, told, 'give that partner the clearance "clear", or empty anonymous_partner')
    for name, is_off, why in (
        ("ledger", not settings.ledger, "what is delivered is not recorded, and can never be told later"),
        ("check_file_modes", not settings.check_file_modes, "files with secrets may be open to everybody here"),
    ):
        if is_off:
            yield warning(area, f"{name} = false: {why}", f"set {name} = true, unless that is meant")
    for name, value, why in (
        ("lockout_after", settings.lockout_after, "secrets may be guessed at any speed"),
        ("address_requests_per_minute", settings.address_requests_per_minute, "one address may ask at any speed"),
        ("upkeep_minutes", settings.upkeep_minutes, "what has passed its time stays until `retention run` is called"),
    ):
        if value == 0:
            yield warning(area, f"{name} = 0: {why}", f"set {name} (config/README.md has its default)")
    if not settings.contact:
        yield warning(area, "partners are told no contact", "set contact to an e-mail address")
    if settings.log_level == "debug":
        yield warning(area, "log_level is debug: the log grows fast", 'set log_level = "info"')


# ---- TLS


def look_at_tls(settings: Settings) -> Iterator[Finding]:
    """Whether the certificate is whole, fits its key and its names, and how long it is valid."""
    area = "TLS"
    try:
        make_context(settings)
        require_keys(settings)
    except ConfigError as error:
        for problem in error.problems:
            yield failure(area, str(problem), "mend that setting or file; docs/tls.md")
        return
    if not settings.tls_certificate:
        if settings.trusted_proxies:
            yield ok(area, "a trusted proxy is in front of it")
        elif settings.is_local:
            yield ok(area, f"none, and none needed: only this machine reaches {settings.host}")
        return
    yield from or_ok(_ageing(settings), area, f"certificate and key fit, until {_end(settings):%Y-%m-%d}")
    host = urlsplit(settings.public_url).hostname
    names = _names(settings)
    if host and names and not any(_covers(name, host) for name in names):
        yield failure(
            area,
            f"the certificate is for {', '.join(names)}, and partners are sent to {host} (public_url)",
            f"get a certificate for {host}, or correct public_url",
        )


def _ageing(settings: Settings) -> Iterator[Finding]:
    """Certificates that have expired or soon will: that of the server, those between it and its CA, and client CAs."""
    now = datetime.now(UTC)
    for key in ("tls_certificate", "tls_chain", "tls_client_ca"):
        file = getattr(settings, key)
        for certificate in x509.load_pem_x509_certificates(Path(file).read_bytes()) if file else ():
            end = certificate.not_valid_after_utc
            name = certificate.subject.rfc4514_string() or "a certificate"
            if end < now:
                yield failure("TLS", f"{name} in {file} ({key}) expired on {end:%Y-%m-%d}", _RENEW)
            elif end < now + _SOON:
                yield warning("TLS", f"{name} in {file} ({key}) expires on {end:%Y-%m-%d %H:%M} UTC", _RENEW)


_RENEW = "renew it and send SIGHUP to the server"


def _server_certificate(settings: Settings) -> x509.Certificate:
    return x509.load_pem_x509_certificates(Path(settings.tls_certificate).read_bytes())[0]


def _end(settings: Settings) -> datetime:
    return _server_certificate(settings).not_valid_after_utc


def _names(settings: Settings) -> list[str]:
    """DNS names and addresses that the certificate is for."""
    try:
        extension = _server_certificate(settings).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return [*extension.value.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _covers(name: str, host: str) -> bool:
    """RFC 9525, 6.3: * stands for the whole first label, and for no other."""
    name, host = name.lower(), host.lower()
    return name == host or (name.startswith("*.") and name[2:] == host.partition(".")[2])


# ---- files


def look_at_files(settings: Settings) -> Iterator[Finding]:
    """Who else on this machine could read secrets, or change who may read what."""
    yield from or_ok(_open_files(settings), "files", "nobody else on this machine reads secrets or changes rules")


def _open_files(settings: Settings) -> Iterator[Finding]:
    is_ours = not settings.uses_mongodb and not why_not_ours(_database(settings))
    for problem in world_readable_database(_database(settings)) if is_ours else []:
        told = f"{problem.file}: every user of this machine can read or write what partners shared"
        yield failure("files", told, f"run: chmod o-rwx {problem.file}")
    folder = Path(settings.collections_dir)
    names = [settings.file, *(settings.folder / name for name in settings.config_files)]
    for path in (settings.folder, *filter(None, names), folder, *sorted(folder.glob("*.toml"))):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            do = f"run: chmod o-w {path}"
            yield failure("files", f"{path}: every user of this machine can change who reads what", do)
    if os.geteuid() == 0:
        do = "run the server, and this command, as a user of its own (deploy/ has a unit for systemd)"
        yield warning("files", "this is root: what it makes, the server's user may not be able to open", do)


def _database(settings: Settings) -> Path:
    return Path(settings.store.removeprefix("sqlite:///"))
