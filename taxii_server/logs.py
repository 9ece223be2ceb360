"""Where log lines go and how they look: text for a person, JSON for a collector. To stderr, always."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

_FORMATS = {"text": "%(asctime)s %(levelname)s %(name)s: %(message)s"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and the facts of an audit line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        facts = getattr(record, "facts", None)
        if facts:
            line |= {"event": getattr(record, "event", ""), **facts}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def set_up_logs(log_format: str, log_level: str) -> None:
    """Send the lines of this package to stderr from this level on. Calling it again replaces the set-up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(_FORMATS["text"]))
    logger = logging.getLogger("taxii_server")
    logger.handlers[:] = [handler]
    logger.setLevel(log_level.upper())
    logger.propagate = False
