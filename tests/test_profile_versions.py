"""`NAME@VERSION` and the overlays of a profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.profile import Profile, ProfileError, find_profile, load_profile, load_versions
from harness.profiles.versions import split_version

TEXT = """
[gateway]
name = "mine"
version = "2.0"
setup = [["npm", "install", "mine@{version}", "{profile}/lock-{version}.json"]]
command = ["{cache}/mine"]

[settings]
openai.api_key = "$KEY"
openai.model = { env = "MODEL", value = "x-{openai.model}" }

[operations.call]
request = "POST /calls"
json = { to = "{to}", mode = "talk" }

[operations.health]
request = "GET /health"
headers = { A = "b" }

[talk.webrtc]
request = "POST /mint"
secret = "secret"

[claims]
features = ["phone.inbound", "phone.outbound", "talk.webrtc", "health"]
tool = "weather"

[versions."1.5"]
gateway.ready = { port = true, timeout = 90 }

[versions."1.0"]
settings.openai.model = "--model"
operations.call.json.mode = "notify"
operations.health = { command = ["mine", "health"] }
talk.webrtc = false
claims.tool = false
claims.without = ["talk.webrtc"]
claims.with = ["tools"]

[versions."0.9"]
claims.features = ["phone.inbound"]
gateway.stop_timeout = 1
"""


def write(folder: Path, text: str = TEXT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.toml").write_text(text, encoding="utf-8")
    return folder


def at(folder: Path, version: str | None = None, text: str = TEXT) -> Profile:
    return load_profile(write(folder, text), version)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("openclaw@2026.4.15", ("openclaw", "2026.4.15")),
        ("openclaw", ("openclaw", None)),
        ("./my@home/gw@1", ("./my@home/gw", "1")),
        ("@1", ("@1", None)),
    ],
)
def test_a_name_and_a_version(name: str, parts: tuple[str, str | None]) -> None:
    assert split_version(name) == parts


def test_the_default_version_comes_first(tmp_path: Path) -> None:
    profile = at(tmp_path)
    assert (profile.version, profile.versions) == ("2.0", ("2.0", "1.5", "1.0", "0.9"))
    assert [each.version for each in load_versions(tmp_path)] == ["2.0", "1.5", "1.0", "0.9"]


def test_tables_merge_and_the_rest_is_replaced(tmp_path: Path) -> None:
    new, old = at(tmp_path), at(tmp_path, "1.5")
    assert (new.gateway.ready.timeout, old.gateway.ready.timeout) == (30, 90)
    assert (old.version, old.gateway.command) == ("1.5", new.gateway.command)
    oldest = at(tmp_path, "0.9")
    assert (oldest.claims.features, oldest.claims.tool) == (["phone.inbound"], "weather")
    assert oldest.gateway.stop_timeout == 1


def test_claims_are_added_and_taken_away(tmp_path: Path) -> None:
    assert at(tmp_path, "1.0").claims.features == ["phone.inbound", "phone.outbound", "health", "tools"]
    assert at(tmp_path).claims.features == ["phone.inbound", "phone.outbound", "talk.webrtc", "health"]


def test_false_takes_away(tmp_path: Path) -> None:
    old = at(tmp_path, "1.0")
    assert (old.talk.webrtc, old.claims.tool) == (None, None)


def test_another_way_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    old = at(tmp_path, "1.0")
    assert (old.operations["health"].kind, old.operations["health"].headers) == ("command", {})
    assert (old.operations["call"].kind, old.operations["call"].json) == ("request", {"to": "{to}", "mode": "notify"})
    assert old.launch({"openai.model": "m"}).arguments == ["--model", "m"]


def test_each_version_is_installed_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLPROOF_CACHE", str(tmp_path / "cache"))
    folder = write(tmp_path / "mine")
    before = {each.version: each.cache for each in load_versions(folder)}
    assert len(set(before.values())) == 4
    assert before["1.5"].name.startswith("mine-1.5-")
    assert load_profile(folder, "1.5").setup_commands()[0][2:] == ["mine@1.5", f"{folder}/lock-1.5.json"]
    (folder / "lock-1.5.json").write_text("{}")
    after = {each.version: each.cache for each in load_versions(folder)}
    assert [version for version in before if before[version] != after[version]] == ["1.5"]


def test_a_folder_that_the_setup_names_counts_with_all_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLPROOF_CACHE", str(tmp_path / "cache"))
    text = TEXT.replace("{profile}/lock-{version}.json", "--from={profile}/patches")
    before = at(tmp_path, None, text).cache
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "one.diff").write_text("+")
    assert at(tmp_path, None, text).cache != before


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("1.7", r"profile\.toml:28: versions: no version is called '1\.7'; did you mean '1\.5'\?"),
        ("zz", r"no version is called 'zz'; there are: 0\.9, 1\.0, 1\.5, 2\.0"),
    ],
)
def test_an_unknown_version_names_those_there_are(tmp_path: Path, version: str, told: str) -> None:
    with pytest.raises(ProfileError, match=told):
        at(tmp_path, version)


def test_a_profile_without_versions_says_so(tmp_path: Path) -> None:
    text = TEXT.partition("[versions")[0]
    assert at(tmp_path, "2.0", text).version == "2.0"
    with pytest.raises(
        ProfileError, match=r":4: gateway\.version: no version is called '1': the profile lists only '2\.0'"
    ):
        at(tmp_path, "1", text)
    with pytest.raises(ProfileError, match="the profile lists none"):
        at(tmp_path, "1", text.replace('version = "2.0"\n', ""))


def test_a_gateway_is_found_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine")
    assert find_profile("mine@1.5", [tmp_path]).version == "1.5"
    assert find_profile(f"{tmp_path}/mine@1.5", []).version == "1.5"
    assert find_profile(f"{write(tmp_path / 'at@home')}", []).version == "2.0"
    assert find_profile(f"{tmp_path / 'at@home'}@1.5", []).version == "1.5"
    monkeypatch.chdir(tmp_path)
    assert find_profile("mine@1.5", []).version == "1.5"
    with pytest.raises(ProfileError, match=r"no gateway is called 'mien'; did you mean 'mine'"):
        find_profile("mien@1.5", [tmp_path])


MISTAKES = [
    ("gateway.ready = {", "gateway.redy = {", "1.5", r":29: gateway\.redy: no such key; did you mean 'ready'\?"),
    ("timeout = 90", 'timeout = "x"', "1.5", r":29: gateway\.ready\.timeout: expected a number, got a text"),
    (
        'claims.without = ["talk.webrtc"]',
        'claims.without = ["talk.webrt"]',
        "1.0",
        r":37: versions\.\"1\.0\"\.claims\.without",
    ),
    (
        'claims.with = ["tools"]',
        'claims.with = ["tolls"]',
        "1.0",
        r":38: claims\.with\[0\]: .*'tolls'; did you mean 'tools'",
    ),
    ('claims.with = ["tools"]', 'claims.with = "tools"', "1.0", r"claims\.with: write a list of features"),
    ("gateway.stop_timeout = 1", 'gateway.version = "8"', "0.9", r":42: .*a version has its name from its table"),
    (
        '[versions."1.5"]\ngateway',
        '[versions]\n"1.5" = 3\n[versions."1.4"]\ngateway',
        None,
        "write a table for each version",
    ),
    (
        "operations.call.json.mode",
        "operations.cal.json.mode",
        "1.0",
        r":33: operations\.cal: no operation is called that",
    ),
    ("settings.openai.model", "settings.openai.modell", "1.0", r":32: settings\.openai\.modell: .*'openai\.model'"),
]


@pytest.mark.parametrize(("old", "new", "version", "told"), MISTAKES)
def test_a_mistake_in_an_overlay_is_named_where_it_stands(
    tmp_path: Path, old: str, new: str, version: str | None, told: str
) -> None:
    assert old in TEXT
    with pytest.raises(ProfileError, match=told):
        at(tmp_path, version, TEXT.replace(old, new))


def test_with_and_without_belong_below_a_version(tmp_path: Path) -> None:
    text = TEXT.replace('tool = "weather"', 'with = ["tools"]')
    with pytest.raises(ProfileError, match=r":26: claims\.with: no such key"):
        at(tmp_path, None, text)
