"""The meter of the metrics: what is handed over is what is told, also of processes that are gone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from taxii_server import metering
from taxii_server.metering import NO_METER, Metric
from taxii_server.telemetry import prometheus
from taxii_server.telemetry.prometheus import PrometheusMeter, open_meter
from tests.patching import but_for

COUNT = Metric("taxii_test_total", "counter", "A counter.", ("who",))
SIZE = Metric("taxii_test_size", "histogram", "A histogram.", buckets=(1.0, 2.0, 4.0))
OPEN = Metric("taxii_test_open", "gauge", "A gauge that is added up.")
WHEN = Metric("taxii_test_when", "gauge", "The newest.", mode="mostrecent")
WORST = Metric("taxii_test_worst", "gauge", "The largest.", mode="livemax")


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[PrometheusMeter]:
    made = open_meter(tmp_path)
    yield made
    made.remove()


def told(meter: PrometheusMeter) -> dict[str, float]:
    """Every sample with its labels, as a scraper reads it."""
    text, _ = meter.exposition("text/plain")
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def in_a_process(meter: PrometheusMeter, count: float, gauge: float) -> int:
    """Another process that counts and dies at once, as from SIGKILL; its id."""
    pid = os.fork()
    if not pid:
        try:
            meter.count(COUNT, count, "a")
            meter.observe(SIZE, count)
            for metric in (OPEN, WHEN, WORST):
                meter.set(metric, gauge)
            meter.flush()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_what_is_handed_over_is_told(meter: PrometheusMeter) -> None:
    meter.count(COUNT, 2, "a")
    meter.count(COUNT, 1, "b")
    meter.count(COUNT, 3, "a")
    meter.set(OPEN, 5)
    meter.set(OPEN, 4)
    assert meter.is_waiting()
    found = told(meter)
    assert not meter.is_waiting()
    assert found["taxii_test_total who=a"] == 5
    assert found["taxii_test_total who=b"] == 1
    assert found["taxii_test_open"] == 4


def test_values_that_came_together_are_counted_as_one_by_one(tmp_path: Path) -> None:
    """In processes of their own: prometheus-client has one folder for each."""
    numbers = [0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 4.5, 100.0]
    found = []
    for together in (True, False):
        meter = open_meter(tmp_path)
        pid = os.fork()
        if not pid:
            for number in numbers:
                meter.observe(SIZE, number)
                if not together:
                    meter.flush()
            meter.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        found.append(told(meter))
        meter.remove()
    assert found[0] == found[1]
    assert found[0]["taxii_test_size_count"] == len(numbers)
    assert found[0]["taxii_test_size_sum"] == sum(numbers)
    assert found[0]["taxii_test_size_bucket le=2.0"] == 4


def test_processes_are_added_up_and_the_dead_keep_their_counts_but_not_their_gauges(meter: PrometheusMeter) -> None:
    pids = [in_a_process(meter, count, gauge) for count, gauge in ((1, 10), (2, 20), (4, 5))]
    before = told(meter)
    assert before["taxii_test_total who=a"] == 7
    assert before["taxii_test_open"] == 35
    assert before["taxii_test_worst"] == 20
    assert before["taxii_test_when"] == 5
    for pid in pids[1:]:
        meter.bury(pid)
    after = told(meter)
    assert after["taxii_test_total who=a"] == 7
    assert {key: value for key, value in after.items() if "size" in key} == {
        key: value for key, value in before.items() if "size" in key
    }
    assert after["taxii_test_open"] == 10
    assert after["taxii_test_worst"] == 10
    assert after["taxii_test_when"] == 5, "the newest value stays"


def test_the_files_of_the_dead_do_not_add_up(meter: PrometheusMeter) -> None:
    for _ in range(3):
        meter.bury(in_a_process(meter, 1, 1))
    names = sorted(file.name for file in meter.folder.glob("*.db"))
    assert names == ["counter_dead.db", "gauge_mostrecent_dead.db", "histogram_dead.db"]
    assert told(meter)["taxii_test_total who=a"] == 3


def test_a_reader_is_not_disturbed_and_the_dead_are_merged_later(meter: PrometheusMeter) -> None:
    first = in_a_process(meter, 1, 1)
    import fcntl

    with meter._merging(fcntl.LOCK_SH):
        meter.bury(first)
        assert (meter.folder / f"counter_{first}.db").exists()
    second = in_a_process(meter, 1, 1)
    meter.bury(second)
    assert told(meter)["taxii_test_total who=a"] == 2
    assert not (meter.folder / f"counter_{first}.db").exists()


def test_a_folder_that_a_killed_server_left_is_removed_and_one_in_use_stays(tmp_path: Path) -> None:
    used = open_meter(tmp_path)
    left = open_meter(tmp_path)
    assert left._owner is not None
    os.close(left._owner)  # as the kernel does for a process that is killed
    strange = tmp_path / "taxii-server-metrics-strange"
    strange.mkdir()
    other = open_meter(tmp_path)
    assert used.folder.exists()
    assert strange.exists()
    assert not left.folder.exists()
    for meter in (used, other):
        meter.remove()
        assert not meter.folder.exists()


def test_a_full_disk_costs_numbers_and_nothing_else(
    meter: PrometheusMeter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(prometheus, "os", but_for(os, posix_fallocate=full))
        for _ in range(2):
            meter.count(COUNT, 1, "a")
            meter.flush()
        assert not meter.is_waiting()
    assert caplog.text.count("No space left") == 1, "said once"
    meter.count(COUNT, 1, "a")
    assert told(meter)["taxii_test_total who=a"] == 1
    assert all(file.stat().st_blocks * 512 >= file.stat().st_size for file in meter.folder.glob("*.db"))


def test_a_file_that_is_being_made_is_no_fault_for_who_reads(
    meter: PrometheusMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker counts for the first time while another one answers: that answer was a 500."""
    seen: list[object] = []

    def allocate(handle: int, start: int, size: int) -> None:
        seen.append(meter.read())
        os.posix_fallocate(handle, start, size)

    monkeypatch.setattr(prometheus, "os", but_for(os, posix_fallocate=allocate))
    meter.count(COUNT, 1, "a")
    assert told(meter)["taxii_test_total who=a"] == 1
    assert seen == [[]]


def test_a_folder_that_somebody_removed_ends_neither_a_worker_nor_its_parent(meter: PrometheusMeter) -> None:
    meter.remove()
    meter.count(COUNT, 1, "a")
    meter.flush()
    meter.bury(1 << 21)


def test_openmetrics_is_served_to_whoever_asks_for_it(meter: PrometheusMeter) -> None:
    meter.count(COUNT, 1, "a")
    text, content_type = meter.exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_without_metrics_nothing_is_kept() -> None:
    NO_METER.count(COUNT, 1, "a")
    NO_METER.observe(SIZE, 1)
    assert not NO_METER.is_waiting()


def test_names_are_as_prometheus_wants_them() -> None:
    every = list(metering.metrics())
    assert len({metric.name for metric in every}) == len(every) > 30
    for metric in every:
        assert re.fullmatch(r"taxii_[a-z0-9_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert bool(metric.buckets) == (metric.kind == "histogram"), metric.name
        assert metric.help.endswith("."), metric.name
