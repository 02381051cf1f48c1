"""Configuration files of a profile, its home, and how it is led to the vendors."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pytest

from harness.profile import Profile, ProfileError, load_profile

TEXT = """
[gateway]
name = "mine"
version = "2.0"
command = ["mine"]

[settings]
openai.api_key = "$KEY"
azure.endpoint = { env = "AZURE_URL", value = "{azure.endpoint}/openai?v={azure.api_version}" }

[files]
"{home}/.mine/config.json" = "config.json.j2"
"{home}/{listen.port}.txt" = "port.txt.j2"

[environment]
HOME = "{home}"
RELEASE = "{version}"
API_VERSION = "{azure.api_version}"
"""
CONFIG = """\
{
  "key": {{ openai.api_key | tojson }},
  {% if azure is defined %}
  "azure": {{ azure.endpoint | tojson }},
  {% endif %}
  "port": {{ listen.port }}, "of": "{{ version }}", "at": {{ (home + "/data") | tojson }}
}
"""
VALUES = {"openai.api_key": 'a "key"', "listen.port": "80"}


def write(folder: Path, text: str = TEXT, config: str = CONFIG) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.toml").write_text(text, encoding="utf-8")
    (folder / "config.json.j2").write_text(config, encoding="utf-8")
    (folder / "port.txt.j2").write_text("{{ listen.port }}\n")
    return folder


def test_files_are_rendered_and_written(tmp_path: Path) -> None:
    home = tmp_path / "home"
    launch = load_profile(write(tmp_path / "mine")).launch(VALUES, home)
    text = '{\n  "key": "a \\"key\\"",\n' + f'  "port": 80, "of": "2.0", "at": "{home}/data"\n}}\n'
    assert launch.files == {home / ".mine" / "config.json": text, home / "80.txt": "80\n"}
    assert launch.home == home
    launch.write_files()
    assert (home / ".mine" / "config.json").read_text() == text
    assert stat.S_IMODE((home / ".mine" / "config.json").stat().st_mode) == 0o600


def test_what_this_world_does_not_have_is_left_out(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path))
    launch = profile.launch(VALUES, tmp_path)
    assert launch.environment == {"KEY": 'a "key"', "HOME": str(tmp_path), "RELEASE": "2.0"}
    azure = {"azure.endpoint": "https://x.test", "azure.api_version": "v1"}
    launch = profile.launch({**VALUES, **azure}, tmp_path)
    assert launch.environment["AZURE_URL"] == "https://x.test/openai?v=v1"
    assert launch.environment["API_VERSION"] == "v1"
    assert '"azure": "https://x.test"' in launch.files[tmp_path / ".mine" / "config.json"]
    launch = profile.launch({**VALUES, "azure.endpoint": "https://x.test"}, tmp_path)
    assert "AZURE_URL" not in launch.environment


def test_overrides_reach_the_files(tmp_path: Path) -> None:
    profile = dataclasses.replace(load_profile(write(tmp_path)), overrides={"listen.port": "81"})
    assert profile.launch(VALUES, tmp_path).files[tmp_path / "81.txt"] == "81\n"


def test_a_command_needs_what_it_names(tmp_path: Path) -> None:
    text = TEXT.replace('command = ["mine"]', 'command = ["mine", "{azure.api_version}"]')
    with pytest.raises(ProfileError, match=r":5: gateway\.command: this world has no {azure\.api_version} \(the api-"):
        load_profile(write(tmp_path, text)).launch(VALUES, tmp_path)


def test_who_needs_a_home(tmp_path: Path) -> None:
    assert load_profile(write(tmp_path)).needs_home
    least = TEXT.partition("[files]")[0]
    assert not load_profile(write(tmp_path, least)).needs_home
    assert load_profile(write(tmp_path, least.replace('"mine"]', '"mine", "{home}/x"]'))).needs_home


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("\n{{ openai.apikey }}", r"config\.json\.j2:2: no setting ends in \.apikey; did you mean 'api_key'\?"),
        ("{{ opnai.api_key }}", r"config\.json\.j2:1: nothing is called opnai; did you mean 'openai'\?"),
        ("\n\n{{ azure.endpoint }}", r"j2:3: this world has no azure; write {% if azure is defined %} around"),
        ("{{ openai.model }}", r"j2:1: this world has no openai\.model; write {% if openai\.model is defined %}"),
        ("{{ openai.api_key + 1 }}", r"config\.json\.j2:1: TypeError"),
    ],
)
def test_a_name_that_stands_for_nothing(tmp_path: Path, config: str, told: str) -> None:
    profile = load_profile(write(tmp_path, config=config))
    with pytest.raises(ProfileError, match=told):
        profile.launch(VALUES, tmp_path)


def test_an_error_in_an_included_template_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "part.j2").write_text("\n{{ nothing }}")
    profile = load_profile(write(tmp_path, config="{% include 'part.j2' %}"))
    with pytest.raises(ProfileError, match=r"part\.j2:2: nothing is called nothing"):
        profile.launch(VALUES, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            '"config.json.j2"',
            '"confg.json.j2"',
            r":12: files\.\"{home}/\.mine/config\.json\": there is no template 'confg",
        ),
        ('"{home}/.mine/', '"/etc/', r":12: files\..*: write where it goes, below \"{home}/\""),
        (
            '"{home}/{listen.port}',
            '"{home}/{listen.prt}',
            r":13: files\..*: nothing is called {listen\.prt}; did you mean",
        ),
        (
            'HOME = "{home}"',
            'HOME = "{hme}"',
            r":16: environment\.HOME: nothing is called {hme}; did you mean {home}\?",
        ),
        ('"config.json.j2"', "5", r":12: files\..*: expected a text, got a whole number"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in TEXT
    with pytest.raises(ProfileError, match=told):
        load_profile(write(tmp_path, TEXT.replace(old, new)))


def test_a_template_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"config\.json\.j2:2: Unexpected end of template|j2:2: "):
        load_profile(write(tmp_path, config="{\n{% if x %}"))


# -- interception


def led(folder: Path, settings: str, claims: str, more: str = "") -> Profile:
    head = f'[gateway]\nname = "m"\ncommand = ["m"]\n{more}\n'
    return load_profile(write(folder, f"{head}[settings]\n{settings}\n[claims]\nfeatures = [{claims}]\n"))


@pytest.mark.parametrize(
    ("settings", "claims", "way"),
    [
        ("", '"phone.inbound"', "namespace"),
        ('openai.base_url = "$U"', '"phone.inbound"', "settings"),
        ('openai.ws_url = { env = "U", value = "{openai.ws_url}/x" }', '"phone.inbound"', "settings"),
        ('openai.base_url = "$U"', '"phone.inbound", "operator.hangup"', "namespace"),
        ('openai.base_url = "$U"\ntwilio.base_url = "$T"', '"phone.inbound", "operator.hangup"', "settings"),
        ('openai.base_url = "$U"', '"talk.token", "azure.ga"', "namespace"),
        ('azure.endpoint = "$U"', '"azure.ga"', "settings"),
        ('azure.endpoint = "$U"', '"azure.ga", "azure.entra"', "namespace"),
        ("", '"health"', "settings"),
    ],
)
def test_base_urls_are_enough_where_all_are_mapped(tmp_path: Path, settings: str, claims: str, way: str) -> None:
    assert led(tmp_path, settings, claims).intercept == way


def test_what_the_profile_says_goes(tmp_path: Path) -> None:
    assert led(tmp_path, "", '"health"', 'intercept = "proxy"').intercept == "proxy"
    with pytest.raises(ProfileError, match=r":4: gateway\.intercept: invalid enum value 'hosts'"):
        led(tmp_path, "", "", 'intercept = "hosts"')


def test_a_template_can_say_where_a_vendor_is(tmp_path: Path) -> None:
    text = TEXT + '\n[claims]\nfeatures = ["phone.inbound"]\n'
    assert load_profile(write(tmp_path, text)).intercept == "namespace"
    assert load_profile(write(tmp_path, text, "{{ openai.base_url }}")).intercept == "settings"
