"""Azure's settings in the reference gateway: what is enough, and that what is wrong is told and never made up for."""

from pathlib import Path

import pytest

from reference_impl.azure import upstream_for
from reference_impl.config import Config, ConfigError, load
from reference_impl.upstream import Upstream

KEY = "0123456789abcdef0123456789abcdef"
PLATFORM_KEY = "sk-platform-0123456789abcdef"
BASE = {
    "GATEWAY_PUBLIC_URL": "https://gw.example.test",
    "GATEWAY_TOKEN": "operator-token",
    "GATEWAY_TALK_TOKEN": "talk-token",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "auth-token",
    "TWILIO_NUMBER": "+15005550006",
}
ENDPOINT = "https://voices.openai.azure.com"
AZURE = {
    "OPENAI_PROVIDER": "azure-openai",
    "AZURE_OPENAI_ENDPOINT": ENDPOINT,
    "AZURE_OPENAI_DEPLOYMENT": "speech-1",
    "AZURE_OPENAI_API_KEY": KEY,
}


def config(**environ: str) -> Config:
    return load([], {**BASE, **AZURE, **environ})


def test_endpoint_deployment_and_key_are_enough() -> None:
    made = config()
    assert (made.azure, made.model, made.azure_auth) == (True, "speech-1", "key")
    assert load([], {**BASE, **{name: text for name, text in AZURE.items() if name != "OPENAI_PROVIDER"}}).azure
    assert config(AZURE_OPENAI_ENDPOINT=ENDPOINT + "/").azure_endpoint == ENDPOINT
    assert config(AZURE_OPENAI_ENDPOINT="http://127.0.0.1:8080").azure
    assert config(AZURE_OPENAI_ENDPOINT="https://proxy.example.com/azure").azure


MISCONFIGURED = {
    "no endpoint": ({"AZURE_OPENAI_ENDPOINT": ""}, "azure_endpoint_missing"),
    "no deployment": ({"AZURE_OPENAI_DEPLOYMENT": ""}, "azure_deployment_missing"),
    "only the deployment": (
        {"OPENAI_PROVIDER": "openai", "AZURE_OPENAI_ENDPOINT": "", "AZURE_OPENAI_API_KEY": ""},
        "azure_endpoint_missing",
    ),
    "only the version": (
        {
            "OPENAI_PROVIDER": "",
            "AZURE_OPENAI_ENDPOINT": "",
            "AZURE_OPENAI_DEPLOYMENT": "",
            "AZURE_OPENAI_API_KEY": "",
            "AZURE_OPENAI_API_VERSION": "2025-04-01-preview",
        },
        "azure_deployment_missing",
    ),
    "only the key": (
        {"OPENAI_PROVIDER": "openai", "AZURE_OPENAI_ENDPOINT": "", "AZURE_OPENAI_DEPLOYMENT": ""},
        "azure_endpoint_missing",
    ),
    "only the provider": (
        {"AZURE_OPENAI_ENDPOINT": "", "AZURE_OPENAI_DEPLOYMENT": "", "AZURE_OPENAI_API_KEY": ""},
        "azure_no_credentials",
    ),
    "no credential": ({"AZURE_OPENAI_API_KEY": ""}, "azure_no_credentials"),
    "no key where one is asked for": (
        {"AZURE_OPENAI_API_KEY": "", "AZURE_OPENAI_AUTH": "key", "AZURE_CLIENT_ID": "x"},
        "azure_no_credentials",
    ),
    "a key of OpenAI": ({"AZURE_OPENAI_API_KEY": PLATFORM_KEY}, "azure_key_wrong"),
    "two keys": ({"AZURE_OPENAI_API_KEY_FILE": "/nowhere"}, "azure_key_wrong"),
    "a reference to nothing": ({"AZURE_OPENAI_API_KEY": "env:NOT_SET"}, "azure_key_wrong"),
    "a file that is not there": ({"AZURE_OPENAI_API_KEY": "file:/nowhere/key"}, "azure_key_wrong"),
    "OpenAI's address": ({"AZURE_OPENAI_ENDPOINT": "https://api.openai.com"}, "azure_endpoint_wrong"),
    "http": ({"AZURE_OPENAI_ENDPOINT": "http://voices.openai.azure.com"}, "azure_endpoint_wrong"),
    "no scheme": ({"AZURE_OPENAI_ENDPOINT": "voices.openai.azure.com"}, "azure_endpoint_wrong"),
    "a port that is none": ({"AZURE_OPENAI_ENDPOINT": ENDPOINT + ":port"}, "azure_endpoint_wrong"),
    "the whole address": ({"AZURE_OPENAI_ENDPOINT": ENDPOINT + "/openai/v1/realtime"}, "azure_endpoint_wrong"),
    "the address with a query": ({"AZURE_OPENAI_ENDPOINT": ENDPOINT + "?api-key=" + KEY}, "azure_endpoint_wrong"),
    "the address with a password": ({"AZURE_OPENAI_ENDPOINT": f"https://u:{KEY}@h.test"}, "azure_endpoint_wrong"),
    "a path of a proxy": ({"AZURE_OPENAI_ENDPOINT": "https://p.test/openai/v1"}, "azure_endpoint_wrong"),
    "a version that is none": ({"AZURE_OPENAI_API_VERSION": "latest"}, "azure_api_version_wrong"),
    "two dialects": ({"OPENAI_API": "beta"}, "azure_api_conflict"),
    "webrtc": ({"GATEWAY_TALK_TRANSPORT": "webrtc"}, "azure_transport_unsupported"),
}


@pytest.mark.parametrize("name", MISCONFIGURED)
@pytest.mark.parametrize("platform", [{}, {"OPENAI_API_KEY": PLATFORM_KEY}], ids=["alone", "with a key of OpenAI"])
def test_what_is_missing_or_wrong_is_told_and_never_made_up_for(name: str, platform: dict[str, str]) -> None:
    wrong, cause = MISCONFIGURED[name]
    with pytest.raises(ConfigError) as caught:
        config(**wrong, **platform)
    assert cause in {each.cause for each in caught.value.wrong}
    assert f"[{cause}]" in str(caught.value)
    assert KEY not in str(caught.value)
    assert PLATFORM_KEY not in str(caught.value)
    assert "openai.api_key" not in str(caught.value)


def test_without_a_word_of_azure_it_is_openai() -> None:
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY\): is missing"):
        load([], {**BASE, "AZURE_CLIENT_ID": "for something else"})
    made = load([], {**BASE, "OPENAI_API_KEY": PLATFORM_KEY, "OPENAI_PROVIDER": "openai"})
    assert (made.azure, made.model, made.azure_auth) == (False, "gpt-realtime-2", "")
    assert type(upstream_for(made)) is Upstream


def test_a_key_comes_from_the_environment_a_reference_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    assert config(AZURE_OPENAI_API_KEY="env:ELSEWHERE", ELSEWHERE=KEY).azure_api_key == KEY
    made = config(AZURE_OPENAI_API_KEY=f"file:{file}")
    assert (made.azure_api_key, made.azure_api_key_file) == ("", str(file))
    assert config(AZURE_OPENAI_API_KEY="", AZURE_OPENAI_API_KEY_FILE=str(file)).azure_auth == "key"
    assert KEY in config().secrets()


@pytest.mark.parametrize("name", ["AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT"])
def test_without_a_key_it_is_entra_where_there_is_an_identity(name: str) -> None:
    assert config(AZURE_OPENAI_API_KEY="", **{name: "x"}).azure_auth == "entra"
    assert config(**{name: "x"}).azure_auth == "key"
    assert config(AZURE_OPENAI_API_KEY="", AZURE_OPENAI_AUTH="entra").azure_auth == "entra"
