"""How a certificate is named in the configuration, and which names a certificate has. Pure.

    sha256:...      the fingerprint of one certificate; works for self-signed ones as well
    subject:...     its subject as RFC 4514 writes it, such as subject:CN=feed,O=CERT-FR,C=FR
    uri:...         a URI among its alternative names
    dns:...         a DNS name among them

All but the fingerprint are what a CA vouches for.
"""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.hazmat.primitives import hashes

FINGERPRINT = "sha256"
_KINDS = (FINGERPRINT, "subject", "uri", "dns")


def normal_name(text: str) -> str:
    """The one way of writing this name. Raises ValueError, with what is wrong, for anything else."""
    kind, colon, value = text.partition(":")
    kind, value = kind.strip().lower(), value.strip()
    if not colon or kind not in _KINDS or not value:
        raise ValueError(f"{text!r} is no name of a certificate; write sha256:, subject:, uri: or dns: and its value")
    if kind == FINGERPRINT:
        digits = value.replace(":", "").lower()
        if not re.fullmatch(r"[0-9a-f]{64}", digits):
            raise ValueError(f"{text!r}: a SHA-256 fingerprint has 64 hexadecimal digits")
        return f"{kind}:{digits}"
    if kind == "subject":
        try:
            return f"{kind}:{x509.Name.from_rfc4514_string(value).rfc4514_string()}"
        except ValueError:
            raise ValueError(f"{text!r} is no subject as RFC 4514 writes it, such as CN=feed,O=CERT-FR,C=FR") from None
    return f"{kind}:{value.lower() if kind == 'dns' else value}"


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """All its names, the fingerprint first."""
    names = [f"{FINGERPRINT}:{certificate.fingerprint(hashes.SHA256()).hex()}"]
    if subject := certificate.subject.rfc4514_string():
        names.append(f"subject:{subject}")
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return tuple(names)
    names += [f"uri:{each}" for each in alternatives.get_values_for_type(x509.UniformResourceIdentifier)]
    names += [f"dns:{each.lower()}" for each in alternatives.get_values_for_type(x509.DNSName)]
    return tuple(names)
