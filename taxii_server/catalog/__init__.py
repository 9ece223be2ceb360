"""All that operators declare: partners, rules and collections, as one frozen catalog made from texts."""

from taxii_server.catalog.filed import FILED, LOCAL_ID, ReleaseEntry, read_releases, with_filed, with_releases
from taxii_server.catalog.load import read_files
from taxii_server.catalog.parse import (
    check_catalog,
    check_settings,
    digest_of,
    parse_catalog,
)
from taxii_server.catalog.schema import Catalog, Collection, Limits, Rights
from taxii_server.catalog.template import collection_text

__all__ = [
    "FILED",
    "LOCAL_ID",
    "Catalog",
    "Collection",
    "Limits",
    "ReleaseEntry",
    "Rights",
    "check_catalog",
    "check_settings",
    "collection_text",
    "digest_of",
    "parse_catalog",
    "read_files",
    "read_releases",
    "with_filed",
    "with_releases",
]
