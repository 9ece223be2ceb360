"""taxii-server mirror, as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from taxii_server import metering
from taxii_server.cli import main
from taxii_server.mirror.schema import Mirror
from taxii_server.settings.rows import rows_of
from taxii_server.telemetry.facts import Facts
from tests.mirror.conftest import Hub
from tests.mirror.hostile import Reply, in_turn, page, upstream
from tests.mirror.test_odd_peers import statuses
from tests.world import indicator


def mirror(hub: Hub, *arguments: str, status: int = 0, **environment: str) -> Result:
    """Run the command; it must end with this status."""
    config = str(hub.folder / "config/server.toml")
    result = CliRunner().invoke(main, ["--config", config, "mirror", *arguments], env=environment)
    assert result.exit_code == status, result.output
    return result


def metrics(hub: Hub, name: str) -> dict[str, float]:
    """What the metrics of the hub say of a mirror."""
    samples = [
        each for family in Facts(hub.world.hub, lambda: True, lambda: None).collect() for each in family.samples
        if each.labels.get("mirror") == name
    ]  # fmt: skip
    told: dict[str, float] = {each.labels["result"]: each.value for each in samples if "result" in each.labels}
    for each in samples:
        if each.name == metering.MIRROR_INTERVAL.name:
            told["interval"] = each.value
        elif each.name == metering.MIRROR_SUCCESS.name:
            told["done"] = each.value > 1.7e9
    return told


def test_a_pull_tells_what_it_did_and_what_was_refused(small_hub: Hub) -> None:
    good, bad = indicator(), indicator(created=5)
    escape = indicator(id_="\x1b[2Jindicator--1")
    here = small_hub.lane()
    arguments = ("--into", f"lane-{here}", "--as", "admin", "--name", f"told-{here}")
    with upstream(in_turn(page([good, escape, bad]), page([good, bad]))) as peer:
        result = mirror(small_hub, "pull", peer.url, *arguments, TAXII_MIRROR_TOKEN="very-secret")
        assert f"told-{here}: 3 received, 1 stored, 0 here already, 2 refused" in result.stdout
        assert "\x1b" not in result.output
        assert bad["id"] in result.stderr
        assert peer.requests[0].headers["Authorization"] == "Bearer very-secret"
        report = json.loads(mirror(small_hub, "pull", peer.url, *arguments, "--json").stdout)
    assert report["counts"]["refusals"][0]["id"] == bad["id"]
    assert (report["complete"], report["counts"]["present"]) == (True, 1)
    refused, _ = json.loads(mirror(small_hub, "refused", f"told-{here}", "--json").stdout)["refused"]
    assert (refused["id"], refused["times"]) == (bad["id"], 2)
    assert bad["id"] in mirror(small_hub, "refused", f"told-{here}").stdout
    listed = json.loads(mirror(small_hub, "list", "--json").stdout)["mirrors"]
    (mine,) = [each for each in listed if each["name"] == f"told-{here}"]
    assert (mine["stored"], mine["refused"], mine["seen_up_to"]) == (1, 3, "2026-01-01T00:00:00.000001Z")
    assert "very-secret" not in json.dumps(listed)
    assert "was ever run" in mirror(small_hub, "refused", "nobody", status=2).stderr


def test_what_goes_wrong_is_told_and_is_the_exit_status(small_hub: Hub) -> None:
    into = ("--into", f"lane-{small_hub.lane()}")
    with upstream(in_turn(Reply({"title": "no"}, status=403))) as peer:
        failed = mirror(small_hub, "pull", peer.url, *into, "--as", "admin", status=1)
        assert "answers 403: no" in failed.stderr
        for arguments, words in (
            (("pull", peer.url, "--as", "admin"), "--into COLLECTION is missing"),
            (("pull", peer.url, *into), "has no owner"),
            (("pull", peer.url, *into, "--as", "amdin"), "did you mean 'admin'"),
            (("pull", peer.url, "--into", "lane"), "unknown collection 'lane'"),
            (("pull", peer.url, *into, "--as", "admin", "--page", "many"), "expected a whole number"),
            (("push", "rw", peer.url), "which partner is the peer"),
            (("pull", "nobody"), "mirrors.toml"),
            (("run",), "mirrors.toml"),
        ):
            assert words in mirror(small_hub, *arguments, status=2).stderr


def test_two_mirrors_into_one_collection_have_two_names(small_hub: Hub) -> None:
    """They had one, and who forgot the one that was a mistake made the other read everything again."""
    here = small_hub.lane()
    into = ("--into", f"lane-{here}", "--as", "admin", "--json")

    def pull(url: str) -> str:
        name: str = json.loads(mirror(small_hub, "pull", url, *into).stdout)["name"]
        return name

    def listed() -> dict[str, str]:
        found = json.loads(mirror(small_hub, "list", "--json").stdout)["mirrors"]
        return {each["key"]: each["name"] for each in found if each["collection"] == f"lane-{here}"}

    with upstream(in_turn(page([indicator()]))) as good, upstream(in_turn(page([indicator()]))) as mistake:
        names = [pull(good.url), pull(mistake.url), pull(good.url), pull(mistake.url)]
        assert names == [f"lane-{here}-pull", f"lane-{here}-pull-2"] * 2
        mirror(small_hub, "forget", f"lane-{here}-pull-2")
        assert list(listed().values()) == [f"lane-{here}-pull"]
        # Those of an older release may share a name.
        mirror(small_hub, "pull", mistake.url, *into, "--name", f"lane-{here}-pull")
        assert len(listed()) == 2
        told = mirror(small_hub, "forget", f"lane-{here}-pull", status=2).stderr
        assert f"2 mirrors are called 'lane-{here}-pull'" in told
        assert all(each in told for each in (good.url, mistake.url, *listed()))
        before = list(listed())
        mirror(small_hub, "forget", before[0])
        assert list(listed()) == before[1:]


def test_mirrors_of_the_file_are_run_by_name_and_all_at_once(small_hub: Hub, tmp_path: Path) -> None:
    here, out, wanted = small_hub.lane(), small_hub.lane(), indicator(name="wanted")
    file = tmp_path / "mirrors.toml"
    small_hub.world.post([wanted], into=f"00000000-0000-4e57-8000-{out:012x}", root="api2")
    environment = {"TAXII_SERVER_MIRRORS_FILE": str(file)}
    with upstream(in_turn(page([wanted]))) as peer, upstream(statuses) as target:
        file.write_text(
            f'[pull.in-{here}]\nurl = "{peer.url}"\ncollection = "lane-{here}"\npartner = "admin"\n'
            f'[push.out-{out}]\nurl = "{target.url}"\ncollection = "lane-{out}"\npartner = "admin"\n'
        )
        before: list[dict[str, Any]] = json.loads(mirror(small_hub, "list", "--json", **environment).stdout)["mirrors"]
        assert {f"in-{here}", f"out-{out}"} <= {each["name"] for each in before if each["last_run"] is None}
        reports = json.loads(mirror(small_hub, "run", "--once", "--json", **environment).stdout)
        assert [(each["name"], each["counts"]["stored"]) for each in reports] == [(f"in-{here}", 1), (f"out-{out}", 1)]
        assert metrics(small_hub, f"in-{here}") == {
            "interval": 300,
            "stored": 1,
            "refused": 0,
            "deleted": 0,
            "done": True,
        }
        check = [*("--config", str(small_hub.folder / "config/server.toml")), "check"]
        assert CliRunner().invoke(main, check, env=environment).exit_code == 0
        wrong = file.with_name("wrong.toml")
        wrong.write_text(file.read_text().replace('"admin"', '"ro"'))
        told = CliRunner().invoke(main, check, env={"TAXII_SERVER_MIRRORS_FILE": str(wrong)})
        assert told.exit_code == 2
        assert f"mirror in-{here}: partner: ro may not write" in told.stderr
        assert f"mirror out-{out}: partner: ro may not read" in told.stderr
        again = mirror(small_hub, "pull", f"in-{here}", "--from-start", **environment)
        assert "1 received, 0 stored, 1 here already" in again.stdout
        assert "1 received, 1 stored" in mirror(small_hub, "push", f"out-{out}", "--from-start", **environment).stdout
        mirror(small_hub, "forget", f"in-{here}")
        assert metrics(small_hub, f"in-{here}") == {}
        assert "there is no mirror 'other'" in mirror(small_hub, "pull", "other", status=2, **environment).stderr


@pytest.mark.parametrize("command", ["pull", "push"])
def test_every_key_is_a_flag_or_an_argument(command: str, small_hub: Hub) -> None:
    told = mirror(small_hub, command, "--help").stdout
    left_out = {"url", "collection", "partner", "every_s", "follow_every_s"}
    other = {"pull": {"status_wait_s"}, "push": {"overlap_s", "follow_deletions", "max_deletions_percent"}}[command]
    for name in rows_of(Mirror).keys() - left_out:
        assert (f"--{name.replace('_', '-')}" in told) is (name not in other)
    assert "--token " not in told
    assert "--password " not in told
