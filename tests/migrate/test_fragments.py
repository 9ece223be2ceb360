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
