"""Every file of real data goes in and comes out as it was; what the OASIS schemas refuse is listed here."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from taxii_server.errors import InvalidObject
from taxii_server.stix.parse import Item, read_envelope
from taxii_server.stix.traits import read_traits
from taxii_server.stix.validate import Checked, Strictness, read_object

DATA = Path(os.environ.get("TAXII_TEST_DATA", "/work/shared/data"))
FILES = sorted(path.relative_to(DATA).as_posix() for path in DATA.glob("*/*.json*"))
BOTH = frozenset({"2.0", "2.1"})

pytestmark = pytest.mark.skipif(not FILES, reason=f"no data in {DATA}")

UPPER_CASE_ID = (
    "id: 'relationship--81f12913-1372-4c96-85ec-E9034ac98aba' is not the form relationship--UUID"
    " with a UUID in lower case"
)
NO_NAME = "name: the property is missing; the OASIS schema requires it"
TLP_CLEAR = 'definition.tlp: "clear" is not one of "white"'
NOT_BASE64 = 'does not match "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$"'

#: Not accepted even by "structure": an upper-case UUID in an example of OASIS. Ids compare as text everywhere, so
#: a second spelling of one id would be a way around everything that is decided by id.
REFUSED_BY_STRUCTURE = {"oasis/infrastructure.json": [UPPER_CASE_ID]}

REFUSED_BY_SCHEMA = REFUSED_BY_STRUCTURE | {
    **{
        f"markings/elevator-ais-marking-{color}-{consent}-{proprietary}.json": [NO_NAME]  # a report without a name
        for color in "agw"
        for consent in "enu"
        for proprietary in "ft"
    },
    "oasis/sco-examples.json": [
        f'payload_bin: "VBORw0KGgoAAAANSUhEUgAAADI== ..." {NOT_BASE64}',
        f'payload_bin: "VBORw0KGgoAAAANSUhEUgAAADI== ..." {NOT_BASE64}',
        f'payload_bin: "ZX7HIBWPQA99NSUhEUgAAADI== ..." {NOT_BASE64}',
    ],
    "vendors/atlas-AMLCS0018.json": [TLP_CLEAR],
    "vendors/atlas-AMLCS0019.json": [TLP_CLEAR],
}


def _body(name: str) -> bytes:
    """The bytes of the file; a bare list or a single object gets an envelope around it."""
    path = DATA / name
    body = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    root = json.loads(body)
    if isinstance(root, list):
        return b'{"objects":' + body + b"}"
    return body if "objects" in root else b'{"objects":[' + body + b"]}"


def _exact(text: bytes) -> Any:
    """The JSON value with the order of members and the text of numbers."""
    return json.loads(
        text, object_pairs_hook=tuple, parse_int=lambda digits: (digits,), parse_float=lambda digits: (digits,)
    )


def _read_all(items: list[Item], strictness: Strictness) -> tuple[list[Checked], list[str]]:
    checked, refused = [], []
    for item in items:
        try:
            checked.append(read_object(item, strictness, BOTH, "tester"))
        except InvalidObject as error:
            refused.append(str(error))
    return checked, sorted(refused)


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_file_goes_in_and_comes_out_as_it_was(file: str) -> None:
    body = _body(file)
    items = read_envelope(body)
    posted = dict(_exact(body))["objects"]
    assert [_exact(item.raw) for item in items] == posted

    checked, refused = _read_all(items, "structure")
    assert refused == sorted(REFUSED_BY_STRUCTURE.get(file, []))
    for each in checked:
        assert each.version_key is None or each.version is not None
        assert set(each.hard_refs).isdisjoint(each.soft_refs)
        traits = read_traits(each.value, collection="c", submitter="s", spec_version=each.spec_version)
        assert (traits.id, traits.type) == (each.id, each.type)

    checked_by_schema, refused = _read_all(items, "schema")
    assert refused == sorted(REFUSED_BY_SCHEMA.get(file, []))
    assert {each.digest for each in checked_by_schema} <= {each.digest for each in checked}


def test_the_data_is_the_one_that_the_lists_above_speak_of() -> None:
    assert len(FILES) == 54
    assert set(REFUSED_BY_SCHEMA) <= set(FILES)
    assert sum(map(len, REFUSED_BY_SCHEMA.values())) == 24
