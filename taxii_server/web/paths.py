"""API roots at the paths that they had on another server: clients go on with the URL in their settings.

Routes know API roots by name, one segment. Where a root has a `path`, requests below it are led to its name before
anything else looks at them, so that there is one set of routes, checks and log lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from taxii_server.settings import ApiRoot


class Paths:
    """WSGI middleware: `/<path>/...` of an API root is answered as `/<name>/...`."""

    def __init__(self, app: WSGIApplication, api_roots: Mapping[str, ApiRoot]) -> None:
        self._app = app
        self._names = {f"/{root.path}/": f"/{root.name}/" for root in api_roots.values() if root.path}

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        asked = environ.get("PATH_INFO", "")
        for path, name in self._names.items():
            if asked.startswith(path):
                environ["PATH_INFO"] = name + asked[len(path) :]
                break
        return self._app(environ, start_response)
