"""Every row of the project's TAXII 2.1 checklist is named by a test, or stands below with the reason why none can be.

A row is named in the comment above a test, in the docstring of its file, or in `rows` of a case. The rows of the
checklist's first part (TLS) are the proxy's and the server process's, and have their tests there.
"""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).parent

#: How many rows each section of the checklist has.
ROWS = {
    "AUTH": 14, "CN": 23, "EP": 23, "TYPE": 12, "ERR": 8, "HDR": 9, "DISC": 14, "ROOT": 10, "STAT": 22, "COLS": 10,
    "COL": 14, "MAN": 16, "OBJG": 17, "ADD": 33, "OBJ1": 13, "DEL": 17, "VERS": 11, "FLT": 9, "AFT": 10, "LIM": 9,
    "NXT": 10, "MID": 2, "MTY": 4, "MVR": 15, "MSV": 7, "PAG": 16, "VER": 8, "CUS": 8, "POL": 13, "SRV": 2, "CONF": 2,
}  # fmt: skip
_ROW = re.compile(rf"\b(?:{'|'.join(ROWS)})-\d\d\b")

ELSEWHERE = {
    "EP-22": "Date is written by the HTTP server: tests/e2e",
    "DISC-12": "roots on other servers: a MAY that this server does not have",
    "COLS-02": "a client without collections does not see the API root: 404 (test_collections.py, test_api_root.py)",
    "DEL-14": "what a collection keeps for some time only: tests/service/test_retention.py",
    "PAG-07": "writers beside pollers on several processes: tests/storage and tests/e2e",
    "CUS-05": "a matter of review; this server adds no property of its own",
    "SRV-01": "a zone file belongs to the operator's documentation",
    "SRV-02": "a zone file belongs to the operator's documentation",
}


def _named() -> set[str]:
    files = [*_HERE.glob("*.py"), *(_HERE.parent / "cases/taxii").glob("*.toml")]
    texts = [file.read_text() for file in files if file != Path(__file__)]
    return {row for text in texts for row in _ROW.findall(text)}


def test_every_row_is_named_by_a_test_or_has_a_reason() -> None:
    rows = {f"{section}-{number:02}" for section, count in ROWS.items() for number in range(1, count + 1)}
    named = _named()
    assert not sorted(rows - named - ELSEWHERE.keys())
    assert not sorted((named | ELSEWHERE.keys()) - rows)
    assert not sorted(named & ELSEWHERE.keys())
