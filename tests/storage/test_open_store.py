"""Which store a URL names."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from taxii_server.errors import ConfigError
from taxii_server.storage import open_store
from taxii_server.storage.sqlite import SQLiteStore


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("hub.db", "{cwd}/hub.db"),
        ("data/hub.db", "{cwd}/data/hub.db"),
        ("./odd:name.db", "{cwd}/odd:name.db"),
        ("{cwd}/absolute.db", "{cwd}/absolute.db"),
        ("sqlite:///hub.db", "{cwd}/hub.db"),
        ("sqlite:///{cwd}/absolute.db", "{cwd}/absolute.db"),
        ("SQLite:///hub.db", "{cwd}/hub.db"),
    ],
)
def test_a_path_or_an_sqlite_url_is_a_file(
    url: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with closing(open_store(url.format(cwd=tmp_path))) as store:
        assert isinstance(store, SQLiteStore)
        assert list(tmp_path.rglob("*.db")) == [], "opening makes nothing"
        store.prepare()
    assert list(tmp_path.rglob("*.db")) == [Path(file.format(cwd=tmp_path))]


def test_a_mongodb_url_is_a_mongodb() -> None:
    for url in ("mongodb://127.0.0.1:1/hub", "MongoDB://127.0.0.1:1/hub"):
        with closing(open_store(url)) as store:
            assert type(store).__name__ == "MongoStore"


@pytest.mark.parametrize(
    "url", ["postgres://u:secret@h/d", "mongo://u:secret@h", "http://h", "sqlite:hub.db", "sqlite://h/hub.db"]
)
def test_anything_else_is_refused_with_what_is_known_and_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///.*mongodb://") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
    assert [problem.key for problem in caught.value.problems] == ["store"]


@pytest.mark.parametrize("url", ["", ":memory:", "sqlite:///", "sqlite:///:memory:", "a\0b"])
def test_a_store_needs_a_file(url: str) -> None:
    with pytest.raises(ConfigError, match="path of a file"):
        open_store(url)
