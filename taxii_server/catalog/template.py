"""The file of a collection as text: for `_template.toml`, and for whoever makes a new one by command."""

from __future__ import annotations

from taxii_server.catalog.schema import Collection, Limits
from taxii_server.settings.rows import example_of, wrapped


def collection_text(**values: object) -> str:
    """A commented collection file with every key; those given, and those that most collections need, are set."""
    return (
        wrapped(
            "A collection. The name of this file is the name by which rules and other collections refer to it. Copy it "
            "to <name>.toml, give it an id of its own, and take out the comments that you no longer need."
        )
        + example_of(Collection, **values)
        + "\n"
        + wrapped("Limits stricter than those of the server.")
        + "[limits]\n"
        + example_of(Limits).lstrip("\n")
    )
