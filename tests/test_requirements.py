"""The requirement registry: what it reads, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.profile import CLAIMS
from harness.requirements import Registry, RegistryError

GOOD = """
["TWI-CB-001"]
level = "MUST"
rule = "Late callbacks are taken."
why = "They come."
source = "https://www.twilio.com/docs"
evidence = "D"
claim = "phone.status_callbacks"
check = "A callback after the end; 2xx."

["TWI-CB-002"]
level = "SHOULD"
rule = "Something that cannot be seen."
why = "-"
source = "https://www.twilio.com/docs"
evidence = "U"
excluded = "Not on the wire."
since = "2026-05-12"
dialect = "ga"
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def test_requirements_are_read_with_their_area(tmp_path: Path) -> None:
    other = GOOD.replace("TWI-CB", "OAI-X").replace("SHOULD", "MAY")
    registry = Registry.load(write(tmp_path, **{"twilio-callback": GOOD, "openai": other}))
    assert list(registry) == ["OAI-X-001", "OAI-X-002", "TWI-CB-001", "TWI-CB-002"]
    assert len(registry) == 4
    one, two = registry["TWI-CB-001"], registry["TWI-CB-002"]
    assert (one.id, one.area, one.level, one.era) == ("TWI-CB-001", "twilio-callback", "MUST", "always")
    assert (one.claim, one.excluded, one.since, one.dialect) == ("phone.status_callbacks", None, None, None)
    assert (two.check, two.excluded, two.since, two.dialect) == (None, "Not on the wire.", "2026-05-12", "ga")
    assert registry["OAI-X-002"].level == "MAY"


def test_an_empty_folder_is_an_empty_registry(tmp_path: Path) -> None:
    assert list(Registry.load(tmp_path)) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('level = "MUST"', 'level = "must"', r"\[TWI-CB-001\].*level"),
        ('why = "They come."\n', "", r"\[TWI-CB-001\].*why"),
        ('why = "They come."', 'wyh = "They come."', r"\[TWI-CB-001\].*wyh"),
        ('check = "A callback after the end; 2xx."', "", r"\[TWI-CB-001\]: give either `check` or `excluded`"),
        ('excluded = "Not', 'check = "x"\nexcluded = "Not', r"\[TWI-CB-002\]: give either `check` or `excluded`"),
        (
            "phone.status_callbacks",
            "phone.status_calback",
            "no claim is called .*did you mean 'phone.status_callbacks'",
        ),
        ("phone.status_callbacks", "zzz", "no claim is called 'zzz'; there are: phone.inbound"),
        ('["TWI-CB-002"]', '["TWI-CB-001"', "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_id(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(RegistryError, match=rf"callback\.toml.*{message}"):
        Registry.load(write(tmp_path, callback=GOOD.replace(old, new)))


def test_an_id_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"b\.toml: \[TWI-CB-001\] is in a\.toml already"):
        Registry.load(write(tmp_path, a=GOOD, b=GOOD))


def test_an_unknown_requirement_names_the_nearest(tmp_path: Path) -> None:
    registry = Registry.load(write(tmp_path, callback=GOOD))
    with pytest.raises(RegistryError, match="'TWI-CB-01'; did you mean TWI-CB-001"):
        registry["TWI-CB-01"]
    with pytest.raises(RegistryError, match=r"no requirement is called 'zzz'$"):
        registry["zzz"]


def test_the_registry_of_the_suite_is_in_order() -> None:
    folder = Path(__file__).parent.parent / "conformance" / "requirements"
    registry = Registry.load(folder)
    assert len(registry) > 50
    for requirement in registry.values():
        assert requirement.rule.endswith("."), requirement.id
        assert requirement.source, requirement.id
        assert not requirement.claim or requirement.claim in CLAIMS
        assert requirement.dialect in (None, "beta", "ga"), requirement.id
    assert {requirement.level for requirement in registry.values()} == {"MUST", "SHOULD", "MAY"}
