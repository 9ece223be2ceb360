"""Pages from templates, which escape everything."""

from __future__ import annotations

from typing import Any

from flask import Flask, render_template

from taxii_server.times import format_position
from taxii_server.web.console import shown

#: Status -> what the page of an error says. The same words whatever is behind it.
_ERRORS = {
    400: ("This could not be understood", "Go back and try again."),
    403: ("This is not allowed", "The form was too old, or came from elsewhere. Go back, load the page and try again."),
    404: ("There is nothing here", "It does not exist, or it is not for you."),
    405: ("This cannot be done here", "Go back and try again."),
    409: ("This contradicts what is there already", ""),
    413: ("That is too large", ""),
    429: ("Too many requests", ""),
    503: ("The server cannot answer now", "Try again in a moment."),
}


def render(template: str, status: int = 200, **values: Any) -> tuple[str, int]:
    """The page."""
    return render_template(template, **values), status


def error_page(status: int, words: str = "") -> tuple[str, int]:
    """The page that says what went wrong; a fault of ours says nothing more."""
    fault = "The server failed", "Its operator finds the reason in the log."
    title, usual = _ERRORS.get(status, fault if status >= 500 else ("This could not be done", ""))
    return render("error.html", status, title=title, words=words or usual, here="")


def moment(us: int | None) -> str:
    """A time in µs for people; a dash for none."""
    if not us:
        return "\N{EN DASH}"
    return shown.instant(format_position(us))


def amount(number: int) -> str:
    """12,345"""
    return f"{number:,}"


def add_filters(app: Flask) -> None:
    """The words that templates know."""
    app.jinja_env.filters |= {
        "clean": shown.clean,
        "short": shown.short,
        "instant": shown.instant,
        "moment": moment,
        "amount": amount,
    }
