"""The lines of keys in TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.profiles.lines import Lines

TEXT = '''\
# a comment with [brackets] and = signs
title = "a # that is no comment"          # 2

[gateway]
name = 'mine'
ready = { http = "/x", log = "a, b}" }    # 6
setup = [
  ["a", "b"],
  # between
  ["c", { deep = 1 }],                    # 10
]
long = """
[no.table]
key = "no key" \\""" still inside
"""
raw = \'\'\'
x = 1\'\'\'
after = 1979-05-27 07:32:00               # 18

[settings]
openai.api_key = "$X"
openai . "base url" = '--y'
"quo.ted\\u0041" = 1                       # 23

[versions."1.0"]
gateway.ready.timeout = 3

[[many]]
a = 1

[[many]]
a = 2
[many.below]                              # 33
b = [1, 2,]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (["title"], 2),
        (["gateway"], 4),
        (["gateway", "name"], 5),
        (["gateway", "ready", "log"], 6),
        (["gateway", "setup"], 7),
        (["gateway", "setup", 0], 8),
        (["gateway", "setup", 1, 1, "deep"], 10),
        (["gateway", "after"], 18),
        (["settings", "openai"], 21),
        (["settings", "openai", "api_key"], 21),
        (["settings", "openai", "base url"], 22),
        (["settings", "quo.tedA"], 23),
        (["versions", "1.0"], 25),
        (["versions", "1.0", "gateway", "ready", "timeout"], 26),
        (["many", 0, "a"], 29),
        (["many", 1, "a"], 32),
        (["many", 1, "below", "b", 1], 34),
    ],
)
def test_every_key_is_found(path: list[str | int], line: int) -> None:
    assert Lines(TEXT).exact(path) == line


def test_the_nearest_table_stands_for_a_key_that_is_not_written() -> None:
    lines = Lines(TEXT)
    assert lines.exact(["gateway", "nme"]) is None
    assert lines.line(["gateway", "nme"]) == 4
    assert lines.line(["nowhere", "at", "all"]) == 1


def test_an_empty_file_has_no_keys() -> None:
    assert Lines("").line(["x"]) == 1
    assert Lines("# nothing\r\n\r\n").line(["x"]) == 1


def paths(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every key and every element."""
    if isinstance(value, dict):
        items: list[tuple[str | int, Any]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return [at]
    return [at, *(path for key, item in items for path in paths(item, (*at, key)))]


ROOT = Path(__file__).parent.parent
FILES = [ROOT / "pyproject.toml", *ROOT.glob("conformance/**/*.toml"), *ROOT.glob("fakes/**/*.toml")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_every_key_of_a_real_file_is_found_on_a_line_that_has_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    lines, written = Lines(text), text.splitlines()
    for path in paths(tomllib.loads(text))[1:]:
        line = lines.exact(path)
        assert line is not None, path
        keys = [key for key in path if isinstance(key, str)]
        if isinstance(path[-1], str):
            assert keys[-1] in written[line - 1], path


def test_crlf() -> None:
    assert Lines(TEXT.replace("\n", "\r\n")).exact(["many", 1, "below", "b", 1]) == 34
