"""TwiML: XML text to a small tree, with the errors and warnings that Twilio's debugger would show.

A document that cannot be parsed is error 12100 and fatal. One that breaks the schema is warning 12200: the offending
element or attribute is dropped, and the rest runs. Names are case-sensitive. A document type declaration is refused,
so no entity is ever expanded. Source: Twilio docs, "TwiML for Programmable Voice"; errors 12100, 12200.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.parsers import expat

_SCHEMA: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "twiml.toml").read_text(encoding="utf-8"))
PARAMETER_LIMIT = 500
"""Most characters in the name and the value of a <Parameter> together (Twilio docs: Stream)."""


class TwimlError(ValueError):
    """The document cannot be parsed (12100). The message says where and why."""


@dataclass(slots=True)
class Element:
    """One element. `text`: its own text and that of elements inside it that are no verbs, stripped at the ends."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    text: str = ""
    children: list[Element] = field(default_factory=list)
    line: int = 0

    def get(self, name: str, default: str = "") -> str:
        """An attribute, or `default`."""
        return self.attributes.get(name, default)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document: its verbs in order, what is wrong with it, and what this fake cannot run in it."""

    verbs: tuple[Element, ...]
    warnings: tuple[str, ...]
    not_run: tuple[str, ...]


@lru_cache(maxsize=256)
def parse(text: str) -> Document:
    """Parse and check one document. Raises `TwimlError`. The result is shared: do not change it."""
    root = _Parser().parse(text)
    if root.name != "Response":
        raise TwimlError(f"line {root.line}: the root element is <{root.name}>, expected <Response>")
    warnings: list[str] = []
    not_run: list[str] = []
    if root.text:
        warnings.append(f"<Response> holds text: {root.text[:40]!r}")
    _check_attributes(root, _SCHEMA["Response"], warnings)
    verbs = []
    for verb in root.children:
        schema = _SCHEMA.get(verb.name)
        if schema is None or not schema.get("verb"):
            warnings.append(f"line {verb.line}: <{verb.name}> is no verb{_near(verb.name)}")
            continue
        _check(verb, schema, warnings)
        if not schema.get("runs"):
            not_run.append(verb.name)
            continue
        verbs.append(verb)
    return Document(tuple(verbs), tuple(warnings), tuple(not_run))


def decode(body: bytes, charset: str = "utf-8") -> str:
    """The text of a TwiML answer. Raises `TwimlError` for bytes that are not `charset`, and for a byte order mark."""
    try:
        text = body.decode(charset or "utf-8")
    except (UnicodeDecodeError, LookupError) as error:
        raise TwimlError(f"the body is not {charset}: {error}") from None
    if text.startswith("\ufeff"):
        raise TwimlError("line 1: a byte order mark stands before the document")
    return text


class _Parser:
    def __init__(self) -> None:
        self._root: Element | None = None
        self._open: list[Element] = []
        self._text: list[list[str]] = []
        self._expat = expat.ParserCreate()
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._characters
        self._expat.StartDoctypeDeclHandler = self._doctype

    def parse(self, text: str) -> Element:
        try:
            self._expat.Parse(text.encode("utf-8", "surrogatepass"), True)
        except expat.ExpatError as error:
            raise TwimlError(f"line {error.lineno}, column {error.offset}: {expat.ErrorString(error.code)}") from None
        if self._root is None:
            raise TwimlError("the document is empty")
        return self._root

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        element = Element(name, attributes, line=self._expat.CurrentLineNumber)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)
        self._text.append([])

    def _end(self, name: str) -> None:
        element = self._open.pop()
        text = "".join(self._text.pop())
        element.text = text.strip()
        if self._open and _SCHEMA.get(self._open[-1].name, {}).get("mixed"):
            self._text[-1].append(text)

    def _characters(self, data: str) -> None:
        self._text[-1].append(data)

    def _doctype(self, *_: object) -> None:
        raise TwimlError(f"line {self._expat.CurrentLineNumber}: a document type declaration is not allowed")


def _check(element: Element, schema: dict[str, Any], warnings: list[str]) -> None:
    if schema.get("open"):
        return
    _check_attributes(element, schema, warnings)
    where = f"line {element.line}: <{element.name}>"
    if element.text and not schema.get("text"):
        warnings.append(f"{where} holds text: {element.text[:40]!r}")
    allowed = schema.get("children", ())
    kept = []
    for child in element.children:
        if child.name not in allowed:
            warnings.append(f"{where} must not hold <{child.name}>")
            continue
        if not schema.get("mixed"):
            _check(child, _SCHEMA.get(child.name, {"open": True}), warnings)
        if child.name == "Parameter" and not _parameter_fits(child, warnings):
            continue
        kept.append(child)
    element.children[:] = kept


def _check_attributes(element: Element, schema: dict[str, Any], warnings: list[str]) -> None:
    for name in [name for name in element.attributes if name not in schema["attributes"]]:
        if not name.startswith(("xml:", "xmlns")):
            warnings.append(f"line {element.line}: <{element.name}> has no attribute {name!r}")
        del element.attributes[name]


def _parameter_fits(parameter: Element, warnings: list[str]) -> bool:
    if "name" not in parameter.attributes or "value" not in parameter.attributes:
        warnings.append(f"line {parameter.line}: <Parameter> needs a name and a value")
        return False
    size = len(parameter.get("name")) + len(parameter.get("value"))
    if size >= PARAMETER_LIMIT:
        warnings.append(f"line {parameter.line}: <Parameter> has {size} characters, fewer than {PARAMETER_LIMIT} fit")
        return False
    return True


def _near(name: str) -> str:
    for known in _SCHEMA:
        if known.lower() == name.lower() and known != name:
            return f" (names are case-sensitive: <{known}>)"
    return ""
