"""Text of strangers as a person may see it. Whoever posts STIX wrote it: it can be long, deep, and made to deceive.

Markup is no danger here (templates escape), what text does to a reader is: characters that turn its direction, hide
parts of it or draw over the line above become visible, and what is too long is cut and says so.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

#: So much of a text stands in a table, in a field, and as a whole object.
SHORT, LONG, WHOLE = 80, 4_000, 60_000
#: Letters with more marks on top of each other than this are somebody's joke.
_MAX_MARKS = 4
_PLAIN = frozenset("\n\t")


def clean(text: object, limit: int = LONG) -> str:
    """The text, safe to look at; at most about `limit` characters of it."""
    value = text if isinstance(text, str) else str(text)
    shown: list[str] = []
    marks = 0
    for char in value[:limit]:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > _MAX_MARKS:
            continue
        if char in _PLAIN:
            shown.append(char)
        elif category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            shown.append(f"\N{MATHEMATICAL LEFT ANGLE BRACKET}U+{ord(char):04X}\N{MATHEMATICAL RIGHT ANGLE BRACKET}")
        else:
            shown.append(char)
    rest = len(value) - limit
    return "".join(shown) + (f" \N{HORIZONTAL ELLIPSIS} ({rest:,} more characters)" if rest > 0 else "")


def short(text: object, limit: int = SHORT) -> str:
    """One line of it, for a table."""
    value = " ".join((text if isinstance(text, str) else str(text))[: 4 * limit].split())
    return clean(value) if len(value) <= limit else clean(value[: limit - 1]) + "\N{HORIZONTAL ELLIPSIS}"


def instant(text: object) -> str:
    """A STIX or TAXII timestamp for people: `2026-01-31 12:00:00`, always UTC; anything else as it is."""
    value = text if isinstance(text, str) else str(text)
    if len(value) >= 20 and value[10] == "T" and value.endswith("Z") and value.isascii():
        return f"{value[:10]} {value[11:19]}"
    return clean(value, SHORT)


def read_json(content: bytes) -> dict[str, Any]:
    """The object of a stored text. Numbers of any size, half characters: whatever was posted."""
    value = json.loads(content)
    return value if isinstance(value, dict) else {}


def as_json(value: object, limit: int = WHOLE) -> str:
    """The value as indented JSON, cut and cleaned."""
    return clean(json.dumps(value, indent=2, ensure_ascii=False), limit)
