"""The anchors that are servers: a bare Flask application on the same workers, and one that only sends a file.

    python -m bench.bare flask PORT WORKERS THREADS MONGO-URL    /  and  /find  and  /page?after=
    python -m bench.bare file PORT FILE                          /

Nothing here authenticates, decides, records or logs: it is what is left when a hub does nothing of that.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bson import Int64
from flask import Flask, Response, request
from pymongo import MongoClient

from taxii_server.server import Server
from taxii_server.settings import Settings

MEDIA = "application/taxii+json;version=2.1"


def flask_app(url: str) -> Flask:
    """Routes without anything; with one find by index that gives nothing or one record; with a page of records."""
    app = Flask("bare")
    records = MongoClient(url).get_default_database()["records"]
    known = records.find_one({"_id": {"$gt": 0}})
    id_ = known["i"] if known else ""

    @app.get("/")
    def nothing() -> Response:
        return Response(b"{}", content_type=MEDIA)

    @app.get("/none")
    def none() -> Response:
        found = list(records.find({"_id": {"$gt": Int64(2**62)}}, {"j": 1}).limit(1))
        return Response(b",".join(row["j"] for row in found) or b"{}", content_type=MEDIA)

    @app.get("/one")
    def one() -> Response:
        found = list(records.find({"i": id_}, {"j": 1}, hint="id_position_label").limit(2))
        return Response(b",".join(row["j"] for row in found) or b"{}", content_type=MEDIA)

    @app.get("/page")
    def page() -> Response:
        after, limit = int(request.args["after"]), int(request.args["limit"])
        found = records.find({"_id": {"$gt": Int64(after)}}, {"j": 1}, batch_size=limit + 1).sort("_id").limit(limit)
        return Response(b'{"objects":[' + b",".join(row["j"] for row in found) + b"]}", content_type=MEDIA)

    return app


class _Server(Server):
    """Our server with another application in it: connections, threads and limits are the same."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._url = url
        super().__init__(settings, on_reload=lambda: None)

    def load(self) -> Flask:
        return flask_app(self._url)


async def serve_file(port: int, path: Path) -> None:
    """Answer every request with the file."""
    body = path.read_bytes()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (MEDIA.encode(), len(body)) + body

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


def main(kind: str, port: str, *more: str) -> None:
    if kind == "flask":
        workers, threads, url = more
        _Server(Settings(port=int(port), workers=int(workers), threads=int(threads), log_level="warning"), url).run()
    else:
        asyncio.run(serve_file(int(port), Path(more[0])))


if __name__ == "__main__":
    main(*sys.argv[1:])
