"""Moving into a hub that exists: the files to review, copied and put in force as they say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.migrate.hub import run
from tests.migrate.stix import indicator
from tests.migrate.test_broken_off import ONE, ROOT, START, TWO, data

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The hub of the repository, with a store of its own."""
    for folder in ("config", "collections"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    return tmp_path / "config/server.toml"


def source(folder: Path, objects: list[tuple[str, int, dict[str, Any]]]) -> tuple[str, ...]:
    import json

    (folder / "data.json").write_text(json.dumps(data(objects)))
    users = {"cert-fr": "correct horse", "new one": "battery staple"}
    (folder / "medallion.json").write_text(json.dumps({"backend": {}, "users": users}))
    return ("migrate", "medallion", str(folder / "data.json"), "--users", str(folder / "medallion.json"))


def test_fragments_go_beside_the_files_that_are_there(config: Path, tmp_path: Path) -> None:
    words = ("--config", config, *source(tmp_path, [(ONE, START, indicator(1)), (TWO, START + 500, indicator(2))]))
    done = run(*words, status=1)
    assert "--fragments" in done.stderr
    review = tmp_path / "review"
    done = run(*words, "--fragments", review)
    assert "Next" in done.stdout
    # What server-medallion.toml says: its tables and the names of the two files into server.toml, the rest copied.
    for name in ("partners", "policy"):
        shutil.copy(review / f"config/{name}-medallion.toml", tmp_path / "config")
    for path in review.glob("collections/*.toml"):
        assert not (tmp_path / "collections" / path.name).exists()
        shutil.copy(path, tmp_path / "collections")
    text = config.read_text()
    more = 'config_files = ["partners.toml", "policy.toml", "partners-medallion.toml", "policy-medallion.toml"]'
    text = re.sub(r"(?m)^config_files = .*$", more, text)
    config.write_text(text + (review / "config/server-medallion.toml").read_text())
    run("--config", config, "check")
    run("--config", config, "policy", "apply")
    done = run(*words)
    assert "ok stored: 2" in done.stdout
    # A user is not taken for a partner who is called the same.
    assert "user cert-fr (cert-fr-2): keeps" in done.stdout
    assert "user new one (new-one): keeps" in done.stdout
    for partner, sees in (("cert-fr-2", True), ("new-one", True), ("cert-fr", False), ("interpol", False)):
        done = run("--config", config, "get", f"/{ROOT}/collections/{ONE}/objects/", "--as", partner,
                   status=0 if sees else 1)  # fmt: skip
        assert ("indicator 1" in done.stdout) is sees
    done = run(*words)
    assert "ok stored: 0; present: 2" in done.stdout


def test_fragments_do_not_replace_files(config: Path, tmp_path: Path) -> None:
    words = ("--config", config, *source(tmp_path, []), "--fragments", tmp_path / "review")
    run(*words)
    (tmp_path / "review/config/policy-medallion.toml").write_text("# reviewed")
    done = run(*words, status=1)
    assert "name an empty folder" in done.stderr
    assert (tmp_path / "review/config/policy-medallion.toml").read_text() == "# reviewed"


def test_the_configuration_of_a_new_hub_can_be_edited_before_anything_is_moved(tmp_path: Path) -> None:
    """Applied as often as one likes: while the hub is empty, old dates keep their places."""
    words = (*source(tmp_path, [(ONE, START, indicator(1))]), "--new-hub", tmp_path / "new")
    run(*words, "--config-only")
    assert not (tmp_path / "new/var").exists()
    config, partners = tmp_path / "new/config/server.toml", tmp_path / "new/config/partners.toml"
    for clearance in ("green", "amber"):
        partners.write_text(re.sub("clearance = .amber[+]strict.|clearance = .green.", f'clearance = "{clearance}"',
                                   partners.read_text()))  # fmt: skip
        policy = tmp_path / "new/config/policy.toml"
        policy.write_text(re.sub("tlp:(amber[+]strict|green)", f"tlp:{clearance}", policy.read_text()))
        run("--config", config, "policy", "apply")
    done = run(*words)
    assert "its configuration is used as it is" in done.stdout
    assert "not the one in force" not in done.stdout
    page = run("--config", config, "get", f"/{ROOT}/collections/{ONE}/manifest/", "--as", "new-one").stdout
    assert "2025-05-05T10:00:00.000000Z" in page
    partners.write_text(partners.read_text() + "# edited\n")
    assert "not the one in force" in run(*words).stdout


def test_a_user_does_not_become_a_partner_who_is_called_the_same(config: Path, tmp_path: Path) -> None:
    """Whoever had a password for `cert-fr` on the old server is not CERT-FR here, unless the operator says so."""
    for number, id_ in enumerate((ONE, TWO)):
        text = (tmp_path / "collections/drop-bt.toml").read_text()
        text = re.sub("(?m)^id = .*$", f'id = "{id_}"', text)
        text = re.sub("(?m)^(title|alias) = .*$", rf'\1 = "moved-{number}"', text)
        (tmp_path / f"collections/moved-{number}.toml").write_text(text)
    words = ("--config", config, *source(tmp_path, [(ONE, START, indicator(1))]), "--as", "bt")
    done = run(*words)
    assert "ok stored: 1" in done.stdout
    assert "user cert-fr (-): there is no partner" in done.stdout
    assert "cert-fr" not in run("--config", config, "token", "list").stdout
