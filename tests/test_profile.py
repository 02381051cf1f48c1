"""Gateway profiles: what they say, and what is said about their mistakes."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import pytest

from harness.profile import (
    CLAIMS,
    VOCABULARY,
    Profile,
    ProfileError,
    find_profile,
    flatten,
    load_profile,
    load_versions,
    render,
)

GOOD = """
[gateway]
name = "mine"
version = "1.2"
command = ["{python}", "{profile}/server.py", "--cache={cache}", "--literal={{x}}"]
python = "mine.app:main"
setup = [["{python}", "-m", "venv", "{cache}/venv"]]
ready = { http = "/healthz", timeout = 5 }

[settings]
openai.api_key = "$OPENAI_API_KEY"
listen.port = "--port"
openai.base_url = { env = "OPENAI_URL", value = "{openai.base_url}/realtime?model={openai.model}" }
openai.ws_url = { arg = "--upstream", value = "{openai.ws_url}/realtime" }
twilio.number = { env = "FROM" }

[environment]
LOG_LEVEL = "debug"
CALLBACK = "{public_url}/status"

[webhooks]
voice = "/voice"
status = "/status"

[operations.call]
request = "POST /calls"
json = { to = "{to}" }

[operations.health]
request = "GET /healthz"

[claims]
features = ["phone.inbound", "phone.outbound"]
tool = "get_weather"
"""

VALUES = {
    "openai.api_key": "sk-planted",
    "openai.base_url": "http://127.0.0.1:1/v1",
    "openai.ws_url": "ws://127.0.0.1:1/v1",
    "openai.model": "gpt-realtime-2",
    "listen.port": "8080",
    "public_url": "https://gw.example.test",
    "twilio.number": "+15550001",
}


def write(folder: Path, text: str = GOOD) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Profile:
    return load_profile(write(tmp_path / "mine"))


def test_a_good_profile(mine: Profile, tmp_path: Path) -> None:
    assert (mine.name, mine.gateway.version, mine.gateway.python) == ("mine", "1.2", "mine.app:main")
    assert mine.folder == (tmp_path / "mine").resolve()
    assert (mine.gateway.ready.http, mine.gateway.ready.timeout) == ("/healthz", 5)
    assert mine.gateway.stop_timeout == 10
    assert (mine.webhooks.voice, mine.webhooks.status) == ("/voice", "/status")
    assert (mine.operations["call"].request, mine.operations["call"].json) == ("POST /calls", {"to": "{to}"})
    assert mine.claims.features == ["phone.inbound", "phone.outbound"]
    assert mine.claims.tool == "get_weather"


def test_the_least_profile(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, '[gateway]\nname = "least"\ncommand = ["./serve"]\n'))
    assert (profile.gateway.ready.port, profile.gateway.ready.http) == (True, None)
    assert profile.webhooks.voice == "/twilio/voice"
    launch = profile.launch(VALUES)
    assert (launch.command, launch.arguments, launch.environment) == (["./serve"], [], {})
    assert profile.setup_commands() == []


def test_launch_fills_in_variables_arguments_and_templates(mine: Profile) -> None:
    launch = mine.launch(VALUES)
    assert launch.command == [
        sys.executable,
        f"{mine.folder}/server.py",
        f"--cache={mine.cache}",
        "--literal={x}",
    ]
    assert launch.arguments == ["--upstream", "ws://127.0.0.1:1/v1/realtime", "--port", "8080"]
    assert launch.environment == {
        "OPENAI_API_KEY": "sk-planted",
        "OPENAI_URL": "http://127.0.0.1:1/v1/realtime?model=gpt-realtime-2",
        "FROM": "+15550001",
        "LOG_LEVEL": "debug",
        "CALLBACK": "https://gw.example.test/status",
    }


def test_overrides_win_over_what_the_world_says(mine: Profile) -> None:
    other = dataclasses.replace(mine, overrides={"openai.model": "gpt-x", "listen.port": "9"})
    launch = other.launch(VALUES)
    assert launch.environment["OPENAI_URL"].endswith("model=gpt-x")
    assert launch.arguments[2:] == ["--port", "9"]


def test_launch_names_an_unknown_placeholder_and_the_nearest(tmp_path: Path) -> None:
    text = GOOD.replace("{openai.model}", "{openai.modell}")
    with pytest.raises(ProfileError, match=r"\.toml:13: settings\.openai\.base_url: .*did you mean {openai\.model}"):
        load_profile(write(tmp_path, text)).launch(VALUES)
    text = GOOD.replace("{public_url}", "{qqq}")
    with pytest.raises(
        ProfileError, match=r"\.toml:19: environment\.CALLBACK: nothing is called {qqq}; there are: azure"
    ):
        load_profile(write(tmp_path, text)).launch(VALUES)
    text = GOOD.replace("{profile}/server", "{profil}/server")
    with pytest.raises(
        ProfileError, match=r"\.toml:5: gateway\.command: nothing is called {profil}; did you mean {profile}"
    ):
        load_profile(write(tmp_path, text)).launch(VALUES)


def test_the_setup_commands_know_places_but_no_settings(mine: Profile, tmp_path: Path) -> None:
    assert mine.setup_commands() == [[sys.executable, "-m", "venv", f"{mine.cache}/venv"]]
    text = GOOD.replace('"{cache}/venv"', '"{listen.port}"')
    with pytest.raises(
        ProfileError, match=r"gateway\.setup\[0\]: nothing is called {listen\.port}; there are: cache, "
    ):
        load_profile(write(tmp_path, text)).setup_commands()


def test_the_cache_follows_the_files_that_the_setup_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLPROOF_CACHE", str(tmp_path / "cache"))
    text = GOOD.replace('"venv", "{cache}/venv"', '"pip", "install", "-r", "{profile}/requirements.txt"')
    profile = load_profile(write(tmp_path / "mine", text))
    seen = {profile.cache}
    for content in ("one==1", "one==2", "one==2"):
        (tmp_path / "mine" / "requirements.txt").write_text(content)
        (tmp_path / "mine" / "bot.py").write_text(f"# not part of the installation: {len(seen)}")
        seen.add(profile.cache)
    assert len(seen) == 3


def test_the_cache_is_one_for_each_version_of_the_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLPROOF_CACHE", str(tmp_path / "cache"))
    one = load_profile(write(tmp_path / "mine"))
    again = load_profile(tmp_path / "mine")
    other = load_profile(write(tmp_path / "mine", GOOD.replace('"venv", "{cache}', '"venv", "--clear", "{cache}')))
    assert one.cache == again.cache != other.cache
    assert one.cache.parent == tmp_path / "cache"
    assert one.cache.name.startswith("mine-")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{a.b}", "B"),
        ("x{a.b}y{c}z", "xByCz"),
        ("{{c}}", "{c}"),
        ("{{{c}}}", "{C}"),
        ('{"to": "{c}"}', '{"to": "C"}'),
        ("{}", "{}"),
        ("{braces}", '{{"x": {}}}'),
        ("${c}", "$C"),
        ("", ""),
    ],
)
def test_render(template: str, text: str) -> None:
    values = {"a.b": "B", "c": "C", "braces": '{{"x": {}}}'}
    assert render(template, values, "key", Path()) == text


def test_flatten() -> None:
    assert flatten({"a": {"b": "$X", "c": {"env": "Y"}}, "d": "-z"}) == [
        ("a.b", "$X"),
        ("a.c", {"env": "Y"}),
        ("d", "-z"),
    ]
    assert {name for name, _ in flatten({})} == set()


MISTAKES = [
    ("unknown table", "[webhooks]", "[webhoks]", r"webhoks: no such key; did you mean 'webhooks'\?"),
    ("unknown key", "version =", "verzion =", r"gateway\.verzion: no such key; did you mean 'version'\?"),
    ("key with a dash", "version =", "stop-timeout =", r"stop-timeout: no such key; did you mean 'stop_timeout'\?"),
    ("unknown ready", "{ http", "{ htpp", r"gateway\.ready\.htpp: no such key; did you mean 'http'\?"),
    ("unknown webhook", "voice =", "voise =", r"webhooks\.voise: no such key; did you mean 'voice'\?"),
    ("unknown claims key", "tool =", "toool =", r"claims\.toool: no such key; did you mean 'tool'\?"),
    ("unknown operation key", "json =", "jsn =", r"\.jsn: no such key; did you mean 'json'\?"),
    ("far from every key", "version =", "zzz =", r"gateway\.zzz: no such key; there are: command, "),
    ("wrong type", 'version = "1.2"', "version = 1.2", r":4: gateway\.version: expected a text, got a number"),
    ("no name", 'name = "mine"\n', "", r":2: gateway: the key 'name' is missing"),
    ("unknown setting", "openai.api_key", "openai.apikey", r"settings\.openai\.apikey: .*mean 'openai\.api_key'\?"),
    ("far setting", "twilio.number", "zzz", r"settings\.zzz: no setting is called that; there are: azure\.api_key"),
    ("no dollar", '"$OPENAI_API_KEY"', '"OPENAI_API_KEY"', r'settings\.openai\.api_key: write "\$NAME"'),
    ("a number", '"--port"', "8080", r'settings\.listen\.port: write "\$NAME".*, not 8080'),
    ("empty variable", '"$OPENAI_API_KEY"', '"$"', r"settings\.openai\.api_key: write"),
    (
        "dollar in env",
        '{ env = "FROM" }',
        '{ env = "$FROM" }',
        r"settings\.twilio\.number: .*not {'env': '\$FROM'}",
    ),
    ("both", '{ env = "FROM" }', '{ env = "FROM", arg = "--from" }', r"settings\.twilio\.number: write"),
    ("env is no text", '{ env = "FROM" }', "{ env = 5 }", r"settings\.twilio\.number: write"),
    ("arg without dash", 'arg = "--upstream"', 'arg = "upstream"', r"settings\.openai\.ws_url: write"),
    ("misspelt value", 'arg = "--upstream", value', 'arg = "--upstream", valeu', r"settings\.openai\.ws_url: write"),
    ("unknown claim", '"phone.inbound"', '"phone.inbund"', r"'phone\.inbund'; did you mean 'phone\.inbound'\?"),
    ("unknown operation", "operations.health", "operations.heath", r"operations\.heath: .*did you mean 'health'\?"),
    ("no method", '"POST /calls"', '"/calls"', r"operations\.call\.request: write a method .*not \'/calls\'"),
    ("no path", '"POST /calls"', '"POST calls"', r"operations\.call\.request: write a method"),
    ("entry point", '"mine.app:main"', '"mine.app.main"', r'gateway\.python: write "module:callable", not'),
    (
        "ready without slash",
        '"/healthz", t',
        '"healthz", t',
        r'ready\.http: write a path that begins with "/"',
    ),
    (
        "webhook without slash",
        '"/voice"',
        '"voice"',
        r"webhooks\.voice: write a path .*, not 'voice'",
    ),
    ("status without slash", '"/status"', '"status"', r"webhooks\.status: write a path"),
    (
        "log is no pattern",
        'http = "/healthz"',
        'log = "(up"',
        r"ready\.log: this is not a regular expression: missing \)",
    ),
    ("no TOML", "[gateway]", "[gateway", r"is not valid TOML"),
]


@pytest.mark.parametrize(("old", "new", "message"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_named_with_file_key_and_what_to_write(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ProfileError, match=rf"(?s)profile\.toml.*{message}"):
        load_profile(write(tmp_path, GOOD.replace(old, new)))


def test_a_profile_that_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"gateway: say how to start it: `command` \(live stage\), `python`"):
        load_profile(write(tmp_path, '[gateway]\nname = "mine"\n'))


def test_outbound_calls_need_an_operation(tmp_path: Path) -> None:
    text = '[gateway]\nname = "m"\ncommand = ["x"]\n[claims]\nfeatures = ["phone.outbound"]\n'
    with pytest.raises(ProfileError, match=r":5: .*phone\.outbound is claimed, so \[operations\.call\] has to say"):
        load_profile(write(tmp_path, text))


def test_a_folder_without_a_profile(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"does not exist: a profile is a folder with a profile\.toml in it"):
        load_profile(tmp_path / "nowhere")
    with pytest.raises(ProfileError, match="does not exist"):
        load_profile(write(tmp_path) / "profile.toml")


def test_a_profile_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_bytes(GOOD.replace("1.2", "é").encode("latin-1"))
    with pytest.raises(ProfileError, match="is not valid TOML"):
        load_profile(tmp_path)


# -- finding


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    write(tmp_path / "one" / "mine")
    write(tmp_path / "one" / "reference", GOOD.replace('"mine"', '"ref"'))
    write(tmp_path / "two" / "third", GOOD.replace('"mine"', '"3"'))
    return [tmp_path / "one", tmp_path / "two"]


def test_a_profile_is_found_by_the_name_of_its_folder(roots: list[Path]) -> None:
    assert find_profile("reference", roots).name == "ref"
    assert find_profile("third", roots).name == "3"


def test_a_profile_is_found_by_its_path(roots: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_profile(str(tmp_path / "two" / "third"), []).name == "3"
    monkeypatch.chdir(tmp_path / "two")
    assert find_profile("third", []).name == "3"
    assert find_profile("." + os.sep + "third", []).folder.is_absolute()


def test_an_unknown_gateway_names_the_nearest(roots: list[Path]) -> None:
    with pytest.raises(ProfileError, match=r"no gateway is called 'refrence'; did you mean 'reference'\?"):
        find_profile("refrence", roots)
    with pytest.raises(ProfileError, match=r"'zzz'; there are: mine, reference, third \(or give a path"):
        find_profile("zzz", roots)
    with pytest.raises(ProfileError, match="'zzz'; there is none at all"):
        find_profile("zzz", [])


def test_the_profiles_of_the_suite_are_in_order(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent / "conformance" / "gateways"
    values = dict.fromkeys(VOCABULARY, "value")
    profiles = [each for path in sorted(root.glob("*/profile.toml")) for each in load_versions(path.parent)]
    assert "reference" in [profile.name for profile in profiles]
    for profile in profiles:
        launch = profile.launch(values, tmp_path)
        told = [*launch.arguments, *launch.environment.values(), *launch.files.values()]
        assert any("value" in text for text in told)
        profile.setup_commands()
        assert set(profile.claims.features) <= CLAIMS.keys()
