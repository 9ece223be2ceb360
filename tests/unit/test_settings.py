"""The settings: where each value comes from, what is refused, and that the written copies tell the same story."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from taxii_server.errors import ConfigError
from taxii_server.settings import (
    ROWS,
    Settings,
    api_roots_text,
    default_file,
    example_text,
    load,
    masked,
    read_api_roots,
    show,
)
from taxii_server.settings.rows import markdown_of, parse_toml
from taxii_server.settings.table import ApiRoot

ROOT = Path(__file__).parents[2]
HUB = '[api_roots.hub]\ntitle = "Hub"\n'


@pytest.fixture
def server_toml(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    return folder / "server.toml"


def read(file: Path, text: str = "", environment: Mapping[str, str] | None = None, **flags: object) -> Settings:
    file.write_text(f"{text}\n{HUB}", encoding="utf-8")
    return load(file, environment or {}, flags)


def refused(file: Path, text: str = "", environment: Mapping[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(file, text, environment, **flags)
    return str(caught.value)


# ---- where values come from


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(server_toml: Path) -> None:
    environment = {"TAXII_SERVER_PORT": "2", "TAXII_SERVER_THREADS": "2"}
    settings = read(server_toml, "port = 1\nthreads = 1\nworkers = 1\n", environment, port=3)
    assert (settings.port, settings.threads, settings.workers, settings.max_page) == (3, 2, 1, 1000)
    sources = [settings.sources[name] for name in ("port", "threads", "workers", "max_page")]
    assert sources == ["flag --port", "TAXII_SERVER_THREADS", server_toml.as_posix(), "default"]


def test_a_flag_that_was_not_given_changes_nothing(server_toml: Path) -> None:
    assert read(server_toml, "port = 1", port=None).port == 1


def test_the_environment_speaks_every_type(server_toml: Path) -> None:
    settings = read(
        server_toml,
        environment={
            "TAXII_SERVER_TITLE": "A hub",
            "TAXII_SERVER_AUTH_BASIC": "no",
            "TAXII_SERVER_REFRESH_S": "1.5",
            "TAXII_SERVER_CONFIG_FILES": "partners.toml, rules.toml",
            "TAXII_SERVER_TRAILING_SLASH": "serve",
        },
    )
    assert (settings.title, settings.auth_basic, settings.refresh_s) == ("A hub", False, 1.5)
    assert (settings.config_files, settings.trailing_slash) == (("partners.toml", "rules.toml"), "serve")


def test_the_environment_reaches_into_api_roots(server_toml: Path) -> None:
    environment = {"TAXII_SERVER_API_ROOTS__HUB__MAX_CONTENT_LENGTH": "4096", "TAXII_SERVER_API_ROOTS__LAB__TITLE": "L"}
    roots = read(server_toml, environment=environment).api_roots
    assert list(roots) == ["hub", "lab"]
    assert (roots["hub"].max_content_length, roots["hub"].title, roots["lab"].title) == (4096, "Hub", "L")


def test_what_kubernetes_adds_for_a_service_called_taxii_server_is_no_setting(server_toml: Path) -> None:
    environment = {
        "TAXII_SERVER_PORT": "tcp://10.0.0.7:6100",
        "TAXII_SERVER_PORT_6100_TCP_ADDR": "10.0.0.7",
        "TAXII_SERVER_SERVICE_HOST": "10.0.0.7",
        "TAXII_SERVER_SERVICE_PORT_HTTP": "6100",
    }
    assert read(server_toml, environment=environment).port == 6100


def test_paths_in_the_file_are_relative_to_it_and_others_to_where_one_stands(
    server_toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert read(server_toml).store == str(tmp_path / "var/taxii.db")
    assert read(server_toml).collections_dir == str(tmp_path / "collections")
    assert read(server_toml, 'store = "here.db"').store == str(tmp_path / "config/here.db")
    assert read(server_toml, store="here.db").store == "/here.db"
    assert read(server_toml, environment={"TAXII_SERVER_STORE": "there.db"}).store == "/there.db"


def test_a_mongodb_url_is_not_a_path(server_toml: Path) -> None:
    settings = read(server_toml, 'store = "mongodb://db/hub"')
    assert settings.store == "mongodb://db/hub"
    assert settings.uses_mongodb


def test_the_default_page_follows_a_smaller_largest_page(server_toml: Path) -> None:
    assert read(server_toml, "max_page = 50").default_page == 50


def test_the_file_is_named_by_a_variable_or_stands_in_config() -> None:
    assert default_file({}) == Path("config/server.toml")
    assert default_file({"TAXII_SERVER_CONFIG": "/etc/hub/server.toml"}) == Path("/etc/hub/server.toml")


def test_a_byte_order_mark_is_no_syntax_error(server_toml: Path) -> None:
    server_toml.write_text("\ufeffport = 7\n" + HUB, encoding="utf-8")
    assert load(server_toml, {}).port == 7


# ---- what is refused (more, with files: tests/cases/bad-config)


def test_every_problem_is_reported_at_once(server_toml: Path) -> None:
    message = refused(server_toml, 'port = 0\nthread = 4\nauth_basic = "yes"')
    assert "port: 0 is out of range" in message
    assert "unknown key 'thread'" in message
    assert "did you mean 'threads'?" in message
    assert 'auth_basic: expected true or false, found "yes"' in message


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TAXII_SERVER_PROT": "1"}, "unknown variable 'TAXII_SERVER_PROT'"),
        ({"TAXII_SERVER_PORT": "many"}, "environment: TAXII_SERVER_PORT: expected a whole number from 1 to 65535"),
        ({"TAXII_SERVER_REFRESH_S": "nan"}, "expected a number of seconds"),
        ({"TAXII_SERVER_API_ROOTS__HUB__TITEL": "x"}, "unknown variable 'TAXII_SERVER_API_ROOTS__HUB__TITEL'"),
    ],
)
def test_a_wrong_variable_is_named(server_toml: Path, environment: Mapping[str, str], expected: str) -> None:
    assert expected in refused(server_toml, environment=environment)


def test_a_wrong_flag_is_named(server_toml: Path) -> None:
    assert "command line: --max-page: 0 is out of range" in refused(server_toml, max_page=0)


def test_true_is_not_a_number(server_toml: Path) -> None:
    assert "workers: expected a whole number from 1 to 256, found true" in refused(server_toml, "workers = true")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/server\.toml: cannot be read: no such file"):
        load(tmp_path / "nowhere/server.toml", {})


def test_a_server_without_api_roots_does_not_start() -> None:
    with pytest.raises(ConfigError, match="api_roots: declare at least one"):
        load(None, {})


# ---- secrets


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("/var/taxii.db", "/var/taxii.db"),
        ("mongodb://db/hub", "mongodb://db/hub"),
        ("mongodb://hub@db/hub", "mongodb://hub@db/hub"),
        ("mongodb://hub:hunter2@db:27017/hub?w=majority", "mongodb://hub:***@db:27017/hub?w=majority"),
        ("mongodb+srv://hub:hunter2@db/hub", "mongodb+srv://hub:***@db/hub"),
        ("mongodb://hub:hun/ter@2@db/hub", "mongodb://hub:***@db/hub"),
        ("mongodb://db/hub?tlsCertificateKeyFilePassword=hunter2&tls=true", None),
        ("mongodb://db/hub?authMechanismProperties=AWS_SESSION_TOKEN:hunter2", None),
        ("mongodb://db/hub?tlsCertificateKeyFilePassword=hun@ter2", None),
    ],
)
def test_a_password_in_a_mongodb_url_is_masked(store: str, expected: str | None) -> None:
    shown = masked(store)
    assert not any(part in shown for part in ("hun", "ter2"))
    assert expected is None or shown == expected


def test_no_way_of_showing_settings_shows_a_password(server_toml: Path) -> None:
    server_toml.touch(mode=0o600)
    settings = read(server_toml, 'store = "mongodb://hub:hunter2@db/hub"')
    lines = list(show(settings))
    assert "hunter2" not in repr(settings)
    assert not any("hunter2" in line.value for line in lines)
    assert ("store", '"mongodb://hub:***@db/hub"') in [(line.name, line.value) for line in lines]


def test_every_setting_is_shown_with_its_source(server_toml: Path) -> None:
    lines = {line.name: line for line in show(read(server_toml, "port = 7"))}
    own = ("title", "description", "max_content_length", "path")
    assert set(lines) == {*ROWS, *(f"api_roots.hub.{name}" for name in own)}
    assert (lines["port"].value, lines["port"].source) == ("7", server_toml.as_posix())
    assert (lines["host"].value, lines["host"].source) == ('"127.0.0.1"', "default")


# ---- the written copies


def test_the_shipped_server_toml_is_what_init_writes() -> None:
    assert (ROOT / "config/server.toml").read_text(encoding="utf-8") == example_text()


def test_the_example_is_the_defaults(server_toml: Path) -> None:
    server_toml.write_text(example_text(), encoding="utf-8")
    settings = load(server_toml, {})
    defaults = read(server_toml)
    assert all(getattr(settings, name) == getattr(defaults, name) for name in ROWS)


def test_the_example_with_every_comment_taken_out_is_still_the_defaults(server_toml: Path) -> None:
    names = tuple(f"# {name} = " for name in ROWS)
    lines = [line.removeprefix("# ") if line.startswith(names) else line for line in example_text().splitlines()]
    values, problems = parse_toml("\n".join(lines), "server.toml")
    assert problems == []
    assert {*values} == {*ROWS, "api_roots"}


def test_the_readme_holds_the_table_of_settings() -> None:
    readme = (ROOT / "config/README.md").read_text(encoding="utf-8")
    assert markdown_of(Settings) in readme
    assert markdown_of(ApiRoot) in readme


def test_api_roots_survive_being_written_and_read(server_toml: Path) -> None:
    text = '[api_roots.lab]\ntitle = "Lab \\"A\\" \\u00e9"\ndescription = "x"\nmax_content_length = 2048\n'
    roots = read(server_toml, text).api_roots
    assert list(roots) == ["lab", "hub"]
    values, _ = parse_toml(api_roots_text(roots), "f")
    assert read_api_roots(values["api_roots"], "f") == (roots, [])


def test_the_machines_get_no_port_that_is_taken(server_toml: Path) -> None:
    with pytest.raises(ConfigError, match="metrics_port: 7 is the port of the server itself"):
        read(server_toml, "port = 7\nmetrics_port = 7")


# ---- secrets in files


def from_environment(server_toml: Path, environment: Mapping[str, str]) -> Settings:
    server_toml.write_text(example_text(), encoding="utf-8")
    return load(server_toml, environment)


def test_a_value_can_stand_in_a_file(server_toml: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mongodb://u:p@db/taxii\n")
    settings = from_environment(server_toml, {"TAXII_SERVER_STORE_FILE": str(secret)})
    assert settings.store == "mongodb://u:p@db/taxii"
    assert settings.sources["store"] == "TAXII_SERVER_STORE_FILE"


def test_a_file_with_a_value_that_is_missing_or_one_too_many_is_named(server_toml: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"TAXII_SERVER_STORE_FILE: .*secret: cannot be read: no such file"):
        from_environment(server_toml, {"TAXII_SERVER_STORE_FILE": str(tmp_path / "secret")})
    (tmp_path / "secret").write_text("x")
    both = {"TAXII_SERVER_STORE": "y", "TAXII_SERVER_STORE_FILE": str(tmp_path / "secret")}
    with pytest.raises(ConfigError, match="TAXII_SERVER_STORE is set as well"):
        from_environment(server_toml, both)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("taxii2/rights", "below it only taxii2/UUID"),
        ("metrics", "belongs to the server itself"),
        ("hub/collections", "lies below the API root 'hub'"),
        ("other", "is the path of 'one' already"),
        ("/slash/", "is not one or more names"),
        ("a/../b", "is not one or more names"),
        ("a b", "is not one or more names"),
    ],
)
def test_a_path_of_an_api_root_stands_for_nothing_else(path: str, words: str) -> None:
    values = {"hub": {"title": "h"}, "one": {"title": "1", "path": "other"}, "two": {"title": "2", "path": path}}
    _, problems = read_api_roots(values, "server.toml")
    assert [problem.key for problem in problems] == ["api_roots.two.path"]
    assert words in problems[0].message


@pytest.mark.parametrize("path", ["", "taxii2/0e0d7b1c-66d0-4a5e-8a4b-1f6f0a0c7f11", "Trust_Group.1", "two", "a/b/c"])
def test_a_path_of_an_api_root_can_be_what_another_server_had(path: str) -> None:
    roots, problems = read_api_roots({"hub": {"title": "h"}, "two": {"title": "2", "path": path}}, "server.toml")
    assert problems == []
    assert roots["two"].path == path
