"""From what an operator names to the store of an old server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from taxii_server.migrate import medallion
from taxii_server.migrate.medallion import Config
from taxii_server.migrate.medallion_file import MedallionFile, read_json
from taxii_server.migrate.medallion_mongo import MedallionMongo
from taxii_server.migrate.old import Source, SourceError
from taxii_server.migrate.opentaxii import OpenTaxii

_MONGODB = ("mongodb://", "mongodb+srv://")


def open_medallion(source: str, users: Path | None = None) -> Source:
    """medallion's store, named by its configuration file, by its data file, or by the URL of its MongoDB.

    `users`: the configuration file, where `source` is not it. Raises SourceError.
    """
    config = None if users is None else _config(users)
    if source.startswith(_MONGODB):
        return MedallionMongo(source, config)
    file = Path(source)
    document = read_json(file)
    if not medallion.is_config(document):
        return MedallionFile(document, file, config)
    own = _config(file) if config is None else config
    where = _config(file)
    if where.uri is not None:
        return MedallionMongo(where.uri, own)
    if where.filename is not None:
        return MedallionFile(read_json(where.filename), where.filename, own)
    raise SourceError(
        f"{file}: its backend has neither a filename nor a uri: medallion then keeps everything in memory, and nothing "
        "is left when it ends. While it runs, its objects can be had over HTTP only"
    )


def open_opentaxii(source: str, accounts: str | None = None) -> Source:
    """OpenTAXII's database by URL, and that of its accounts where it is another one. Raises SourceError."""
    return OpenTaxii(source, accounts)


def _config(file: Path) -> Config:
    document = read_json(file)
    if not isinstance(document, Mapping) or not medallion.is_config(document):
        raise SourceError(f"{file}: not a configuration of medallion: neither 'backend' nor 'users' is in it")
    return medallion.read_config(document, file)
