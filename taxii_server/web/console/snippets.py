"""What to type into a client to fetch one collection. The secret is never in it: the server does not know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taxii_server.web.media import TAXII

#: Where the secret goes.
SECRET = "YOUR-TOKEN"  # noqa: S105 - a place holder


@dataclass(frozen=True, slots=True)
class Place:
    """A collection and who fetches it: `base` is the URL of the server without a slash at its end."""

    base: str
    api_root: str
    collection: str
    title: str
    partner: str

    @property
    def root_url(self) -> str:
        return f"{self.base}/{self.api_root}/"

    @property
    def url(self) -> str:
        return f"{self.root_url}collections/{self.collection}/"


@dataclass(frozen=True, slots=True)
class Snippet:
    """One client: rows for its form, or lines for a shell or program, or both. `note` says what to know."""

    name: str
    key: str
    note: str = ""
    rows: Sequence[tuple[str, str]] = ()
    code: str = ""


def snippets(place: Place) -> list[Snippet]:
    """One for each client that partners of such hubs use; docs/partners.md has more, and what was tried."""
    login = (("User name", place.partner), ("Password", SECRET))
    return [
        Snippet(
            "curl",
            "curl",
            "The answer names a next page while there is more; send that as ?next= to go on.",
            code=_curl(place),
        ),
        Snippet(
            "taxii2-client",
            "taxii2-client",
            "Python; what most clients are built on: pip install taxii2-client",
            code=_python(place),
        ),
        Snippet(
            "OpenCTI",
            "opencti",
            "Data > Ingestion > TAXII feeds. It fetches one page a run, so a first copy takes some runs.",
            rows=(
                ("TAXII server URL", place.root_url.rstrip("/")),
                ("TAXII version", "TAXII 2.1"),
                ("TAXII collection", place.collection),
                ("Authentication type", "Basic user / password"),
                *login,
            ),
        ),
        Snippet(
            "MISP",
            "misp",
            "MISP pushes to TAXII 2.1 servers and does not poll them: fetch a page, bundle it, import that.",
            code=_misp(place),
        ),
        Snippet(
            "Microsoft Sentinel",
            "sentinel",
            "Data connectors > Threat intelligence - TAXII. The hub has to be reachable from the internet.",
            rows=(
                ("Friendly name", place.title),
                ("API root URL", place.root_url),
                ("Collection ID", place.collection),
                *login,
            ),
        ),
        Snippet(
            "Splunk Enterprise Security",
            "splunk",
            "Configure > Data enrichment > Threat intelligence management (from 8.2 on); the password is kept apart.",
            rows=(
                ("URL", place.root_url),
                ("Collection", place.collection),
                *login,
            ),
        ),
    ]


def _curl(place: Place) -> str:
    return f"curl -s -u '{place.partner}:{SECRET}' \\\n  -H 'Accept: {TAXII}' \\\n  '{place.url}objects/?limit=100'\n"


def _python(place: Place) -> str:
    return (
        "from taxii2client.v21 import Collection, as_pages\n\n"
        "collection = Collection(\n"
        f'    "{place.url}",\n'
        f'    user="{place.partner}",\n'
        f'    password="{SECRET}",\n'
        ")\n"
        "for page in as_pages(collection.get_objects, per_request=100):\n"
        '    for stix in page.get("objects", []):\n'
        '        print(stix["type"], stix.get("name", stix["id"]))\n'
    )


def _misp(place: Place) -> str:
    return (
        f"{_curl(place).rstrip()} \\\n"
        '  | jq \'{type: "bundle", id: ("bundle--" + $id), objects: .objects}\' --arg id "$(uuidgen)" > page.json\n'
        "# then in MISP: Import from... > STIX 2.x, or its REST endpoint /events/upload_stix/2\n"
    )
