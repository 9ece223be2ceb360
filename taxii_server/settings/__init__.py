"""The settings of one server: one table of rows, read from default < server.toml < environment < flag.

Partners, collections and rules are not settings: they are the catalog, which a reload swaps while the server
runs. What stands here is read once, at the start. The API roots are declared here, next to the address of the
server, and travel into the catalog.
"""

from taxii_server.settings.load import FILE_VARIABLE, PREFIX, default_file, load, read_api_roots, why_unreadable
from taxii_server.settings.private import world_readable, world_readable_database
from taxii_server.settings.show import Shown, api_roots_text, example_text, masked, show
from taxii_server.settings.sources import ALGORITHMS, is_safe_url, is_url
from taxii_server.settings.table import RESERVED, ROWS, ApiRoot, Settings, is_mongodb

__all__ = [
    "ALGORITHMS",
    "FILE_VARIABLE",
    "PREFIX",
    "RESERVED",
    "ROWS",
    "ApiRoot",
    "Settings",
    "Shown",
    "api_roots_text",
    "default_file",
    "example_text",
    "is_mongodb",
    "is_safe_url",
    "is_url",
    "load",
    "masked",
    "read_api_roots",
    "show",
    "why_unreadable",
    "world_readable",
    "world_readable_database",
]
