"""docs/operations.md, the alerts and the dashboard say what the code has, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from taxii_server.audit import EVENTS
from taxii_server.metering import metrics
from tests.unit.docs import operations_page
from tests.unit.docs.test_docs import ROOT

TEXT = operations_page.PAGE.read_text(encoding="utf-8")
NAMES = {metric.name for metric in metrics()}


def named(text: str) -> set[str]:
    """The metrics that a text names, without what Prometheus puts behind the name of a histogram."""
    found = set(re.findall(r"\btaxii_[a-z0-9_]+\b", text))
    return {name if name in NAMES else re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


def test_the_tables_are_written_from_the_code() -> None:
    """`python -m tests.unit.docs.operations_page` writes them anew."""
    assert operations_page.page(TEXT) == TEXT


def test_every_metric_that_the_page_names_exists() -> None:
    assert named(TEXT) - {"taxii_server"} == NAMES


# ---- the log


def recorded() -> Iterator[tuple[str, set[str]]]:
    """Every event that the code records, with the facts that are named where it is."""
    for file in (ROOT / "taxii_server").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name in ("audit.record", "self._record", "_record") and node.args:  # type: ignore[attr-defined]
                event = node.args[0]  # type: ignore[attr-defined]
                if isinstance(event, ast.Constant):
                    yield event.value, {word.arg for word in node.keywords if word.arg}  # type: ignore[attr-defined]


def test_every_event_of_the_log_is_in_the_table_with_its_facts() -> None:
    found = list(recorded())
    assert {event for event, _ in found} == EVENTS.keys()
    for event, facts in found:
        assert facts <= set(EVENTS[event][1]), event


# ---- probes


def test_every_url_for_machines_is_on_the_page_and_no_other() -> None:
    code = "".join((ROOT / "taxii_server/web" / name).read_text(encoding="utf-8") for name in ("ops.py", "metrics.py"))
    served = set(re.findall(r'@blueprint\.get\("(/\w+)"\)', code))
    assert served == {"/healthz", "/livez", "/readyz", "/metrics"}
    assert {path for path in re.findall(r"`(?:GET )?(/\w+)`", TEXT) if path.endswith(("z", "metrics"))} == served
