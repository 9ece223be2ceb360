"""From files to texts: what is read, under which name, and what is said about a file that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taxii_server.catalog import load as load_module
from taxii_server.catalog import parse_catalog, read_files
from taxii_server.errors import ConfigError
from taxii_server.settings import Settings, load

from . import texts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The small configuration as files."""
    return write(tmp_path, texts.small())


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def settings(folder: Path) -> Settings:
    return load(folder / "config/server.toml", {})


def refused(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_files(settings(folder))
    return str(caught.value)


def test_texts_read_from_files_give_the_same_catalog_as_the_texts_themselves(folder: Path) -> None:
    found = parse_catalog(read_files(settings(folder)))
    expected = parse_catalog(texts.small())
    assert found.collections == expected.collections
    assert found.api_roots == expected.api_roots
    assert found.policy.digest == expected.policy.digest


def test_texts_that_travelled_need_no_files_and_have_the_same_digest(folder: Path, tmp_path: Path) -> None:
    files = read_files(settings(folder))
    elsewhere = write(tmp_path / "elsewhere", {**texts.small()})
    assert read_files(settings(elsewhere)) == files
    assert parse_catalog(dict(files)).digest == parse_catalog(read_files(settings(elsewhere))).digest


def test_nothing_of_server_toml_but_its_api_roots_goes_into_the_catalog(folder: Path) -> None:
    file = folder / "config/server.toml"
    file.write_text('store = "mongodb://u:hunter2@db/x"\n' + file.read_text(encoding="utf-8"), encoding="utf-8")
    file.chmod(0o640)
    assert "hunter2" not in "".join(read_files(settings(folder)).values())


def test_names_that_begin_with_an_underscore_and_other_endings_are_left_alone(folder: Path) -> None:
    write(folder, {"collections/_new.toml": "x", "collections/.a.toml": "x", "collections/lab.toml.bak": "x"})
    assert {name for name in read_files(settings(folder)) if name.startswith("collections/")} == {
        f"collections/{name}.toml" for name in ("cert-de", "cert-us", "drop", "lab")
    }


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(folder: Path) -> None:
    before = read_files(settings(folder))
    path = folder / "collections/lab.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_files(settings(folder)) == before


def test_every_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "config/policy.toml").unlink()
    (folder / "collections/lab.toml").write_bytes(b'title = "\xff"')
    message = refused(folder)
    assert "config/policy.toml: cannot be read: no such file or directory" in message
    assert "collections/lab.toml: cannot be read: not UTF-8 text (byte 9)" in message


def test_a_missing_folder_of_collections_is_named(folder: Path) -> None:
    for path in (folder / "collections").iterdir():
        path.unlink()
    (folder / "collections").rmdir()
    assert f"{folder}/collections: collections_dir cannot be read" in refused(folder)


def saving(monkeypatch: pytest.MonkeyPatch, save: Callable[[int], None]) -> None:
    """Let somebody save files each time that the first collection is about to be read; `save` gets the number of it."""
    read, times = load_module._read, iter(range(1000))

    def meanwhile(path: Path, name: str, *into: Any) -> None:
        if name == "collections/cert-de.toml":
            save(next(times))
        read(path, name, *into)

    monkeypatch.setattr(load_module, "_read", meanwhile)


def test_files_that_are_saved_meanwhile_are_read_as_they_belong_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partners, collection = folder / "config/partners.toml", folder / "collections/cert-de.toml"

    def add_partner(number: int) -> None:
        if number == 0:
            partners.write_text(partners.read_text() + '[audience.lab-1]\nkind = "vendor"\nclearance = "green"\n')
            collection.write_text(collection.read_text().replace('writers = ["cert-de"]', 'writers = ["lab-1"]'))

    saving(monkeypatch, add_partner)
    assert parse_catalog(read_files(settings(folder))).collections["cert-de"].writers == ("lab-1",)


def test_a_file_that_somebody_replaces_is_not_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = folder / "collections/cert-de.toml"
    text = collection.read_text()
    saving(monkeypatch, lambda number: collection.unlink() if number == 0 else None)
    monkeypatch.setattr(load_module, "_look", coming_back(collection, text))
    assert read_files(settings(folder))["collections/cert-de.toml"] == text


def coming_back(file: Path, text: str) -> Callable[[Settings], Any]:
    """A look at the files that finds this one again."""
    look = load_module._look

    def found(where: Settings) -> Any:
        result = look(where)
        file.write_text(text)
        return result

    return found


def test_files_that_are_saved_without_end_are_read_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = folder / "collections/cert-de.toml"
    numbers: list[int] = []

    def save(number: int) -> None:
        numbers.append(number)
        collection.write_text(f"# {number}\n")

    saving(monkeypatch, save)
    assert read_files(settings(folder))["collections/cert-de.toml"] == f"# {numbers[-1]}\n"
