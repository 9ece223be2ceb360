"""The short form of `python -m tests.fuzz --only corpus`: every hostile body once, against a real server."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests.e2e.server import running
from tests.fuzz.corpus import LIMIT_BYTES, corpus
from tests.fuzz.siege import Siege, growth, mutations
from tests.mongo import with_database
from tests.world import COLLECTIONS, World, world

#: A worker that has answered all of them has held at most this much more than before.
PEAK_KB = 500_000
#: What one round of the smaller bodies may leave in Python's memory: labels of new markings, and whatever is remembered
#: of requests. A body that stayed would be more.
GROWTH_BYTES = 300_000


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def siege(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    store = None
    if request.param == "mongodb":
        uri = request.getfixturevalue("mongo_uri")
        name = f"taxii_fuzz_{uuid.uuid4().hex[:16]}"
        store = with_database(uri, name)
    folder = tmp_path_factory.mktemp("siege")
    with running(folder, store, workers=1, collections=COLLECTIONS, max_content_length=LIMIT_BYTES) as server:
        yield Siege(server)
    if store is not None:
        with MongoClient[dict[str, object]](uri) as client:
            client.drop_database(name)


def test_every_hostile_body_ends_as_it_should_and_harms_nothing(siege: Siege) -> None:
    # On MongoDB the store is what differs: bodies that never reach it are sent to SQLite's server alone.
    stored_only = siege.server.store.startswith("mongodb")
    before, workers = siege.memory_kb(), siege.server.workers()
    wrong = []
    for hostile in corpus():
        if stored_only and (hostile.heavy or hostile.status != 202):
            continue
        try:
            siege.send(hostile)
        except AssertionError as error:
            wrong.append(f"{hostile.name}: {error}")
    assert not wrong, "\n".join(wrong)
    siege.require_unharmed()
    assert siege.server.workers() == workers, "no worker fell"
    assert siege.peak_kb() - before < PEAK_KB


def test_every_odd_framing_is_refused_and_harms_nothing(siege: Siege) -> None:
    siege.send_frames()
    siege.require_unharmed()
    assert "Traceback" not in siege.server.stderr()


def test_bodies_with_changed_bytes_are_taken_whole_or_refused(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        answers = mutations(made, range(400))
    assert set(answers) == {202, 422}, answers


def test_nothing_of_a_refused_body_stays_in_memory(tmp_path: Path) -> None:
    with world(tmp_path, max_content_length=LIMIT_BYTES) as made:
        assert growth(made, rounds=1) < GROWTH_BYTES


def test_the_corpus_is_the_same_for_everybody() -> None:
    names = Counter(hostile.name for hostile in corpus())
    assert max(names.values()) == 1, names.most_common(3)
    assert len(names) > 300
    assert len({hostile.status for hostile in corpus()}) == 4


def test_a_server_that_takes_what_is_no_json_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path) as made:
        monkeypatch.setattr(World, "post", lambda self, body: _Taken())
        with pytest.raises(AssertionError, match="taken, and no JSON"):
            mutations(made, range(400))


class _Taken:
    status_code = 202
    text = ""
