"""policy diff, policy what-if, who-can as an operator runs them: what they print, their status, and no traces."""

from __future__ import annotations

import importlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from taxii_server.cli import main
from tests.e2e.server import Server
from tests.service.site import report
from tests.world import COLLECTIONS, OPEN_POLICY, indicator, malware, new_id, relationship

AMBER = "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421"
FORBIDDING = OPEN_POLICY + '\n[[forbid]]\nid = "no-phish"\nto = { audience = "rw" }\nwhat = { label = "phish" }\n'
HEAD = "partner\tstatus\tbefore\tafter\tchange\tlabels\tobjects\tdecided by"


class Lines(Server):
    """A server that never runs; its commands run in this process."""

    def run(self, *arguments: str, status: int = 0) -> Any:
        done = CliRunner().invoke(main, self.command(*arguments)[1:])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, f"{arguments}: status {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return done

    def file(self, name: str, text: str) -> str:
        """A file beside the configuration."""
        path = self.folder / "proposed" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    def dump(self) -> list[str]:
        with closing(sqlite3.connect(self.store)) as db:
            return list(db.iterdump())


@pytest.fixture
def hub(tmp_path: Path) -> Lines:
    """Six collections and partners; admin posted one object with a label, one without, one that is AMBER."""
    made = Lines(tmp_path, collections=COLLECTIONS)
    objects = [malware(labels=["phish"]), indicator(), indicator(object_marking_refs=[AMBER])]
    stored = made.file("objects.json", json.dumps({"objects": objects}))
    made.run("import", stored, "--into", "rw", "--as", "admin")
    return made


@pytest.fixture
def untouched(hub: Lines) -> Callable[[], None]:
    """Asserts that the store holds what it held."""
    before = hub.dump()

    def check() -> None:
        assert hub.dump() == before

    return check


def lines(done: Any) -> list[str]:
    return list(done.stdout.splitlines())


# ---- policy what-if


def test_what_if_tells_gains_and_losses_by_reason(hub: Lines, untouched: Callable[[], None]) -> None:
    partners = (hub.folder / "config/partners.toml").read_text()
    lowered = partners.replace('[audience.partner_b]\nkind = "cert"\nclearance = "red"', "[audience.partner_b]\n" + LOW)
    assert lowered != partners
    policy, partner = hub.file("policy.toml", FORBIDDING), hub.file("partners.toml", lowered)
    done = hub.run("policy", "what-if", policy, partner)
    assert lines(done) == [
        HEAD,
        "partner_b\tkept\t3\t2\tlost\t1\t1\tabove its clearance",
        "rw\tkept\t3\t2\tlost\t1\t1\tforbidden: no-phish",
    ]
    assert f"{policy} takes the place of config/policy.toml" in done.stderr
    assert "2 partner(s) gain or lose, 5 read what they read before" in done.stderr
    untouched()
    # What it announced is what then happens.
    shutil.copy(policy, hub.folder / "config/policy.toml")
    hub.run("reload")
    exported = json.loads(hub.run("export", "rw", "--as", "rw").stdout)
    assert len(exported["objects"]) == 2


LOW = 'kind = "cert"\nclearance = "green"'


def test_what_if_with_a_collection_and_as_json(hub: Lines, untouched: Callable[[], None]) -> None:
    text = COLLECTIONS["rw"].replace('"rw", "admin", "partner_b"', '"rw", "admin", "ro"', 1)
    done = hub.run("policy", "what-if", hub.file("rw.toml", text), "--json")
    answer = json.loads(done.stdout)
    assert answer["old"] != answer["new"]
    found = {each.pop("partner"): each for each in answer["partners"]}
    assert sorted(found) == sorted(["rw", "ro", "wo", "nn", "partner_b", "admin", "stranger"])
    nothing = {"labels": 0, "objects": 0, "reasons": []}
    reason = {"code": "permit", "rule": "everybody", "words": "permitted: everybody", "labels": 3, "objects": 3}
    gained = {"labels": 3, "objects": 3, "reasons": [reason]}
    assert found["ro"] == {"status": "kept", "before": 0, "after": 3, "gained": gained, "lost": nothing}
    door = {"code": "no-door", "rule": None, "words": "no collection that it reads shows it"}
    assert found["partner_b"]["lost"]["reasons"] == [{**door, "labels": 3, "objects": 3}]
    assert found["rw"]["gained"] == found["rw"]["lost"] == nothing
    untouched()


def test_what_if_with_what_changes_nothing_and_with_a_new_collection(hub: Lines, untouched: Callable[[], None]) -> None:
    assert hub.run("policy", "what-if", str(hub.config.with_name("policy.toml"))).stdout == ""
    new = COLLECTIONS["rw"].replace("378e5de7", "478e5de7").replace("Read write", "Another")
    done = hub.run("policy", "what-if", hub.file("another.toml", new))
    assert (done.stdout, "is new: collections/another.toml" in done.stderr) == ("", True)
    untouched()


def test_what_if_refuses_what_check_refuses_and_says_the_same(hub: Lines, untouched: Callable[[], None]) -> None:
    never = '\n[[never]]\nid = "rw-reads"\nto = { audience = "rw" }\nwhat = { type = "malware" }\n'
    for text in (OPEN_POLICY + never, OPEN_POLICY + "wat = 1", "= 1", OPEN_POLICY.replace("permit", "permits")):
        done = hub.run("policy", "what-if", hub.file("policy.toml", text), status=2)
        told = [line for line in done.stderr.splitlines() if line.startswith("error")]
        (hub.folder / "config/policy.toml").write_text(text)
        refused = hub.run("check", status=2)
        assert told == [line for line in refused.stderr.splitlines() if line.startswith("error")]
        assert told
        assert done.stdout == ""
    untouched()


def test_what_if_refuses_files_that_it_cannot_place(hub: Lines, untouched: Callable[[], None]) -> None:
    first = hub.file("policy.toml", OPEN_POLICY)
    for words, files in {
        "has the same name as": (first, str(hub.config.with_name("policy.toml"))),
        "see policy diff": (str(hub.config),),
        "they end with .toml": (hub.file("policy.txt", ""),),
        "(schema, defaults, permit): give it the name of the file that it replaces, partners.toml or policy.toml": (
            hub.file("draft.toml", OPEN_POLICY),
        ),
        "cannot be read: not UTF-8": (_binary(hub),),
        "holds a policy (audience): give it the name": (hub.file("my-partners.toml", "[audience.somebody]\n"),),
    }.items():
        assert words in " ".join(hub.run("policy", "what-if", *files, status=2).stderr.split())
    hub.run("policy", "what-if", status=2)
    hub.run("policy", "what-if", "nowhere.toml", status=2)
    untouched()


def _binary(hub: Lines) -> str:
    path = Path(hub.file("partners.toml", ""))
    path.write_bytes(b"\xff\xfe")
    return str(path)


def test_a_rule_that_never_matters_is_warned_of_when_it_is_new(hub: Lines) -> None:
    dead = OPEN_POLICY + '\n[[permit]]\nid = "dead"\nto = { kind = "socs" }\n'
    assert "warning" in hub.run("policy", "what-if", hub.file("policy.toml", dead)).stderr
    assert "warning" not in hub.run("policy", "what-if", hub.file("policy.toml", OPEN_POLICY)).stderr


# ---- policy diff


def test_diff_takes_two_whole_configurations(hub: Lines, untouched: Callable[[], None], tmp_path: Path) -> None:
    other = tmp_path / "other"
    for part in ("config", "collections"):
        shutil.copytree(hub.folder / part, other / part)
    (other / "config/policy.toml").write_text(FORBIDDING)
    expected = [HEAD, "rw\tkept\t3\t2\tlost\t1\t1\tforbidden: no-phish"]
    for path in (other, other / "config", other / "config/server.toml"):
        assert lines(hub.run("policy", "diff", str(hub.folder), str(path))) == expected
    back = lines(hub.run("policy", "diff", str(other), str(hub.config)))
    assert back == [HEAD, "rw\tkept\t2\t3\tgained\t1\t1\tpermitted: everybody"]
    same = hub.run("policy", "diff", str(other), str(other))
    assert (same.stdout, "0 partner(s) gain or lose" in same.stderr) == ("", True)
    untouched()


def test_diff_takes_two_policies(hub: Lines, untouched: Callable[[], None]) -> None:
    partners = (hub.folder / "config/partners.toml").read_text()
    lowered = partners.replace('[audience.partner_b]\nkind = "cert"\nclearance = "red"', "[audience.partner_b]\n" + LOW)
    rules = [hub.file(f"rules-{number}.toml", text) for number, text in enumerate((OPEN_POLICY, FORBIDDING))]
    people = [hub.file(f"people-{number}.toml", text) for number, text in enumerate((partners, lowered))]
    both = [hub.file("both-0.toml", OPEN_POLICY + partners), hub.file("both-1.toml", FORBIDDING + lowered)]
    phish = "rw\tkept\t3\t2\tlost\t1\t1\tforbidden: no-phish"
    amber = "partner_b\tkept\t3\t2\tlost\t1\t1\tabove its clearance"
    for files, expected in ((rules, [phish]), (people, [amber]), (both, [amber, phish])):
        assert lines(hub.run("policy", "diff", *files)) == [HEAD, *expected]
    done = hub.run("policy", "diff", rules[0], hub.file("wrong.toml", OPEN_POLICY + "wat = 1"), status=2)
    assert "wrong.toml: config/wrong.toml: permit[1]: unknown key 'wat'" in " ".join(done.stderr.split())
    untouched()


def test_diff_tells_of_partners_that_come_and_go(hub: Lines, untouched: Callable[[], None], tmp_path: Path) -> None:
    other = tmp_path / "other"
    for part in ("config", "collections"):
        shutil.copytree(hub.folder / part, other / part)
    partners = (other / "config/partners.toml").read_text()
    (other / "config/partners.toml").write_text(partners.replace("[audience.stranger]", "[audience.newcomer]"))
    assert lines(hub.run("policy", "diff", str(hub.folder), str(other))) == [
        HEAD,
        "newcomer\tadded\t0\t0\tnone\t0\t0\t",
        "stranger\tremoved\t0\t0\tnone\t0\t0\t",
    ]
    untouched()


def test_diff_says_what_is_wrong_with_either(hub: Lines, untouched: Callable[[], None], tmp_path: Path) -> None:
    bad = tmp_path / "bad/config"
    shutil.copytree(hub.folder / "config", bad)
    done = hub.run("policy", "diff", str(bad), str(tmp_path / "proposed"), status=2)
    told = " ".join(done.stderr.split())
    assert f"{bad}: " in told
    assert "collections_dir cannot be read" in told
    assert f"{tmp_path / 'proposed'}: " in told
    hub.run("policy", "diff", str(hub.folder), "nowhere", status=2)
    done = hub.run("policy", "diff", str(hub.folder), hub.file("draft.toml", OPEN_POLICY), status=2)
    told = " ".join(done.stderr.split())
    assert (
        "draft.toml: holds a policy (schema, defaults, permit), not a whole configuration; see policy what-if" in told
    )
    assert "1 problem(s)" in told
    untouched()


def test_nothing_is_made_where_there_is_no_store(hub: Lines, tmp_path: Path) -> None:
    hub.store = str(tmp_path / "none.db")
    policy = hub.file("policy.toml", FORBIDDING)
    for arguments in (
        ("policy", "diff", str(hub.folder), str(hub.folder)),
        ("policy", "what-if", policy),
        ("who-can", new_id()),
    ):
        assert "none.db" in hub.run(*arguments, status=1).stderr
    assert not Path(hub.store).exists()


# ---- who-can


@pytest.mark.parametrize("name", ["explain", "who-can"])
def test_what_is_about_the_policy_is_found_under_it_too(name: str) -> None:
    here, beside = (CliRunner().invoke(main, [*group, name, "--help"]) for group in (["policy"], []))
    assert here.exit_code == 0
    assert here.stdout.partition("\n")[2] == beside.stdout.partition("\n")[2]


def test_who_can_tells_for_every_partner(hub: Lines) -> None:
    shown, hidden = indicator(), malware(labels=["phish"])
    between = relationship(shown["id"], hidden["id"])
    hub.config.with_name("policy.toml").write_text(FORBIDDING)
    hub.run("reload")
    posted = hub.file("more.json", json.dumps({"objects": [shown, hidden, between]}))
    hub.run("import", posted, "--into", "rw", "--as", "admin")
    before = hub.dump()
    rows = [line.split("\t") for line in lines(hub.run("who-can", between["id"]))]
    assert rows[0] == ["partner", "reads it", "versions", "why", "rule", "collections"]
    told = {row[0]: row[1:] for row in rows[1:]}
    assert list(told) == sorted(told)
    assert told["admin"] == ["yes", "1 of 1", "admin posted it", "", "rw"]
    assert told["partner_b"] == ["yes", "1 of 1", "permitted", "everybody", "rw"]
    assert told["rw"] == ["no", "0 of 1", f"it refers to something hidden: {hidden['id']}", "", ""]
    assert told["stranger"][2] == "no door leads to it: no collection that it reads shows it"
    (row,) = [line for line in lines(hub.run("who-can", hidden["id"])) if line.startswith("rw\t")]
    assert row == "rw\tno\t0 of 1\tforbidden\tno-phish\t"
    answer = json.loads(hub.run("who-can", hidden["id"], "--json").stdout)
    found = {each["partner"]: each for each in answer["partners"]}
    assert found["rw"] == {
        "partner": "rw",
        "reads": False,
        "versions": 0,
        "stored": 1,
        "reason": "forbid",
        "rule": "no-phish",
        "words": "forbidden by rule 'no-phish'",
        "collections": [],
    }
    assert found["partner_b"]["collections"] == ["rw"]
    assert hub.dump() == before


def test_who_can_tells_a_copy_from_the_object(hub: Lines) -> None:
    shown, hidden = indicator(), malware(labels=["phish"])
    listed = report([shown["id"], hidden["id"]], new_id("report"))
    hub.config.with_name("policy.toml").write_text(
        FORBIDDING.replace("[defaults]", '[defaults]\nrefs_lists = "derive"')
    )
    hub.run("reload")
    posted = hub.file("more.json", json.dumps({"objects": [shown, hidden, listed]}))
    hub.run("import", posted, "--into", "rw", "--as", "admin")
    told = {row.split("\t")[0]: row.split("\t")[1] for row in lines(hub.run("who-can", listed["id"]))}
    assert (told["admin"], told["partner_b"], told["rw"], told["stranger"]) == ("yes", "yes", "a copy", "no")
    answer = json.loads(hub.run("who-can", listed["id"], "--json").stdout)
    copies = {each["partner"]: each["copy"] for each in answer["partners"] if "copy" in each}
    exported = json.loads(hub.run("export", "rw", "--as", "rw").stdout)["objects"]
    assert copies == {"rw": next(each["id"] for each in exported if each["type"] == "report")}


def test_who_can_agrees_with_what_each_partner_exports(hub: Lines) -> None:
    (id_, *_) = [each["id"] for each in json.loads(hub.run("export", "rw", "--as", "rw").stdout)["objects"]]
    partners = json.loads(hub.run("who-can", id_, "--json").stdout)["partners"]
    assert [each["partner"] for each in partners if each["reads"]] == ["admin", "partner_b", "rw"]
    for each in partners:
        for collection in each["collections"]:
            exported = json.loads(hub.run("export", collection, "--as", each["partner"]).stdout)
            assert id_ in [stix["id"] for stix in exported["objects"]]


def test_an_unknown_object_is_an_error(hub: Lines, untouched: Callable[[], None]) -> None:
    id_ = new_id()
    done = hub.run("who-can", id_, status=1)
    assert (done.stdout, f"no object {id_} in this store" in done.stderr) == ("", True)
    untouched()


# ---- on a terminal


def test_tables_on_a_terminal(hub: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("taxii_server.cli.tables")
    monkeypatch.setattr(module, "out", Console(force_terminal=True, width=160, color_system=None))
    done = hub.run("policy", "what-if", hub.file("policy.toml", FORBIDDING))
    assert "┃ partner" in done.stdout
    assert "forbidden: no-phish" in done.stdout
    assert "\t" not in done.stdout
