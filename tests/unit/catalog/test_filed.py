"""Filed releases as texts of the catalog: what such a text may hold, and what a new configuration does to it."""

from __future__ import annotations

import dataclasses
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxii_server.catalog import ReleaseEntry, parse_catalog, read_releases, with_filed, with_releases
from taxii_server.errors import ConfigError
from taxii_server.times import parse_instant

from . import texts

FILE = "releases/talos.toml"
X = "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f"
ENTRY = ReleaseEntry(
    id="talos/2026-001",
    by="talos",
    objects=(X,),
    audiences=("cert-de",),
    groups=("csirts-eu",),
    not_before=parse_instant("2026-06-01T00:00:00Z"),
    until=parse_instant("2026-07-01T00:00:00.000001Z"),
    why='for "the" case\\ \x7fé',
    file=FILE,
)


def filed(text: str, file: str = FILE) -> dict[str, str]:
    return {**texts.small(), file: text}


def release(**more: object) -> str:
    values = {"id": '"talos/a"', "by": '"talos"', "objects": f'["{X}"]', "to": '{ audience = "cert-de" }'} | more
    return "[[release]]\n" + "".join(f"{key} = {value}\n" for key, value in values.items() if value)


def refused(files: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_catalog(files)
    return [str(problem) for problem in caught.value.problems]


def test_what_is_filed_is_part_of_the_policy() -> None:
    catalog = parse_catalog(with_releases(texts.small(), "talos", [ENTRY]))
    assert catalog.releases == (ENTRY,)
    (known,) = catalog.policy.releases
    assert (known.id, known.by, known.objects, known.file) == ("talos/2026-001", "talos", {X}, FILE)
    assert catalog.digest != parse_catalog(texts.small()).digest


def test_the_last_release_withdrawn_gives_the_same_catalog_as_before() -> None:
    files = with_releases(with_releases(texts.small(), "talos", [ENTRY]), "talos", [])
    assert files == texts.small()


def test_releases_of_the_configuration_are_known_with_where_they_stand() -> None:
    files = texts.changed("config/policy.toml", "[[permit]]", release(id='"by-hand"') + "[[permit]]")
    (entry,) = parse_catalog(files).releases
    assert (entry.id, entry.local_id, entry.is_filed) == ("by-hand", "by-hand", False)
    assert (ENTRY.local_id, ENTRY.is_filed) == ("2026-001", True)


@given(
    why=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    partner=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    times=st.tuples(st.integers(0, 2**51), st.none() | st.integers(0, 2**51)),
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=3),
)
def test_what_is_written_is_read_back(why: str, partner: str, times: tuple[int, int | None], names: list[str]) -> None:
    entry = ReleaseEntry(f"{partner}/a", partner, (X,), (), tuple(names), *times, why, f"releases/{partner}.toml")
    files = with_releases({}, partner, [entry, dataclasses.replace(entry, id=f"{partner}/b", until=None)])
    assert read_releases(files)[0] == entry
    assert [each.id for each in read_releases(files)] == [f"{partner}/a", f"{partner}/b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (release(by='"cert-de"'), "releases/talos.toml: release[1].by: has to be 'talos'"),
        (release(by=None), "releases/talos.toml: release[1].by: has to be 'talos'"),
        (release(id='"a"'), "releases/talos.toml: release[1].id: has to be 'talos/' and"),
        (release(id='"cert-de/a"'), "releases/talos.toml: release[1].id: has to be 'talos/' and"),
        (release(id='"talos/a/b"'), "releases/talos.toml: release[1].id: has to be 'talos/' and"),
        (release(id='"talos/.."'), "releases/talos.toml: release[1].id: has to be 'talos/' and"),
        (release(id="1"), "releases/talos.toml: release[1].id: "),
        (release() + release(), "'talos/a' is the id of release[1]"),
        ('[[permit]]\nid = "all"\n', "releases/talos.toml: permit: only [[release]]"),
        ('[audience.me]\nkind = "x"\nclearance = "red"\n', "releases/talos.toml: audience: only [[release]]"),
        ("schema = 1\n" + release(), "releases/talos.toml: schema: only [[release]]"),
        ('name = "x"\n', "releases/talos.toml: name: only [[release]]"),
        ("release = 1\n", "releases/talos.toml: release: write [[release]]"),
        ("release = [1]\n", "releases/talos.toml: release[1]: "),
        ("not toml [", "releases/talos.toml: not TOML"),
        (release(to='{ group = "nobody" }'), "releases/talos.toml: release[1].to.group: unknown group 'nobody'"),
    ],
)
def test_a_text_of_filed_releases_holds_releases_of_its_partner_and_nothing_else(text: str, message: str) -> None:
    assert any(message in problem for problem in refused(filed(text))), refused(filed(text))


@pytest.mark.parametrize("file", ["releases/talos", "releases/.toml", "releases/"])
def test_a_text_of_filed_releases_is_named_after_its_partner(file: str) -> None:
    assert any(f"{file}: is not named" in problem for problem in refused(filed(release(), file)))


def test_a_release_of_a_partner_that_is_not_declared_is_refused() -> None:
    text = release(id='"nobody/a"', by='"nobody"')
    assert any("unknown audience 'nobody'" in problem for problem in refused(filed(text, "releases/nobody.toml")))


def test_a_problem_of_a_filed_release_says_how_to_take_it_back() -> None:
    text = release() + release(id='"talos/b"', to='{ group = "gone" }')
    (problem,) = refused(filed(text))
    assert "taxii-server release withdraw talos/b'" in problem


def test_problems_of_the_policy_as_such_are_told_of_a_file_of_the_operator() -> None:
    files = filed(release())
    files = {FILE: files.pop(FILE), **files}
    files["config/partners.toml"] = files["config/partners.toml"].replace("schema = 1", "")
    assert any(problem.startswith("config/") and "schema" in problem for problem in refused(files))


# ---- a new configuration


def test_a_new_configuration_keeps_what_is_filed() -> None:
    in_force = with_releases({"config/old.toml": ""}, "talos", [ENTRY])
    files, gone = with_filed(texts.small(), in_force)
    assert files == with_releases(texts.small(), "talos", [ENTRY])
    assert gone == ()


def test_releases_of_partners_that_are_gone_go_with_them() -> None:
    in_force = with_releases(with_releases({}, "talos", [ENTRY]), "cert-de", [ENTRY])
    files = texts.small()
    files["config/partners.toml"] = files["config/partners.toml"].replace("[audience.talos]", "[audience.cisco]")
    kept, gone = with_filed(files, in_force)
    assert gone == ("talos",)
    assert set(kept) - set(files) == {"releases/cert-de.toml"}


def test_nothing_is_filed_by_way_of_a_folder() -> None:
    files, gone = with_filed(filed(release()), {})
    assert files == texts.small()
    assert gone == ()


@pytest.mark.parametrize("broken", ["not toml [", 'audience = "x"\n'])
def test_a_configuration_that_cannot_be_read_drops_nothing(broken: str) -> None:
    files = {"config/partners.toml": broken}
    assert with_filed(files, filed(release())) == ({**files, FILE: release()}, ())


def test_the_text_is_for_people_too() -> None:
    text = with_releases({}, "talos", [ENTRY])[FILE]
    assert "not_before = 2026-06-01T00:00:00.000000Z" in text
    assert tomllib.loads(text)["release"][0]["to"] == {"audience": ["cert-de"], "group": ["csirts-eu"]}
