"""Default < server.toml < environment < flag: the values in force, each with the place that said so.

Paths
    In server.toml, and in the defaults, a path is relative to the folder of server.toml: a checkout, a container
    and /etc then all work alike. On the command line and in the environment it is relative to where one stands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from taxii_server.errors import ConfigError, Problem
from taxii_server.settings.private import world_readable
from taxii_server.settings.rows import (
    Row,
    first_sentence,
    is_name,
    join_key,
    parse_toml,
    read_table,
    read_value,
    rows_of,
    unknown,
)
from taxii_server.settings.show import masked
from taxii_server.settings.sources import is_url
from taxii_server.settings.table import RESERVED, ROWS, ApiRoot, Settings

PREFIX = "TAXII_SERVER_"
#: Names the server.toml itself; see `default_file`.
FILE_VARIABLE = "TAXII_SERVER_CONFIG"
#: What Kubernetes puts into the environment of every container beside a service called "taxii-server".
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOT_OURS = re.compile(r"SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_\w+")
_SQLITE = "sqlite:///"
#: Behind the name of a variable: its value is the name of a file with the value.
_FILE = "_file"
_PATHS = (
    "store", "collections_dir", "tls_certificate", "tls_key", "tls_chain", "tls_client_ca", "oidc_jwks", "mirrors_file",
    "mirrors_dir", "ledger_spool",
)  # fmt: skip


def default_file(environment: Mapping[str, str] = os.environ) -> Path:
    """The server.toml of whoever did not name one: $TAXII_SERVER_CONFIG, else config/server.toml here."""
    return Path(environment.get(FILE_VARIABLE) or "config/server.toml")


def load(
    file: Path | None, environment: Mapping[str, str] = os.environ, flags: Mapping[str, object] | None = None
) -> Settings:
    """The settings from defaults < this file < environment < flags. A flag that is None was not given.

    Does not touch the store, nor read the catalog's files. Raises ConfigError with everything that is wrong.
    """
    gathered = _Gathered(file)
    if file is not None:
        gathered.take_file(file)
    gathered.take_environment(environment)
    gathered.take_flags(flags or {})
    return gathered.settings()


class _Gathered:
    """Values and their sources while they are being put on top of each other."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.file_name = "server.toml" if file is None else file.as_posix()
        self.folder = _absolute(Path.cwd(), "config" if file is None else file.parent)
        self.values: dict[str, Any] = {name: each.default for name, each in ROWS.items()}
        self.sources = dict.fromkeys(ROWS, "default")
        self.roots: dict[str, dict[str, Any]] = {}
        self.problems: list[Problem] = []
        for name in _PATHS:
            self._anchor(name, self.folder)

    def take_file(self, file: Path) -> None:
        try:
            raw = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([Problem(self.file_name, "", f"cannot be read: {why_unreadable(error)}")]) from error
        values, problems = parse_toml(raw, self.file_name)
        if problems:
            raise ConfigError(problems)
        found, problems = read_table(Settings, values, self.file_name, also=("api_roots",))
        self.problems += problems
        for name, value in found.items():
            self._set(name, value, self.file_name, self.folder)
        roots = values.get("api_roots", {})
        if isinstance(roots, Mapping) and all(isinstance(root, Mapping) for root in roots.values()):
            self.roots = {name: dict(root) for name, root in roots.items()}
        else:
            self.problems.append(Problem(self.file_name, "api_roots", "expected tables, such as [api_roots.hub]"))

    def take_environment(self, environment: Mapping[str, str]) -> None:
        for variable, value in sorted(environment.items()):
            name = variable.removeprefix(PREFIX)
            if name == variable or variable == FILE_VARIABLE or _NOT_OURS.fullmatch(name):
                continue
            if name == "PORT" and "://" in value:
                continue  # Kubernetes again: TAXII_SERVER_PORT=tcp://10.0.0.7:6100
            self._take_variable(variable, name.lower().split("__"), value)

    def _take_variable(self, variable: str, path: list[str], value: str) -> None:
        rows = rows_of(ApiRoot)
        if len(path) == 1 and path[0] in ROWS:
            self._take(ROWS[path[0]], value, variable, variable)
        elif len(path) == 1 and path[0].removesuffix(_FILE) in ROWS:
            self._take_secret(variable, path[0].removesuffix(_FILE), value)
        elif len(path) == 3 and path[0] == "api_roots" and path[2] in rows:
            self.roots.setdefault(path[1], {})[path[2]] = rows[path[2]].kind.parse(value)
        else:
            known = [PREFIX + name.upper() for name in ROWS]
            self.problems.append(Problem("environment", "", unknown("variable", variable, known)))

    def _take_secret(self, variable: str, name: str, file: str) -> None:
        """The value from a file, as containers get their secrets: its one line, without the end of the line."""
        if self.sources[name] == PREFIX + name.upper():
            message = f"{PREFIX}{name.upper()} is set as well; take one of the two away"
            self.problems.append(Problem("environment", variable, message))
            return
        try:
            text = Path(file).read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(Problem("environment", variable, f"{file}: cannot be read: {why_unreadable(error)}"))
        else:
            self._take(ROWS[name], text, variable, variable)

    def take_flags(self, flags: Mapping[str, object]) -> None:
        for name, value in flags.items():
            flag = "--" + name.replace("_", "-")
            if name not in ROWS:
                self.problems.append(Problem("command line", "", unknown("setting", name, ROWS)))
            elif value is not None:
                self._take(ROWS[name], value, f"flag {flag}", flag)

    def _take(self, row: Row, value: object, source: str, key: str) -> None:
        """A value from outside the file: text is parsed, a path is relative to where one stands."""
        found: dict[str, Any] = {}
        given = row.kind.parse(value) if isinstance(value, str) else value
        file = "command line" if key.startswith("--") else "environment"
        self.problems += read_value(row, given, found, file, key)
        for name, each in found.items():
            self._set(name, each, source, Path.cwd())

    def _set(self, name: str, value: object, source: str, base: Path) -> None:
        self.values[name] = value
        self.sources[name] = source
        if name in _PATHS:
            self._anchor(name, base)

    def _anchor(self, name: str, base: Path) -> None:
        value = str(self.values[name])
        if name == "store" and value.lower().startswith(_SQLITE):
            value = value[len(_SQLITE) :]  # three slashes and a relative path, four and an absolute one
        # What is no path is not made one: the store says which kinds it knows.
        if value and not (name in ("store", "oidc_jwks") and is_url(value)):
            self.values[name] = str(_absolute(base, value))

    def settings(self) -> Settings:
        roots, problems = read_api_roots(self.roots, self.file_name)
        self.problems += problems
        if self.values["default_page"] > self.values["max_page"]:
            if self.sources["default_page"] != "default":
                self.problems.append(
                    Problem(
                        self.file_name,
                        "default_page",
                        f"{self.values['default_page']} is more than max_page ({self.values['max_page']})",
                    )
                )
            self.values["default_page"] = self.values["max_page"]
        if self.values["metrics_port"] == self.values["port"]:
            message = f"{self.values['port']} is the port of the server itself (port); choose another one"
            self.problems.append(Problem(self.file_name, "metrics_port", message))
        self.problems += [*self._incomplete_oidc(), *self._open_secrets()]
        if self.problems:
            raise ConfigError(self.problems)
        return Settings(
            **self.values,
            api_roots=roots,
            file=self.file,
            folder=self.folder,
            sources=MappingProxyType(self.sources),
        )

    def _incomplete_oidc(self) -> list[Problem]:
        """Without one of these, the tokens of strangers would do: of any issuer, or meant for somebody else."""
        if not self.values["auth_oidc"]:
            return []
        return [
            Problem(self.file_name, name, f"missing, and auth_oidc needs it: {first_sentence(ROWS[name].help)}")
            for name in ("oidc_issuer", "oidc_audiences", "oidc_jwks")
            if not self.values[name]
        ]

    def _open_secrets(self) -> list[Problem]:
        """A server.toml with a password in it is not for everybody on this machine."""
        store = self.values["store"]
        if self.file is None or self.sources["store"] != self.file_name or masked(store) == store:
            return []
        if not self.values["check_file_modes"]:
            return []
        return world_readable(self.file, "there is a password in it", "store")


def read_api_roots(values: Mapping[str, object], file: str) -> tuple[Mapping[str, ApiRoot], list[Problem]]:
    """The API roots of the `api_roots` table, in their order, and everything wrong with them."""
    roots: dict[str, ApiRoot] = {}
    problems: list[Problem] = []
    for name, raw in values.items():
        key = join_key("api_roots", name)
        if name in RESERVED:
            problems.append(Problem(file, key, f"'{name}' is a path of the server itself; choose another name"))
        elif not is_name(name):
            problems.append(Problem(file, key, "the name of an API root is one path segment: a-z, 0-9, - and _"))
        found, wrong = read_table(ApiRoot, raw, file, key, above=ROWS)
        problems += wrong
        if not wrong:
            roots[name] = ApiRoot(name=name, **found)
    problems += _clashing_paths(roots, file)
    if not values:
        problems.append(Problem(file, "api_roots", "declare at least one, such as [api_roots.hub] with a title"))
    return MappingProxyType(roots), problems


def _clashing_paths(roots: Mapping[str, ApiRoot], file: str) -> list[Problem]:
    """Paths that stand for something else already: another root, or the server itself."""
    problems = []
    taken: dict[str, str] = {}
    for name, root in roots.items():
        if not root.path:
            continue
        first, _, rest = root.path.partition("/")
        if first in roots and (rest or first != name):
            message = f"'/{root.path}/' lies below the API root '{first}'; choose a path of its own"
        elif first in RESERVED and not (first == "taxii2" and _UUID.fullmatch(rest)):
            message = f"'/{first}/' belongs to the server itself; below it only taxii2/UUID can be an API root"
        elif root.path in taken:
            message = f"is the path of '{taken[root.path]}' already"
        else:
            taken[root.path] = name
            continue
        problems.append(Problem(file, join_key(join_key("api_roots", name), "path"), message))
    return problems


def why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Why a file cannot be read, for the operator."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text (byte {error.start})"
    return (error.strerror or str(error)).lower()


def _absolute(base: Path, path: str | Path) -> Path:
    """Without `..`, and without following links: a mounted configuration is often a link into elsewhere."""
    return Path(os.path.normpath(Path.cwd() / base / path))
