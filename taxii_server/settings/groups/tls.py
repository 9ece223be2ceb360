"""Settings: TLS and proxies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import ClassVar

from taxii_server.settings.rows import matching, one_of, row, text, texts, yes_no


def _is_network(value: str) -> bool:
    try:
        ip_network(value)
    except ValueError:
        return False
    return True


NETWORKS = texts(
    matching("network", _is_network, "an address or a network, such as 10.0.0.0/8 or 2001:db8::7"), "list of networks"
)
HEADER = matching(
    "header name", lambda value: re.fullmatch(r"[A-Za-z0-9-]*", value) is not None, "the name of a header (or empty)"
)


@dataclass(frozen=True, kw_only=True)
class Tls:
    GROUP: ClassVar = "TLS and proxies"

    tls_certificate: str = row(
        text(),
        "",
        "The PEM file with the certificate of this server, and with those between it and its CA. Set: the port speaks "
        "TLS 1.2 and 1.3 and nothing else. SIGHUP reads the files again.",
    )
    tls_key: str = row(
        text(),
        "",
        "The PEM file with the private key. Refused when everybody can read it. Empty: the key is in tls_certificate.",
    )
    tls_chain: str = row(text(), "", "A PEM file with the certificates between that of the server and its CA.")
    tls_client_ca: str = row(
        text(),
        "",
        "A PEM file with the CAs (or single certificates) that client certificates are checked against.",
    )
    plain_http: bool = row(
        yes_no(),
        False,
        "Listen without TLS on an address that other machines can reach, without a trusted proxy. Credentials and "
        "everything else then travel in the clear.",
    )
    trusted_proxies: tuple[str, ...] = row(
        NETWORKS,
        (),
        "Addresses or networks of proxies that may say whom they ask for. Headers of this kind are ignored from "
        "everybody else.",
    )
    forwarded_header: str = row(
        one_of("x-forwarded", "forwarded"),
        "x-forwarded",
        "Where trusted proxies say so: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239). The other is "
        "ignored.",
    )
    certificate_header: str = row(
        HEADER,
        "",
        "The header in which trusted proxies hand on the client's certificate, such as X-SSL-Client-Cert. Empty: none.",
    )
