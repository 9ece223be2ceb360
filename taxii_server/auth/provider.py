"""The identity provider that the settings name: its scheme, and whether its keys can be read."""

from __future__ import annotations

from taxii_server.auth.base import Partners
from taxii_server.auth.fetch import reader_of
from taxii_server.auth.keys import KeyCache, parse_keys
from taxii_server.auth.oidc import Expected, OidcScheme
from taxii_server.errors import ConfigError, Problem
from taxii_server.settings import Settings, is_url


def make_oidc_scheme(settings: Settings, partners: Partners, realm: str) -> OidcScheme:
    """The scheme of the settings. Reads no key before the first token comes."""
    keys = KeyCache(
        reader_of(settings.oidc_jwks),
        settings.oidc_algorithms,
        min_interval_s=settings.oidc_refetch_s,
        max_age_s=settings.oidc_max_age_s,
    )
    expected = Expected(
        settings.oidc_issuer, settings.oidc_audiences, settings.oidc_algorithms, settings.oidc_clock_skew_s
    )
    return OidcScheme(keys, expected, partners, realm)


def require_keys(settings: Settings) -> None:
    """Raise ConfigError when the file of keys is not usable.

    A URL is not fetched: a provider that is down must not keep this server from starting.
    """
    if not settings.auth_oidc or is_url(settings.oidc_jwks):
        return
    try:
        parse_keys(reader_of(settings.oidc_jwks)(), settings.oidc_algorithms)
    except (OSError, ValueError) as error:
        source = settings.sources.get("oidc_jwks", "default")
        raise ConfigError([Problem(source, "oidc_jwks", str(error))]) from error
