"""The few STIX names that several modules of this package look at."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

#: The cyber-observable types of STIX 2.1, section 6.
OBSERVABLE_TYPES = frozenset(
    {
        "artifact",
        "autonomous-system",
        "directory",
        "domain-name",
        "email-addr",
        "email-message",
        "file",
        "ipv4-addr",
        "ipv6-addr",
        "mac-addr",
        "mutex",
        "network-traffic",
        "process",
        "software",
        "url",
        "user-account",
        "windows-registry-key",
        "x509-certificate",
    }
)

MARKING_DEFINITION = "marking-definition"

TYPE_MAX_CHARS = 250

#: Linear on purpose: the pattern of the OASIS schemas needs exponential time in Python's `re`.
TYPE_PATTERN = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*-?")

#: Any UUID shape, not only RFC 4122: real feeds carry versions 1 and 7 and ids without a version.
UUID_PATTERN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

UUID_CHARS = 36


def is_observable(value: Mapping[str, Any]) -> bool:
    """True for a cyber-observable (SCO), standard or declared as `new-sco` by an extension (STIX 2.1, 7.3).

    The type decides, never the absence of `created` and `modified`.
    """
    if value.get("type") in OBSERVABLE_TYPES:
        return True
    extensions = value.get("extensions")
    if not isinstance(extensions, dict):
        return False
    return any(
        isinstance(extension, dict) and extension.get("extension_type") == "new-sco"
        for extension in extensions.values()
    )


def is_id(text: object, of_type: str | None = None) -> bool:
    """True for `type--UUID` in lower case (STIX 2.1, 2.9), of this type when one is given."""
    if not isinstance(text, str):
        return False
    prefix, uuid = text[: -UUID_CHARS - 2], text[-UUID_CHARS:]
    return (
        text == f"{prefix}--{uuid}"
        and UUID_PATTERN.fullmatch(uuid) is not None
        and (prefix == of_type if of_type else is_type(prefix))
    )


def is_type(text: object) -> bool:
    """True for the name of a STIX type, standard or custom, with or without `x-` (STIX 2.1, 11.2)."""
    return isinstance(text, str) and len(text) <= TYPE_MAX_CHARS and TYPE_PATTERN.fullmatch(text) is not None


def plain_word(text: str) -> str:
    """The text as rules compare it: lower case, full-width and other variants as usual letters, nothing invisible.

    Vendors write `TLP:RED`, ` tlp:red` and worse; what a reader takes for the same word has to be the same word.
    """
    if text.isascii():
        return text.strip().lower()
    usual = unicodedata.normalize("NFKC", text)
    return "".join(char for char in usual if unicodedata.category(char) != "Cf").strip().lower()


def shown(value: object) -> str:
    """A short text for a message: what was found, cut, since it comes from a stranger."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
