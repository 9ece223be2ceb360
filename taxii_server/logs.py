"""Where log lines go and how they look: text for a person, JSON for a collector. To stderr, always."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

#: The id of the request that this thread answers; empty where there is none.
request_id: ContextVar[str] = ContextVar("request_id", default="")

#: The fields of a line, and what they say. An audit line has its facts besides (audit.EVENTS).
FIELDS = {
    "time": "when, UTC, milliseconds",
    "level": "debug, info, warning, error or critical",
    "logger": "the part of the program that says it",
    "message": "what happened, as in the text form",
    "request": "the id of the request, which is also the `error_id` of its answer if that is an error",
    "event": "of audit lines: what was done",
    "exception": "the traceback, where something failed that should not",
}


class TextFormatter(logging.Formatter):
    """One line for a person, with the id of the request at its end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the standard library's
        """See Formatter.formatMessage."""
        line, id_ = super().formatMessage(record), request_id.get()
        return f"{line} request={id_}" if id_ else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the FIELDS that it has and the facts of an audit line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if id_ := request_id.get():
            line["request"] = id_
        facts = getattr(record, "facts", None)
        if facts:
            line |= {"event": getattr(record, "event", ""), **facts}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def set_up_logs(log_format: str, log_level: str) -> None:
    """Send the lines of this package to stderr from this level on. Calling it again replaces the set-up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    # The exporter of traces says so when nobody takes them.
    for name, level in (("taxii_server", log_level.upper()), ("opentelemetry", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
