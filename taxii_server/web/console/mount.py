"""Which requests are for the console: those below /console, and a browser's at /."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

PREFIX = "/console"


class Mounted:
    """The WSGI application of the API with the console beside it. Each sees nothing of the other's requests."""

    def __init__(self, api: Callable[..., Iterable[bytes]], console: Callable[..., Iterable[bytes]]) -> None:
        self._api = api
        self._console = console

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        chosen = self._console if _is_for_people(environ) else self._api
        return chosen(environ, start_response)


def _is_for_people(environ: dict[str, Any]) -> bool:
    path = environ.get("PATH_INFO", "")
    if path == "/":
        # No TAXII client asks for HTML: to those, / stays what it was.
        return environ.get("REQUEST_METHOD") in ("GET", "HEAD") and "text/html" in environ.get("HTTP_ACCEPT", "")
    return bool(path == PREFIX or path.startswith(f"{PREFIX}/"))
