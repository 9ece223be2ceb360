"""Forms: read whole, never beyond their limit, and only when they come from a page of ours."""

from __future__ import annotations

import hmac
import io
from collections.abc import Mapping
from dataclasses import dataclass

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.formparser import FormDataParser

from taxii_server.errors import BadContent, ContentTooLarge, Forbidden
from taxii_server.web.body import check_encoding, read_body
from taxii_server.web.console.site import parts, session

_KINDS = ("application/x-www-form-urlencoded", "multipart/form-data")
_SMALL_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, each once, and the text of its file fields."""

    fields: Mapping[str, str]
    files: Mapping[str, tuple[str, str]]

    def text(self, name: str) -> str:
        """A field, empty when it is not there."""
        return self.fields.get(name, "")


def read_form(limit_bytes: int = _SMALL_BYTES) -> Form:
    """The form that was sent with this session's token. Raises Forbidden for any other, BadContent, ContentTooLarge."""
    form = read_any_form(limit_bytes)
    who = session()
    if who is None:
        raise Forbidden
    require_token(form, parts().sessions.form_token(who))
    return form


def require_token(form: Form, expected: str) -> None:
    """Raise Forbidden unless the form brings this token, from a page of ours as far as the browser says so."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if site not in ("same-origin", "none") or not hmac.compare_digest(
        form.text("form_token").encode(errors="replace"), expected.encode()
    ):
        raise Forbidden


def read_any_form(limit_bytes: int = _SMALL_BYTES) -> Form:
    """The form, wherever it comes from."""
    if request.mimetype not in _KINDS:
        raise BadContent("a form is expected")
    check_encoding(request)
    try:
        body = read_body(request, limit_bytes)
    except ContentTooLarge:
        raise ContentTooLarge(limit_bytes, "of this form") from None
    parser = FormDataParser(lambda *_, **__: io.BytesIO(), limit_bytes, max_form_parts=50, silent=True)
    _, fields, files = parser.parse(io.BytesIO(body), request.mimetype, len(body), request.mimetype_params)
    return Form(fields.to_dict(), {name: _text(name, file) for name, file in files.items() if file.filename})


def _text(name: str, file: FileStorage) -> tuple[str, str]:
    try:
        return file.filename or name, file.stream.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadContent("the file is no UTF-8 text") from None
