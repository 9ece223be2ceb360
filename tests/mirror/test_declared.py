"""What mirrors.toml says, how secrets are found, and how long is waited."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from requests import Request
from requests.auth import AuthBase

from taxii_server.errors import ConfigError
from taxii_server.mirror.login import read_certificate, read_login
from taxii_server.mirror.patience import LONGEST_ASKED_S, asked_s, pause_s
from taxii_server.mirror.schema import Mirror, identity, make_mirror, read_mirrors
from taxii_server.settings.rows import markdown_of

URL = "https://hub.example/api/collections/91a7b528-80eb-42ed-a74d-c6fbd5a26116/"
PULL = f'[pull.cert-eu]\nurl = "{URL}objects/"\ncollection = "from-cert-eu"\n'


def mirrors(folder: Path, text: str) -> list[Mirror]:
    file = folder / "mirrors.toml"
    file.write_text(text)
    return read_mirrors(file)


def mirror(**values: object) -> Mirror:
    return make_mirror("m", "pull", {"url": URL, "collection": "c"} | values, Path("/x"), "test")


def test_a_mirror_is_read_with_its_defaults(tmp_path: Path) -> None:
    (found,) = mirrors(tmp_path, PULL + 'token_file = "secret"\nevery_s = 60\n')
    assert (found.name, found.kind, found.url) == ("cert-eu", "pull", URL)
    assert found.token_file == str(tmp_path / "secret")
    assert (found.every_s, found.page, found.all_versions, found.follow_deletions) == (60, 1000, True, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no mirror in it"),
        ("[pull]\n[pull.x]\n", "mirrors.toml"),
        ("[pull.x]\n", "pull.x.url: missing"),
        ("[mirror.x]\n", "expected tables such as [pull.NAME]"),
        (PULL + "evry_s = 5\n", "did you mean 'every_s'"),
        (PULL.replace("cert-eu]", "Cert]"), "the name of a mirror is one word"),
        (PULL.replace("https", "http"), "use https://"),
        (PULL.replace("https://", "https://user:pw@"), "without a login"),
        (PULL.replace("/collections/", "/"), "is not the URL of a collection"),
        (PULL + 'token_file = "a"\npassword_file = "b"\n', "give one of them"),
        (PULL + 'client_key = "a"\n', "no client_certificate"),
        (PULL + 'added_after = "yesterday"\n', "is not a time such as"),
        (PULL + 'token = "secret"\n', "unknown key 'token'"),
        (PULL.replace("pull.", "push."), "push.cert-eu.partner: missing"),
        (PULL.replace("pull.", "push.") + 'partner = "p"\nfollow_deletions = true\n', "only a pull"),
        (PULL + PULL.replace("pull.", "push.") + 'partner = "p"\n', "a pull of the same name"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        mirrors(tmp_path, text)
    assert words in str(error.value)
    assert "mirrors.toml" in str(error.value)


def test_other_filters_make_another_mirror_and_the_rest_does_not() -> None:
    keys = [identity(mirror(**more), "id") for more in ({}, {"types": ["indicator"]}, {"all_versions": False})]
    keys.append(identity(mirror(), "another"))
    assert len(set(keys)) == 4
    assert identity(mirror(every_s=9, page=5, token_file="x"), "id") == keys[0]


def header(login: AuthBase | None) -> str | None:
    prepared = Request("GET", URL, auth=login).prepare()
    return prepared.headers.get("Authorization")


def test_secrets_come_from_files_or_variables(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    environment = {"TAXII_MIRROR_TOKEN": "shared", "TAXII_MIRROR_TOKEN_M": "own", "TAXII_MIRROR_PASSWORD": "pw"}

    def login(environment: dict[str, str], **values: object) -> str | None:
        return header(read_login(mirror(**values), check_modes=True, environment=environment))

    assert login({}) is None
    assert login({}, token_file=str(file)) == "Bearer s3cret"
    assert login(environment) == "Bearer own"
    assert login({"TAXII_MIRROR_TOKEN": "shared"}, token_scheme="Token") == "Token shared"
    assert login({"TAXII_MIRROR_PASSWORD": "pw"}, user="me") == "Basic bWU6cHc="
    for values, words in (
        ({"user": "me"}, "the password of 'me'"),
        ({"token_file": str(tmp_path / "none")}, "no such file"),
    ):
        with pytest.raises(ConfigError, match=words):
            login({}, **values)
    with pytest.raises(ConfigError, match="whose is it"):
        login({"TAXII_MIRROR_PASSWORD": "pw"})
    file.write_text("two\nlines")
    with pytest.raises(ConfigError, match="one line"):
        login({}, token_file=str(file))
    file.chmod(0o604)
    with pytest.raises(ConfigError, match="chmod o-rwx"):
        login({}, token_file=str(file))
    with pytest.raises(ConfigError, match="private key"):
        read_certificate(mirror(client_certificate=str(file)), check_modes=True)
    assert read_certificate(mirror(client_certificate=str(file)), check_modes=False) == str(file)
    with pytest.raises(ConfigError, match="ca_file"):
        read_certificate(mirror(ca_file=str(tmp_path / "none")), check_modes=True)


def test_pauses_grow_and_have_chance_in_them() -> None:
    assert [pause_s(n, lambda: 1.0) for n in (0, 1, 2, 5, 6, 100)] == [1, 2, 4, 32, 60, 60]
    assert pause_s(3, lambda: 0.0) == 4
    assert len({pause_s(3) for _ in range(20)}) > 1


def test_retry_after_is_a_number_or_a_date_on_the_clock_of_the_peer() -> None:
    now = datetime(2020, 1, 1, tzinfo=UTC)  # the peer's clock is years behind ours
    date = format_datetime(now, usegmt=True)
    assert asked_s(None) is None
    assert asked_s(" 120 ") == 120
    assert asked_s(format_datetime(now + timedelta(seconds=90), usegmt=True), date) == 90
    assert asked_s(date, format_datetime(now + timedelta(seconds=90), usegmt=True)) == 0
    assert asked_s("9" * 50) == LONGEST_ASKED_S
    for nonsense in ("", "-5", "soon", "1.5", "٣", "Mon, 99 Foo 2020"):
        assert asked_s(nonsense, date) is None


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/mirroring.md").read_text(encoding="utf-8")


def test_the_page_has_every_key_and_its_example_holds(tmp_path: Path) -> None:
    assert markdown_of(Mirror) in PAGE
    (example,) = [each for each in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "[pull." in each]
    assert [(each.name, each.kind) for each in mirrors(tmp_path, example)] == [
        ("interpol", "pull"),
        ("our-soc", "push"),
    ]
    unit = (ROOT / "deploy/taxii-mirror.service").read_text(encoding="utf-8")
    assert "taxii-server --config /etc/taxii-server/config/server.toml mirror run\n" in unit
