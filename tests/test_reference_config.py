"""The reference gateway's configuration: where values come from, and what is said about wrong ones."""

from pathlib import Path

import pytest

from reference_impl.config import ConfigError, load

ENVIRON = {
    "GATEWAY_PUBLIC_URL": "https://gw.example.test",
    "GATEWAY_TOKEN": "operator-token",
    "OPENAI_API_KEY": "sk-test-key",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "auth-token",
    "TWILIO_NUMBER": "+15005550006",
}


def test_environment_alone_is_enough() -> None:
    config = load([], ENVIRON)
    assert config.openai_model == "gpt-realtime-2"
    assert config.openai_base_url == "https://api.openai.com/v1"
    assert config.twilio_base_url == "https://api.twilio.com"
    assert config.port == 8080
    assert config.stream_url == "wss://gw.example.test/twilio/stream"


def test_file_is_read_and_environment_wins(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[gateway]\nport = 9000\ngreeting = "Hi"\n[openai]\nmodel = "gpt-realtime"\n')
    config = load(["--config", str(path)], {**ENVIRON, "GATEWAY_PORT": "9001"})
    assert (config.port, config.greeting, config.openai_model) == (9001, "Hi", "gpt-realtime")
    assert load([], {**ENVIRON, "GATEWAY_CONFIG": str(path)}).port == 9000


def test_every_wrong_key_is_named_with_what_to_write() -> None:
    with pytest.raises(ConfigError) as caught:
        load([], {**ENVIRON, "GATEWAY_PORT": "65536", "OPENAI_API": "v2", "TWILIO_NUMBER": "5005550006"})
    text = str(caught.value)
    assert "gateway.port (environment: GATEWAY_PORT): must be a whole number from 0 to 65535, not '65536'" in text
    assert "openai.api (environment: OPENAI_API): must be auto, beta or ga, not 'v2'" in text
    assert "TWILIO_NUMBER): must be a number such as +15005550006 (E.164)" in text


@pytest.mark.parametrize("name", sorted(ENVIRON))
def test_missing_required_key_is_named(name: str) -> None:
    environ = {key: value for key, value in ENVIRON.items() if key != name}
    with pytest.raises(ConfigError, match=f"{name}\\): is missing"):
        load([], environ)


def test_wrong_secret_is_not_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        load([], {**ENVIRON, "OPENAI_API_KEY": "sk-test key"})
    assert "OPENAI_API_KEY" in str(caught.value)
    assert "sk-test" not in str(caught.value)


@pytest.mark.parametrize("url", ["gw.example.test", "ftp://gw.test", "https://u:p@gw.test", "https://gw.test/?a=1"])
def test_public_url_must_be_a_plain_url(url: str) -> None:
    with pytest.raises(ConfigError, match="GATEWAY_PUBLIC_URL"):
        load([], {**ENVIRON, "GATEWAY_PUBLIC_URL": url})


def test_unknown_key_unreadable_file_and_bad_toml(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[openai]\nmodle = "x"\n')
    with pytest.raises(ConfigError, match=r"openai\.modle: unknown key"):
        load(["--config", str(path)], ENVIRON)
    path.write_text("[openai\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(["--config", str(path)], ENVIRON)
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        load(["--config", str(tmp_path / "absent.toml")], ENVIRON)
