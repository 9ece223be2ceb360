"""A port in plain HTTP that is meant for a proxy serves the proxy, this machine and health checks."""

from __future__ import annotations

import pytest

from tests.web.rooms import MakeHub
from tests.world import MT

OPEN = 'host = "0.0.0.0"\ntrusted_proxies = ["10.0.0.1"]\n'


@pytest.mark.parametrize(
    ("peer", "settings", "expected"),
    [
        ("192.0.2.9", OPEN, 403),
        ("::ffff:192.0.2.9", OPEN, 403),
        ("10.0.0.1", OPEN, 200),
        ("127.0.0.1", OPEN, 200),
        ("192.0.2.9", OPEN + "plain_http = true", 200),
        ("192.0.2.9", OPEN + 'tls_certificate = "x"', 200),
        ("192.0.2.9", "", 200),
    ],
)
def test_who_is_served(make_hub: MakeHub, peer: str, settings: str, expected: int) -> None:
    hub = make_hub(settings=settings)
    headers = {"Accept": MT, "Authorization": f"Bearer {hub.tokens['rw']}"}
    more = {"REMOTE_ADDR": peer}
    answer = hub.client.get("/taxii2/", headers=headers, environ_overrides=more)
    assert answer.status_code == expected
    assert answer.headers["Content-Type"] == MT
    assert hub.client.get("/healthz", environ_overrides=more).status_code == 200
    assert hub.client.get("/readyz", environ_overrides=more).status_code == 200
