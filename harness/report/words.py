"""Messages in words: labels for ladders and sentences for stories, from the templates in `vocabulary.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.wire import Message

VOCABULARY = Path(__file__).with_name("vocabulary.toml")

_PATTERNS = ("channel", "kind", "source", "target", "connection")
_TEXTS = ("label", "story", "many")
_LONGEST_PATH = 28
_CONTROL = re.compile("[^\n\t\x20-\x7e\xa0-\U0010ffff]")
_HEX_ID = re.compile(r"([0-9a-f]{4})[0-9a-f]{12,}")
_LONG_VALUE = re.compile(r"([A-Za-z0-9+/_=-]{24})([A-Za-z0-9+/_=-]{40,})")
_FIELD = re.compile(r"\{([^{}]+)\}")
_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True, slots=True)
class Rule:
    """What to call one kind of message. `patterns` and `has` say which; the rest are templates.

    A pattern is an attribute of a message and what it may look like, one way or another.
    """

    patterns: tuple[tuple[str, tuple[str, ...]], ...]
    has: frozenset[str]
    label: str
    story: str
    many: str
    quiet: bool

    def fits(self, message: Message, form: Mapping[str, str]) -> bool:
        """Whether this rule is about that message."""
        return self.has <= form.keys() and all(
            any(fnmatchcase(getattr(message, attribute), one) for one in pattern)
            for attribute, pattern in self.patterns
        )


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The loaded `vocabulary.toml`."""

    parties: tuple[str, ...]
    names: Mapping[str, str]
    folds: tuple[tuple[str, str], ...]
    rules: tuple[Rule, ...]

    def name(self, party: str) -> str:
        """How a sentence calls a party."""
        return self.names.get(party, party)

    def area(self, area: str) -> str:
        """An area's file name as a title: `openai-session` is `OpenAI session`."""
        title = " ".join(self.names.get(word, word) for word in area.split("-"))
        return title[:1].upper() + title[1:]

    def order(self, parties: set[str]) -> list[str]:
        """Parties from left to right; unlisted ones last, by name."""
        known = {party: place for place, party in enumerate(self.parties)}
        return sorted(parties, key=lambda party: (known.get(party, len(known)), party))

    def folding(self) -> Callable[[str, str], bool]:
        """A fast test whether messages of a channel and kind come in streams; remembers its answers."""
        answers: dict[tuple[str, str], bool] = {}

        def folds(channel: str, kind: str) -> bool:
            key = (channel, kind)
            answer = answers.get(key)
            if answer is None:
                answer = answers[key] = any(
                    fnmatchcase(channel, wanted) and fnmatchcase(kind, pattern) for wanted, pattern in self.folds
                )
            return answer

        return folds

    def rule(self, message: Message) -> Rule:
        """The first rule that fits; the last rule of the file fits everything."""
        form = _form(message) if message.kind == "request" else {}
        for rule in self.rules:
            if rule.fits(message, form):
                return rule
        raise LookupError(f"{VOCABULARY.name}: no rule fits {message}; its last rule must have kind = '*' alone")

    def label(self, message: Message, rule: Rule) -> str:
        """What stands on the arrow."""
        return printable(self._fill(rule.label, message, 1)).replace("\n", " ").strip() or message.kind

    def sentence(self, message: Message, rule: Rule, count: int) -> str:
        """What happened, in words, beginning with a capital."""
        text = self._fill(rule.many if count > 1 else rule.story, message, count)
        return printable(text[:1].upper() + text[1:]).replace("\n", " ")

    def _fill(self, template: str, message: Message, count: int) -> str:
        def field(name: str) -> str | None:
            return self._value(name, message, count)

        def optional(match: re.Match[str]) -> str:
            part = match[1]
            return part if all(field(name) for name in _FIELD.findall(part)) else ""

        return _FIELD.sub(lambda match: field(match[1]) or "", _OPTIONAL.sub(optional, template))

    def _value(self, name: str, message: Message, count: int) -> str | None:
        value: Any
        if name in ("source", "target"):
            value = self.name(getattr(message, name))
        elif name == "count":
            value = f"{count:,}"
        elif name == "path":
            value = short_path(str(message.meta.get("url", "")))
        elif name == "phrase":
            value = _phrase(message.status)
        elif name == "operation":
            value = message.connection.rpartition("/")[2].partition("#")[0]
        elif name.startswith("form."):
            value = _form(message).get(name[5:])
        elif name == "body":
            value = message.text or None
        elif name.startswith("json."):
            value = message.get(name[5:])
        elif name == "kind":
            value = message.kind
        else:
            value = message.meta.get(name)
        return None if value is None else shorten(str(value), 60)


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary of this callproof. Raises `ValueError` when the file contradicts itself."""
    return load(VOCABULARY)


def load(path: Path) -> Vocabulary:
    """Read a vocabulary file. Raises `ValueError` naming the rule that cannot be used."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    general = data["message"][-1]

    def meant(pattern: str) -> tuple[str, ...]:
        return tuple(data["groups"][pattern[1:]]) if pattern.startswith("@") else (pattern,)

    rules = []
    for number, entry in enumerate(data["message"], 1):
        unknown = entry.keys() - {*_PATTERNS, *_TEXTS, "has", "quiet"}
        if unknown:
            raise ValueError(f"{path}: message rule {number} has unknown keys {sorted(unknown)}")
        label = entry.get("label", general["label"])
        story = entry.get("story", general["story"])
        many = entry.get("many", story if "story" in entry else general["many"])
        patterns = tuple((key, meant(entry[key])) for key in _PATTERNS if entry.get(key, "*") != "*")
        has = frozenset(entry.get("has", ()))
        rules.append(Rule(patterns, has, label, story, many, entry.get("quiet", False)))
    if rules[-1].patterns or rules[-1].has:
        raise ValueError(f"{path}: the last message rule must fit everything: kind = '*' alone")
    folds = tuple((one, entry["kind"]) for entry in data["fold"] for one in meant(entry["channel"]))
    return Vocabulary(tuple(data["parties"]), data["names"], folds, tuple(rules))


def short_path(url: str) -> str:
    """The path of a URL without host and query, long ids shortened, and only its last parts when it is still long."""
    path = _HEX_ID.sub(r"\1…", urlsplit(url).path or "/")
    parts = path.split("/")
    while len("/".join(parts)) > _LONGEST_PATH and len(parts) > 2:
        parts = ["…", *parts[2:]]
    return "/".join(parts)


def shorten(text: str, length: int) -> str:
    """At most `length` characters; an ellipsis stands for the rest."""
    return text if len(text) <= length else text[: length - 1] + "…"


def printable(text: str) -> str:
    """Text that a terminal may be given: what a gateway sends must not move its cursor or change its colours."""
    return _CONTROL.sub("\ufffd", text)


def squeeze(text: str, length: int) -> str:
    """At most `length` characters; an ellipsis stands for the middle, for both ends of a label tell something."""
    if len(text) <= length:
        return text
    head = max(0, length - 1) * 3 // 7
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def excerpt(message: Message, length: int = 600) -> str:
    """What a reader wants to see of a message when asked: HTTP line and body, long encoded values cut."""
    parts = []
    if message.kind in ("request", "upgrade"):
        parts.append(f"{message.meta.get('method', 'GET')} {message.meta.get('url', '')}".strip())
    if isinstance(message.body, bytes) and message.kind == "binary":
        parts.append(f"{len(message.body)} bytes: {message.body[:32].hex(' ')}")
    elif message.body:
        body = message.text[: length * 8]
        parts.append(_LONG_VALUE.sub(lambda match: f"{match[1]}…({len(match[0])} characters)", body))
    return printable(shorten("\n".join(parts), length))


def _form(message: Message) -> dict[str, str]:
    """The parameters of a request: as its fake took them down, else those of its body."""
    params = message.meta.get("params")
    return message.form if params is None else dict(params)


def _phrase(status: int | None) -> str | None:
    try:
        return None if status is None else HTTPStatus(status).phrase
    except ValueError:
        return None
