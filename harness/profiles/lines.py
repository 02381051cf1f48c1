"""Which line of a TOML file a key is on. `tomllib` does not tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

Path = tuple[str | int, ...]
"""Keys, and positions in arrays."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL)
_OTHER = re.compile(r"[^,\]}#\r\n]*")
_ESCAPE = re.compile(r'\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[btnfr"\\])')
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


class Lines:
    """The lines of a TOML text that `tomllib` has read without complaint."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}
        self._read()

    def exact(self, path: Sequence[str | int]) -> int | None:
        """The line, counted from 1, on which this key or element first stands; None when it is not written."""
        return self._found.get(tuple(path))

    def line(self, path: Sequence[str | int]) -> int:
        """The line of a key, or of the nearest table around it; 1 when none of them is written."""
        for length in range(len(path), 0, -1):
            if (line := self.exact(path[:length])) is not None:
                return line
        return 1

    # -- reading

    def _read(self) -> None:
        table: Path = ()
        self._skip(_SPACE)
        while self._at < len(self._text):
            start = self._at
            if self._text.startswith("[[", start):
                self._at += 2
                table = self._element(self._resolved(self._keys("]]")))
                self._note(table, start)
            elif self._text.startswith("[", start):
                self._at += 1
                table = self._resolved(self._keys("]"))
                self._note(table, start)
            else:
                self._pair(table)
            self._skip(_SPACE)

    def _resolved(self, keys: Sequence[str]) -> Path:
        """The path of a header: where a key names an array of tables, its last one is meant."""
        path: Path = ()
        for key in keys[:-1]:
            path = (*path, key)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return (*path, keys[-1])

    def _element(self, path: Path) -> Path:
        self._arrays[path] = self._arrays.get(path, -1) + 1
        return (*path, self._arrays[path])

    def _note(self, path: Path, at: int) -> None:
        line = self._text.count("\n", 0, at) + 1
        for length in range(1, len(path) + 1):
            self._found.setdefault(path[:length], line)

    def _skip(self, what: re.Pattern[str]) -> None:
        match = what.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _keys(self, end: str) -> list[str]:
        """A key with dots, and what ends it."""
        keys = []
        while True:
            self._skip(_BLANK)
            match = _BARE.match(self._text, self._at) or _STRING.match(self._text, self._at)
            if match is None:
                raise ValueError(f"no key at {self._at}: {self._text[self._at : self._at + 20]!r}")
            keys.append(_unquoted(match.group()))
            self._at = match.end()
            self._skip(_BLANK)
            if self._text.startswith(end, self._at):
                self._at += len(end)
                return keys
            self._at += 1  # the dot

    def _pair(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._keys("="))
        self._note(path, start)
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self._text[self._at : self._at + 1]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline(path)
        else:
            self._skip(_STRING if opening in ('"', "'") else _OTHER)

    def _array(self, path: Path) -> None:
        self._at += 1
        position = 0
        while True:
            self._skip(_SPACE)
            if self._text.startswith("]", self._at):
                self._at += 1
                return
            self._note((*path, position), self._at)
            self._value((*path, position))
            position += 1
            self._comma()

    def _inline(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip(_SPACE)
            if self._text.startswith("}", self._at):
                self._at += 1
                return
            self._pair(path)
            self._comma()

    def _comma(self) -> None:
        self._skip(_SPACE)
        if self._text.startswith(",", self._at):
            self._at += 1


def _unquoted(key: str) -> str:
    if key.startswith("'"):
        return key[1:-1]
    if not key.startswith('"'):
        return key
    return _ESCAPE.sub(lambda m: _ESCAPED.get(m.group(1)) or chr(int(m.group(1)[1:], 16)), key[1:-1])
