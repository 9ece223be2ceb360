"""What is special about OpenTAXII: paths of two segments, accounts, what is public, a release that half works."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from taxii_server.migrate.sources import open_opentaxii
from tests.migrate.conftest import Old
from tests.migrate.hub import Hub, run
from tests.migrate.stix import EVERY


def test_rights_of_accounts_and_of_the_public(opentaxii: Old, tmp_path: Path) -> None:
    hub = Hub(tmp_path / "new")
    report = hub.migrate("opentaxii", opentaxii.source, *opentaxii.more)
    assert {each["user"]: each["what"] for each in report["users"]} == dict.fromkeys(("admin", "alice", "bob"), "none")
    assert any("left behind" in note for note in report["notes"])
    rights = {
        partner: {
            each["title"]: (each["can_read"], each["can_write"])
            for each in hub.read(f"/{opentaxii.root}/collections/", partner)["collections"]
        }
        for partner in ("admin", "alice", "bob", "anonymous")
    }
    assert rights == {
        "admin": {"Indicators": (True, True), "Open": (True, True), "Closed": (True, True)},
        "alice": {"Indicators": (True, True), "Open": (True, False), "Closed": (False, False)},
        "bob": {"Indicators": (False, False), "Open": (True, False), "Closed": (False, False)},
        "anonymous": {"Open": (True, False)},
    }
    discovery = hub.read("/taxii2/", "alice")
    assert discovery["default"] == f"/{opentaxii.root}/"
    (indicators,) = (
        each for each in hub.read(f"/{opentaxii.root}/collections/", "alice")["collections"] if "alias" in each
    )
    assert (indicators["id"], indicators["alias"]) == (opentaxii.collection, "indicators")


def test_without_accounts_it_says_where_they_are(opentaxii: Old, tmp_path: Path) -> None:
    hub = Hub(tmp_path / "new")
    report = hub.migrate("opentaxii", opentaxii.source, "--dry-run")
    assert any("--accounts" in note for note in report["notes"])
    assert report["total"]["stored"] == len(EVERY)


def test_a_database_of_the_release_is_moved_as_well(opentaxii_release: Path, tmp_path: Path) -> None:
    hub = Hub(tmp_path / "new")
    accounts = f"sqlite:///{opentaxii_release}/auth.db"
    report = hub.migrate("opentaxii", f"sqlite:///{opentaxii_release}/data.db", "--accounts", accounts)
    assert report["total"]["stored"] == len(EVERY)
    (root,) = hub.read("/taxii2/", "moved-in")["api_roots"]
    titles = {each["title"]: each["id"] for each in hub.read(f"{root}collections/", "moved-in")["collections"]}
    path = f"{root}collections/{titles['Indicators']}/objects/?match[version]=all"
    assert {o["name"] for o in hub.read(path, "admin")["objects"] if "name" in o} >= {"indicator 0", "a newer version"}


def test_other_databases_are_read_through_sqlalchemy(opentaxii: Old) -> None:
    """The same database, read with a driver of SQLAlchemy in place of the standard library."""
    with closing(open_opentaxii(opentaxii.source)) as direct:
        through = opentaxii.source.replace("sqlite://", "sqlite+pysqlite://")
        with closing(open_opentaxii(through, opentaxii.more[1].replace("sqlite://", "sqlite+pysqlite://"))) as other:
            assert list(other.objects()) == list(direct.objects())
            assert other.count() == direct.count() == len(EVERY)
            assert other.server.roots == direct.server.roots
            assert [user.name for user in other.server.users] == ["admin", "alice", "bob"]


def test_a_source_is_never_written_to(opentaxii: Old, tmp_path: Path) -> None:
    file = Path(opentaxii.source.removeprefix("sqlite:///"))
    before = file.read_bytes()
    file.chmod(0o400)
    Hub(tmp_path / "new").migrate("opentaxii", opentaxii.source)
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.glob("data.db*")) == ["data.db"]


def test_another_database_is_refused_with_what_to_name(opentaxii: Old, tmp_path: Path) -> None:
    accounts = opentaxii.more[1]
    for source, words in (
        (accounts, "has no table opentaxii_api_root"),
        (f"sqlite:///{tmp_path}/none.db", "four slashes"),
        ("sqlite:////etc/hostname", "not an SQLite database"),
        ("oracle+nothing://x/y", "not the URL of a database"),
        ("postgresql://nobody@127.0.0.1:1/none", "the database cannot be read"),
    ):
        done = run("migrate", "opentaxii", source, "--new-hub", tmp_path / "new", status=1)
        assert words in done.stderr, done.stderr
        assert not (tmp_path / "new").exists()
