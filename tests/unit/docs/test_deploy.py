"""deploy/ and compose.yaml: what they set exists, what they ask for is answered, what they watch is told."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from taxii_server.settings import load
from tests.unit.docs.test_docs import ROOT
from tests.unit.docs.test_operations import NAMES, TEXT, named

ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
DASHBOARD = ROOT / "deploy/grafana/taxii-server.json"
MANIFESTS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/hub.yaml").read_text(encoding="utf-8")))
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
RULES = [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
#: Prometheus' own checks, where they are installed (.ci/run installs them).
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def environment_of(variables: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The variables, with a file of our own in the place of each secret."""
    secret = tmp_path / "store"
    secret.write_text("mongodb://u:p@db/taxii?replicaSet=rs0\n")
    return {name: str(secret) if name.endswith("_FILE") else value for name, value in variables.items()}


def promtool(*arguments: str, folder: Path = ALERTS.parent) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- alerts


def test_every_metric_of_the_alerts_exists() -> None:
    assert len(RULES) > 20
    for rule in RULES:
        assert named(rule["expr"]) <= NAMES, rule["alert"]


def test_every_alert_is_explained_and_no_other() -> None:
    explained = re.findall(r"^### (Taxii\w+)$", TEXT, re.MULTILINE)
    assert explained == [rule["alert"] for rule in RULES], "in the order of the file"
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


@needs_promtool
def test_prometheus_takes_the_alerts_and_each_of_them_can_be_raised() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", ALERTS.name)
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yaml")


# ---- the dashboard


def expressions() -> Iterator[tuple[str, str]]:
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def test_every_metric_of_the_dashboard_exists_and_none_is_left_out() -> None:
    shown: set[str] = set()
    for title, expression in expressions():
        assert named(expression) <= NAMES, title
        shown |= named(expression)
    assert shown == NAMES


def test_the_panels_lie_beside_each_other() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


@needs_promtool
def test_prometheus_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    filled = [each.replace("$__rate_interval", "5m").replace("$instance", ".*") for _, each in expressions()]
    rules = [{"record": f"dashboard:{number}", "expr": each} for number, each in enumerate(filled)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))


# ---- Kubernetes


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [each for each in MANIFESTS if each["kind"] == kind]
    return dict(found)


@pytest.mark.parametrize("each", MANIFESTS, ids=lambda each: each["kind"])
def test_kubernetes_takes_the_manifest(each: dict[str, Any]) -> None:
    kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


def test_the_pod_sets_settings_that_exist_and_asks_ports_that_answer(tmp_path: Path) -> None:
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    settings = load(ROOT / "config/server.toml", environment_of(variables, tmp_path))
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": settings.port, "machines": settings.metrics_port}
    assert pod["terminationGracePeriodSeconds"] > settings.shutdown_delay_s + settings.shutdown_grace_s
    for name, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        assert container[name]["httpGet"] == {"path": path, "port": "machines"}
    assert not settings.plain_http
    assert settings.trusted_proxies
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert {path for path in mounted if path.startswith("/etc/taxii-server/")} == set(
        re.findall(r"^COPY (?:config|collections) (\S+)", dockerfile, re.MULTILINE)
    )
    assert f"useradd --uid {pod['securityContext']['runAsUser']} " in dockerfile
    assert {each["name"] for each in pod["volumes"]} == {each["name"] for each in container["volumeMounts"]}


def test_every_selector_finds_the_pods() -> None:
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("Service")["spec"]["selector"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels


# ---- compose


def test_compose_sets_settings_that_exist(tmp_path: Path) -> None:
    hub = COMPOSE["services"]["hub"]
    settings = load(ROOT / "config/server.toml", environment_of(hub["environment"], tmp_path))
    assert settings.store == "mongodb://u:p@db/taxii?replicaSet=rs0"
    assert float(hub["stop_grace_period"].removesuffix("s")) > settings.shutdown_grace_s
    for name in ("mongo", "hub"):
        service = COMPOSE["services"][name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


def test_compose_makes_its_secrets_once(tmp_path: Path) -> None:
    """The script as it runs in the container, but for the owners and the place."""
    script = COMPOSE["services"]["secrets"]["command"][0].replace("$$", "$").replace("/secrets", str(tmp_path))
    script = re.sub(r"^chown .*$", "", script, flags=re.MULTILINE)
    seen = []
    for _ in range(2):
        subprocess.run(["bash", "-euc", script], check=True, timeout=30)
        seen.append({file.name: file.read_text() for file in tmp_path.iterdir()})
    assert seen[0] == seen[1]
    files = seen[0]
    assert len(files["mongo_password"]) >= 24
    assert 6 <= len(files["mongo_key"]) <= 1024, "as mongod wants it"
    assert files["store_url"].startswith(f"mongodb://hub:{files['mongo_password']}@mongo:27017/")
    assert all(file.stat().st_mode & 0o777 == 0o400 for file in tmp_path.iterdir())
    shell = COMPOSE["services"]["mongo"]["healthcheck"]["test"][1].replace("$$", "$")
    subprocess.run(["bash", "-n", "-c", shell], check=True, timeout=30)


# ---- systemd


def test_the_unit_gives_the_server_time_to_stop() -> None:
    unit = (ROOT / "deploy/taxii-server.service").read_text(encoding="utf-8")
    settings = load(None, {"TAXII_SERVER_API_ROOTS__HUB__TITLE": "x"})
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(seconds) > settings.shutdown_delay_s + settings.shutdown_grace_s
