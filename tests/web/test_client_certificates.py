"""Client certificates beside the other ways of logging in: which of them count, and what a change of partners does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from taxii_server.cli import main
from taxii_server.web.forwarded import PEER_CERTIFICATE
from tests.certificates import Issued, authority
from tests.web.rooms import MakeHub
from tests.world import MT, PARTNERS, World, audiences

FEED = authority().issue("CN=feed,C=FR")
NOBODY = authority().issue("CN=nobody")
KIND = 'kind = "cert"\nclearance = "red"\n'
KNOWN = audiences(dict.fromkeys(PARTNERS, "") | {"rw": f'{KIND}certificates = ["{FEED.fingerprint}"]\n'})


def status(hub: World, shown: Issued | None = None, token_of: str | None = None, **headers: str) -> int:
    environ: dict[str, Any] = {} if shown is None else {PEER_CERTIFICATE: shown.der}
    if token_of is not None:
        headers["Authorization"] = f"Bearer {hub.tokens[token_of]}"
    return hub.client.get("/taxii2/rights/", headers={"Accept": MT, **headers}, environ_overrides=environ).status_code


def test_while_it_is_off_a_certificate_means_nothing(make_hub: MakeHub) -> None:
    hub = make_hub(partners=KNOWN)
    assert status(hub, FEED) == 401
    assert status(hub, NOBODY, "ro") == 200


def test_optional_and_required(make_hub: MakeHub) -> None:
    for setting, without in (("optional", 200), ("required", 401)):
        hub = make_hub(partners=KNOWN, settings=f'auth_certificate = "{setting}"')
        assert status(hub, FEED) == 200
        assert status(hub, FEED, "rw") == 200
        assert status(hub, FEED, "ro") == 401
        assert status(hub, NOBODY) == status(hub, NOBODY, "rw") == 401
        assert status(hub, None, "rw") == without
        assert status(hub) == 401
        assert hub.client.get("/healthz").status_code == 200


def test_it_can_be_the_only_way_in_and_a_401_still_names_a_scheme(make_hub: MakeHub) -> None:
    off = "auth_basic = false\nauth_bearer = false\n"
    hub = make_hub(partners=KNOWN, settings=f'{off}auth_certificate = "optional"')
    assert status(hub, FEED) == 200
    assert status(hub, FEED, "rw") == 401
    answer = hub.client.get("/taxii2/", headers={"Accept": MT})
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Certificate")


def test_a_certificate_that_is_nobodys_is_not_the_anonymous_partner(make_hub: MakeHub) -> None:
    hub = make_hub(partners=KNOWN, settings='auth_certificate = "optional"\nanonymous_partner = "stranger"')
    assert status(hub) == 200
    assert status(hub, NOBODY) == 401


def test_a_name_that_is_taken_away_is_shut_out(make_hub: MakeHub) -> None:
    hub = make_hub(partners=KNOWN, settings='auth_certificate = "optional"')
    assert status(hub, FEED) == 200
    (hub.folder / "config/partners.toml").write_text(audiences(dict.fromkeys(PARTNERS, "")))
    hub.apply()
    assert status(hub, FEED) == 401


@pytest.mark.parametrize(
    ("certificates", "expected"),
    [
        ('["sha256:abc"]', "audience.rw.certificates: 'sha256:abc': a SHA-256 fingerprint has 64 hexadecimal digits"),
        ('["CN=a"]', "audience.rw.certificates: 'CN=a' is no name of a certificate"),
        ('["dns:a.example"]', "audience.rw.certificates: 'dns:a.example' belongs to 'ro' already"),
    ],
)
def test_a_wrong_name_is_refused_with_its_place(
    make_hub: MakeHub, certificates: str, expected: str, tmp_path: Path
) -> None:
    hub = make_hub()
    lines = {"ro": f'{KIND}certificates = ["DNS:A.example"]\n', "rw": f"{KIND}certificates = {certificates}\n"}
    (hub.folder / "config/partners.toml").write_text(audiences(lines | dict.fromkeys(PARTNERS[2:], "")))
    done = CliRunner().invoke(main, ["--config", str(hub.folder / "config/server.toml"), "check"])
    assert done.exit_code == 2
    assert expected in done.stderr


def test_a_certificate_from_an_address_that_is_not_the_partners_is_refused(make_hub: MakeHub) -> None:
    lines = f'{KIND}certificates = ["{FEED.fingerprint}"]\naddresses = ["192.0.2.0/24"]\n'
    partners = audiences(dict.fromkeys(PARTNERS, "") | {"rw": lines})
    hub = make_hub(partners=partners, settings='auth_certificate = "optional"')
    for address, expected in (("192.0.2.1", 200), ("198.51.100.1", 401)):
        environ = {PEER_CERTIFICATE: FEED.der, "REMOTE_ADDR": address}
        answer = hub.client.get("/taxii2/", headers={"Accept": MT}, environ_overrides=environ)
        assert answer.status_code == expected


def test_the_command_line_needs_no_certificate(make_hub: MakeHub) -> None:
    hub = make_hub(partners=KNOWN, settings='auth_certificate = "required"')
    words = ["--config", str(hub.folder / "config/server.toml"), "--store", hub.settings.store]
    done = CliRunner().invoke(main, [*words, "get", "/taxii2/", "--as", "rw"])
    assert (done.exit_code, "api_roots" in done.stdout) == (0, True)
