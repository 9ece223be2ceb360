"""docs/operations.md, the alerts and the dashboard say what the code has, and nothing else."""

from __future__ import annotations

import re

from taxii_server.metering import metrics
from tests.unit.docs import metrics_table

TEXT = metrics_table.PAGE.read_text(encoding="utf-8")
NAMES = {metric.name for metric in metrics()}


def named(text: str) -> set[str]:
    """The metrics that a text names, without what Prometheus puts behind the name of a histogram."""
    found = set(re.findall(r"\btaxii_[a-z0-9_]+\b", text))
    return {name if name in NAMES else re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


def test_the_table_of_metrics_is_written_from_the_code() -> None:
    """`python -m tests.unit.docs.metrics_table` writes it anew."""
    assert metrics_table.page(TEXT) == TEXT


def test_every_metric_that_the_page_names_exists() -> None:
    assert named(TEXT) - {"taxii_server"} == NAMES
