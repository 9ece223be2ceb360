"""Media types: what a request accepts and what it sends (TAXII 2.1, 1.6.8 and 3.1; RFC 7231, 5.3.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

TAXII = "application/taxii+json;version=2.1"
_VERSION = "2.1"
_TYPE = "application/taxii+json"
_STIX_TYPE = "application/stix+json"
_STIX_VERSIONS = frozenset({None, "2.0", "2.1"})
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 7230's name of a grammar rule
# Also a parameter without a value or with one that is of no form: it stands for no version, not for every one.
_PARAMETER = re.compile(rf';\s*({_TOKEN})\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^;]*))?')
_RANGE = re.compile(rf"\s*({_TOKEN}/{_TOKEN})")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A type or range in lower case with its parameters; `q` is taken out of them."""

    name: str
    parameters: dict[str, str]
    q: float = 1.0

    @property
    def version(self) -> str | None:
        """The version parameter, if there is one."""
        return self.parameters.get("version")


def parse_media_types(header: str) -> Iterator[MediaType]:
    """The members of a list of media types; what is not of the form is skipped."""
    for member in _split(header):
        match = _RANGE.match(member)
        if match is None:
            continue
        parameters: dict[str, str] = {}
        for name, value in _PARAMETER.findall(member, match.end()):
            parameters[name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if _is_quoted(value) else value.strip()
        yield MediaType(match.group(1).lower(), parameters, _quality(parameters.pop("q", "1")))


@lru_cache(maxsize=256)
def accepts_taxii(header: str | None, *, strict: bool) -> bool:
    """Whether our one media type may be sent to who sent this Accept header.

    The most specific range that covers it decides, as RFC 7231 asks. Missing or empty: no when strict. Remembered:
    clients send the same few headers all the time.
    """
    if header is None or not header.strip():
        return not strict
    best: tuple[int, float] | None = None
    for media in parse_media_types(header):
        rank = _rank(media)
        if rank and (best is None or rank > best[0]):
            best = (rank, media.q)
    return best is not None and best[1] > 0


def is_taxii_content(header: str | None) -> bool:
    """Whether a body of this Content-Type may be posted: TAXII 2.1, or STIX as OpenCTI sends it."""
    sent = list(parse_media_types(header or ""))
    if len(sent) != 1:  # a body has one type: what a list of them means, nobody knows
        return False
    media = sent[0]
    if media.name == _TYPE:
        return media.version in (None, _VERSION)
    return media.name == _STIX_TYPE and media.version in _STIX_VERSIONS


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] == '"'


def _rank(media: MediaType) -> int:
    if media.name == _TYPE:
        return {_VERSION: 4, None: 3}.get(media.version, 0)
    return {"application/*": 2, "*/*": 1}.get(media.name, 0)


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0


def _split(header: str) -> Iterator[str]:
    """The members between commas that stand outside quoted strings."""
    quoted = escaped = False
    start = 0
    for place, char in enumerate(header):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            yield header[start:place]
            start = place + 1
    yield header[start:]
