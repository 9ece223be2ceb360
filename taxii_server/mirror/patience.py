"""When to ask again: longer and longer pauses with chance in them, or when the peer says so (RFC 9110, 10.2.3)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: The first pause, and the longest one.
FIRST_S, LONGEST_S = 1.0, 60.0
#: No peer can keep a mirror waiting for longer.
LONGEST_ASKED_S = 86_400.0


def pause_s(attempt: int, chance: Callable[[], float] = random.random) -> float:
    """How long to wait after the attempt with this number (from 0): between half and all of what doubles each time.

    The chance keeps mirrors that failed together from coming back together.
    """
    whole = min(LONGEST_S, FIRST_S * 2.0 ** min(attempt, 30))
    return whole / 2 + whole / 2 * chance()


def asked_s(retry_after: str | None, date: str | None = None) -> float | None:
    """The seconds that a Retry-After header asks for: a number, or a date. None without one that can be read.

    A date is compared with the peer's own clock (`date`, its Date header) where it tells, so that it does not matter
    how wrong that is.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_ASKED_S)
    until = _instant(text)
    if until is None:
        return None
    now = _instant(date or "") or datetime.now(UTC)
    return min(max(0.0, math.ceil((until - now).total_seconds())), LONGEST_ASKED_S)


def _instant(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
