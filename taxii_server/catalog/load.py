"""The texts of the catalog, from the files beside server.toml.

Read again until twice the same is found: several files belong together, and whoever changes them writes one after the
other. Halfway through, a collection may name a partner that is not there yet.

Texts, not objects, are what travels: they are kept in the store, so that every worker and every machine parses
the same ones, and a folder that is being edited changes nothing until it is applied.
"""

from __future__ import annotations

from pathlib import Path

from taxii_server.catalog.parse import API_ROOTS_FILE, COLLECTIONS, CONFIG
from taxii_server.errors import ConfigError, Problem
from taxii_server.settings import Settings, api_roots_text, why_unreadable

#: Whoever saves files without end gets them as they were read last.
_LOOKS_MAX = 10


def read_files(settings: Settings) -> dict[str, str]:
    """File name -> text: the API roots, the config files, then the collections by name, all as of one moment.

    Names begin with config/ or collections/ wherever those folders stand, so that the same configuration has
    the same digest everywhere. Raises ConfigError with every file that cannot be read.
    """
    found = _look(settings)
    for _ in range(_LOOKS_MAX):
        before, found = found, _look(settings)
        if found == before:
            break
    files, problems = found
    if problems:
        raise ConfigError(problems)
    return files


def _look(settings: Settings) -> tuple[dict[str, str], list[Problem]]:
    """The files, and what is wrong with those that cannot be read."""
    problems: list[Problem] = []
    files = {API_ROOTS_FILE: api_roots_text(settings.api_roots)}
    for name in settings.config_files:
        _read(settings.folder / name, CONFIG + name, files, problems)
    for path in _collection_files(Path(settings.collections_dir), problems):
        _read(path, COLLECTIONS + path.name, files, problems)
    return files, problems


def _collection_files(folder: Path, problems: list[Problem]) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        problems.append(Problem(str(folder), "", f"collections_dir cannot be read: {why_unreadable(error)}"))
        return []
    return [path for path in entries if path.suffix == ".toml" and not path.name.startswith(("_", "."))]


def _read(path: Path, name: str, files: dict[str, str], problems: list[Problem]) -> None:
    try:
        # Editors on Windows write a byte order mark, which TOML does not know.
        files[name] = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(name, "", f"cannot be read: {why_unreadable(error)} ({path})"))
