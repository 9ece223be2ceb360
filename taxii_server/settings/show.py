"""Settings as text: what is in force, with secrets masked, and the files that are generated from the table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from taxii_server.settings.rows import example_of, rows_of, toml_value, wrapped
from taxii_server.settings.table import ROWS, ApiRoot, Settings, is_mongodb


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of `check --show`: safe to print."""

    name: str
    value: str
    source: str


def show(settings: Settings) -> Iterator[Shown]:
    """Every setting with its value and source, secrets masked, in the order of the table; then the API roots."""
    for name, each in ROWS.items():
        value = getattr(settings, name)
        yield Shown(name, toml_value(masked(value) if each.secret else value), settings.sources.get(name, "default"))
    for root in settings.api_roots.values():
        for name in rows_of(ApiRoot):
            source = "default" if settings.file is None else settings.file.as_posix()
            yield Shown(f"api_roots.{root.name}.{name}", toml_value(getattr(root, name)), source)


def masked(store: str) -> str:
    """The store without the passwords that a mongodb URL can hold. A path stays as it is."""
    if not is_mongodb(store):
        return store
    store = re.sub(r"(?i)\b(\w*(?:password|token)|authMechanismProperties)=[^&]*", r"\1=***", store)
    scheme, _, rest = store.partition("://")
    # To the last @: an unescaped @ or / inside a password must not let half of it through.
    login, at, place = rest.rpartition("@")
    name, colon, _ = login.partition(":")
    return f"{scheme}://{name}{colon and ':***'}{at}{place}" if at else store


def example_text(values: Mapping[str, object] = MappingProxyType({})) -> str:
    """The server.toml that `init` writes: what everybody decides, and `values`, as it is, the rest commented out."""
    return (
        wrapped(
            "The settings of this server. They are read once, at the start; partners and rules are not here but in "
            "the files that config_files names, and may change while the server runs. Paths are relative to this "
            "file. What is commented out shows the default. The environment (TAXII_SERVER_PORT=6200) and the command "
            "line (--port 6200) go before this file; `taxii-server check --show` prints every value and its source."
        )
        + example_of(Settings, **values)
        + "\n# ---- API roots\n\n"
        + wrapped(
            "Each table is one API root: [api_roots.hub] is served at /hub/. The collections choose theirs by this "
            "name, which stays as it is: it is part of every partner's URLs."
        )
        + "[api_roots.hub]\n"
        + example_of(ApiRoot, title="Threat intelligence hub").lstrip("\n")
    )


def api_roots_text(api_roots: Mapping[str, ApiRoot]) -> str:
    """The API roots as TOML: what of server.toml belongs to the catalog, the same text on every machine."""
    parts = ["# The API roots of server.toml, as the catalog keeps them.\n"]
    for name, root in api_roots.items():
        lines = [f"{each} = {toml_value(getattr(root, each))}\n" for each in rows_of(ApiRoot)]
        parts.append(f"\n[api_roots.{name}]\n{''.join(lines)}")
    return "".join(parts)
