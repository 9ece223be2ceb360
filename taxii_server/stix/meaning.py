"""How the readers of marking definitions answer."""

from __future__ import annotations

from typing import Any

#: The kind, and the facts that policy may look at.
Meaning = tuple[str, dict[str, Any]]


class Unknown(Exception):
    """The marking, or a part of it, is not understood; the text says which. What it marks stays hidden."""
