"""Files with secrets that everybody on the machine can read, and what is shown of secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from taxii_server.cli.context import require_private
from taxii_server.errors import ConfigError
from taxii_server.model import Credential
from taxii_server.settings import load

ROOT = '[api_roots.hub]\ntitle = "Hub"\n'


@pytest.fixture
def server_toml(tmp_path: Path) -> Path:
    file = tmp_path / "server.toml"
    file.write_text(f'store = "mongodb://hub:hunter2@db/hub"\n{ROOT}')
    return file


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_a_server_toml_with_a_password_may_be_read_by_its_owner_and_a_group(server_toml: Path, mode: int) -> None:
    server_toml.chmod(mode)
    assert load(server_toml, {}).uses_mongodb


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_not_by_everybody_and_the_message_says_what_to_do(server_toml: Path, mode: int) -> None:
    server_toml.chmod(mode)
    with pytest.raises(ConfigError, match=f"store: there is a password in it.*chmod o-rwx {server_toml}") as refused:
        load(server_toml, {})
    assert "hunter2" not in str(refused.value)
    assert load(server_toml, {"TAXII_SERVER_CHECK_FILE_MODES": "false"}).uses_mongodb


def test_without_a_secret_in_it_everybody_may_read_it(server_toml: Path) -> None:
    server_toml.write_text(f'store = "mongodb://db/hub"\n{ROOT}')
    server_toml.chmod(0o644)
    assert load(server_toml, {}).uses_mongodb
    secret = "mongodb://hub:hunter2@db/hub"
    assert load(server_toml, {"TAXII_SERVER_STORE": secret}).store == secret, "the environment is not this file"


@pytest.mark.parametrize("name", ["hub.db", "hub.db-wal", "hub.db-ledger", "hub.db-ledger-wal"])
def test_a_database_that_everybody_can_read_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "server.toml"
    file.write_text(f'store = "hub.db"\n{ROOT}')
    settings = load(file, {})
    require_private(settings)  # there is none yet: it will be made for its owner alone
    for each in ("hub.db", name):
        (tmp_path / each).touch(mode=0o600)
    require_private(settings)
    (tmp_path / name).chmod(0o644)
    with pytest.raises(ConfigError, match=f"chmod o-rwx {tmp_path / name} "):
        require_private(settings)
    require_private(load(file, {}, {"check_file_modes": False}))


def test_a_credential_does_not_show_what_could_be_attacked_at_leisure() -> None:
    assert "argon2" not in repr(Credential("analyst", "cert-de", "password", "$argon2id$v=19$", "2026-01-01"))
