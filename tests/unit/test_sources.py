"""Where options come from: three places in their order, each refusal in the spelling of its own place."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from noisegate_server.cli.sources import read_settings
from noisegate_server.config import Config, ConfigError
from noisegate_server.session.suites import Pattern, Suite


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine that runs the tests has set must not decide them."""
    for name in Config.model_fields:
        monkeypatch.delenv(f"NOISEGATE_{name.upper()}", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with three of the options."""
    path = tmp_path / "noisegate.toml"
    path.write_text('dev = true\nmax_sessions = 1\ngrace = 1\n[tls]\ncertificate = "c"\nkey = "k"\n')
    return path


def _refusal(file: Path | None = None, **given: object) -> str:
    with pytest.raises(ConfigError) as refused:
        read_settings(given, file)
    return str(refused.value)


def test_the_command_line_comes_before_the_environment_and_that_before_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the three wins over all that come after it, and each value knows its place."""
    monkeypatch.setenv("NOISEGATE_MAX_SESSIONS", "2")
    monkeypatch.setenv("NOISEGATE_GRACE", "2")
    settings = read_settings({"grace": "3"}, file)
    config = settings.config
    assert (config.dev, config.max_sessions, config.grace, config.drain) == (True, 2, 3.0, 0.5)
    assert settings.origins["dev"] == f"{file}: dev"
    assert settings.origins["max_sessions"] == "NOISEGATE_MAX_SESSIONS"
    assert settings.origins["grace"] == "--grace"
    assert "drain" not in settings.origins


def test_a_table_of_the_file_is_the_beginning_of_its_options_names(file: Path) -> None:
    """`[tls] key` is `tls_key`."""
    settings = read_settings({}, file)
    assert settings.config.tls_key == Path("k")
    assert settings.origins["tls_key"] == f"{file}: tls.key"


def test_what_is_shown_is_a_file_that_means_the_same(file: Path, tmp_path: Path) -> None:
    """So an operator can keep it; and every option stands in it, with the place it is from."""
    odd = 'a "quoted" \\ path\twith\n everything é'
    first = read_settings({"state_file": odd, "suites": ["aes256_gcm_x25519"]}, file)
    lines = list(first.lines())
    assert [line.removeprefix("# ").split()[0] for line in lines] == list(Config.model_fields)
    assert f"max_sessions = 1  # {file}: max_sessions" in lines
    assert "drain = 0.5  # default" in lines
    again = tmp_path / "again.toml"
    again.write_text("\n".join(lines))
    assert read_settings({}, again).config == first.config
    assert tomllib.loads("\n".join(lines))["state_file"] == odd


def test_a_variable_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As whoever writes `NAME=` means it."""
    monkeypatch.setenv("NOISEGATE_MAX_SESSIONS", "")
    assert read_settings({"dev": True}).config.max_sessions == 1_000_000


def test_several_values_in_a_variable_stand_between_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An identity for all and one for a tenant; suites also between commas."""
    monkeypatch.setenv("NOISEGATE_IDENTITY", "a.key chat=b.key")
    monkeypatch.setenv("NOISEGATE_SUITES", "AES256_GCM_X25519,CHACHA20_POLY1305_X25519")
    config = read_settings({"patterns": ["IK", "xx"]}).config
    assert config.identity == ("a.key", "chat=b.key")
    assert config.suites == (Suite.AES256_GCM_X25519, Suite.CHACHA20_POLY1305_X25519)
    assert config.patterns == (Pattern.IK, Pattern.XX)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_session = 1", "{file}: max_session: there is no such option; the nearest is max_sessions"),
        ("[tls]\ncertificat = 'hunter2'", "{file}: tls.certificat: there is no such option; the nearest is tls_cert"),
        ("max_sessions = 'hunter2'", "{file}: max_sessions: Input should be a valid integer"),
        ("max_sessions = 0", "{file}: max_sessions: Input should be greater than or equal to 1"),
        ("log_level = 'hunter2'", "{file}: log_level: Input should be 'DEBUG'"),
        ("suites = ['hunter2']", "{file}: suites: one or more of MLKEM1024"),
        ("tls_key = 'k'\n[tls]\nkey = 'hunter2'", "{file}: tls.key: the same option as tls_key"),
        ("tls_client_ca = 'hunter2'", "{file}: tls_client_ca: needs --tls-certificate"),
        ("key = hunter2", "--config: {file}: not TOML, at line 1, column 7"),
        ("dev = ", "--config: {file}: not TOML"),
    ],
)
def test_a_refusal_of_the_file_names_the_option_as_it_stands_there(tmp_path: Path, text: str, says: str) -> None:
    """And the remedy, never the value."""
    path = tmp_path / "noisegate.toml"
    path.write_text(text)
    refusal = _refusal(path, dev=True)
    assert refusal.startswith(says.format(file=path))
    assert "hunter2" not in refusal


def test_a_file_that_is_not_there_or_no_text_is_refused_as_the_option(tmp_path: Path) -> None:
    """It was asked for by name."""
    assert _refusal(tmp_path / "none", dev=True).endswith("none: cannot be read (No such file or directory)")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert "not TOML" in _refusal(binary, dev=True)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("NOISEGATE_MAX_SESSIONS", "hunter2", "NOISEGATE_MAX_SESSIONS: Input should be a valid integer"),
        ("NOISEGATE_TRACEABLE", "hunter2", "NOISEGATE_TRACEABLE: Input should be a valid boolean"),
        ("NOISEGATE_TLS_CLIENT_CA", "hunter2", "NOISEGATE_TLS_CLIENT_CA: needs --tls-certificate"),
        (
            "NOISEGATE_MAX_SESSION",
            "hunter2",
            "NOISEGATE_MAX_SESSION: there is no such option; the nearest is NOISEGATE_MAX",
        ),
    ],
)
def test_a_refusal_of_a_variable_names_the_variable(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever set it looks for that name."""
    monkeypatch.setenv(variable, value)
    refusal = _refusal(dev=True)
    assert refusal.startswith(says)
    assert "hunter2" not in refusal


@pytest.mark.parametrize(
    "variable",
    ["NOISEGATE_PORT", "NOISEGATE_SERVICE_HOST", "NOISEGATE_ADMIN_PORT_7444_TCP_ADDR", "NOISEGATE_TARGET"],
)
def test_variables_that_mean_something_else_are_passed_over(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets some of that prefix for every Service, other commands have their own."""
    monkeypatch.setenv(variable, "tcp://10.0.0.1:7443")
    assert read_settings({"dev": True}).config.listen == "127.0.0.1:7443"


def test_a_later_refusal_is_respelled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that turns out to be of no use only when the service starts."""
    monkeypatch.setenv("NOISEGATE_IDENTITY", "a.key")
    settings = read_settings({})
    assert (
        str(settings.respell(ConfigError("--identity", "a.key: is no key"))) == "NOISEGATE_IDENTITY: a.key: is no key"
    )
    assert str(settings.respell(ConfigError("--policy", "is none"))) == "--policy: is none"
