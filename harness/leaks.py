"""Where credentials turn up: all that a party sends, serves or prints is searched for them, in every usual spelling.

A credential has needles: the texts by which it is recognised, whole or by one of its halves. All that was said is
searched for each of them at once; only where one is found are messages taken apart. Where a credential may be is given
as data (`Homes`), and whoever calls says what follows from a leak.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from harness.wire import Message

SHORTEST = 12
"""Characters of the shortest text that is taken for a part of a credential."""

SOUND_LENGTH = 100
"""Characters from which on the longest string of a frame with audio is taken for the audio: 10 ms of telephone."""

ANYWHERE = "anywhere"
"""The place that stands for every place of what a party is sent."""

NAME = "the name of a host that is looked up"
"""The place of what is in a name, which is not told, for the name is that of the target as well."""

MASK = "<credential>"

Homes = Mapping[str, Mapping[str, Collection[str]]]
"""Name of a credential -> party -> places, such as `header authorization`, `query key`, `body client_secret`."""

_ANSWERS = frozenset({"response", "upgrade.accepted", "upgrade.refused"})
_BODY = re.compile(r"[\w.%+-]+=")
_WORD = re.compile(r"[\w+/%.~-]*\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """A value that has to stay where it belongs. `user`: with whom it forms a pair for Basic authentication.

    Raises ValueError for one that is too short to be told from other text.
    """

    name: str
    value: str = field(repr=False)
    user: str = ""

    def __post_init__(self) -> None:
        if len(self.value) < SHORTEST:
            raise ValueError(f"{self.name} has {len(self.value)} characters: plant one of at least {SHORTEST}")


@dataclass(frozen=True, slots=True)
class Needle:
    """A text by which a credential is recognised. `form`: `plain`, `base64`, `second half`..."""

    credential: str
    form: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Leak:
    """A credential where it does not belong.

    `place`: `header x-debug`, `query key`, `body session.instructions`, `line 3`... `around`: what stands before it,
    masked. `message`: None for what was printed. `host`: the wrong host to which it was sent, where that is the fault.
    """

    credential: str
    form: str
    place: str
    around: str
    message: Message | None = None
    host: str = ""

    def __str__(self) -> str:
        form = "" if self.form == "plain" else f" ({self.form})"
        message = self.message
        if message is None:
            where = f"{self.place} of what the gateway prints"
        else:
            way = f"from {message.source} to {message.target} on {message.channel}"
            where = f"{self.place} of the {message.kind} {way}" if self.place != NAME else NAME
        astray = f", at the host {self.host}" if self.host else ""
        return f"{self.credential}{form} is in {where}{astray}: …{self.around}"


@functools.lru_cache(maxsize=512)
def needles(credential: Credential) -> tuple[Needle, ...]:
    """The texts that give a credential away, the most telling ones first."""
    value, name = credential.value, credential.name
    forms: dict[str, str] = {value: "plain"}

    def add(form: str, *texts: str) -> None:
        for text in texts:
            forms.setdefault(text, form)

    encoded = quote(value, safe="")
    add("URL-encoded", encoded, _lower_hex(encoded), quote_plus(value))
    add("URL-encoded twice", quote(encoded, safe=""), quote(_lower_hex(encoded), safe=""))
    escaped = json.dumps(value)[1:-1]
    add("JSON-escaped", escaped, json.dumps(value, ensure_ascii=False)[1:-1], escaped.replace("/", "\\/"))
    add("JSON-escaped twice", json.dumps(escaped)[1:-1])
    add("HTML-escaped", html.escape(value), html.escape(value, quote=False))
    if credential.user:
        add("base64 of user:password", *_spelled(_whole(f"{credential.user}:{value}".encode())))
    data = value.encode()
    for skip in range(3):
        add("base64", *_spelled(_whole(data[skip:])))
    add("hex", data.hex(), data.hex().upper())
    half = len(value) // 2
    if half >= SHORTEST:
        add("first half", value[:half])
        add("second half", value[-half:])
    return tuple(Needle(name, form, text) for text, form in forms.items())


def _lower_hex(encoded: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), encoded)


def _whole(data: bytes) -> str:
    """Base64 of the groups of three bytes that `data` fills: what follows changes nothing in them."""
    return base64.b64encode(data[: len(data) // 3 * 3]).decode()


def _spelled(text: str) -> Iterator[str]:
    yield text
    yield text.replace("+", "-").replace("/", "_")
    yield quote(text, safe="")
    yield text.replace("/", "\\/")


def search(
    messages: Iterable[Message],
    output: str,
    credentials: Sequence[Credential],
    *,
    source: str = "gateway",
    homes: Homes | None = None,
    hosts: Mapping[str, Collection[str]] | None = None,
    sound: Collection[str] = (),
) -> list[Leak]:
    """Every credential in what `source` has sent, or printed, that is not at home there; one leak for each message.

    `hosts`: party -> the hosts at which a credential may be brought to it; a party without an entry has any. `sound`:
    the kinds of messages that are audio; of these only what stands around the audio is searched.
    """
    sought = [needle for credential in credentials for needle in needles(credential)]
    said = list(_said(messages, source, frozenset(sound)))
    everything = "\n".join([text for _, text in said])
    present = [needle for needle in sought if needle.text in everything]
    spellings = _by_credential(sought)
    found = []
    for message, text in said if present else ():
        for name in dict.fromkeys([needle.credential for needle in present if needle.text in text]):
            at_home = (homes or {}).get(name, {}).get(message.target, ())
            # All spellings: a field may hold another one than the whole message, in which it was escaped.
            leak = _astray(message, spellings[name], at_home, (hosts or {}).get(message.target), sought)
            if leak is not None:
                found.append(leak)
    return found + _printed(output, sought)


def _by_credential(found: Iterable[Needle]) -> dict[str, list[Needle]]:
    groups: dict[str, list[Needle]] = {}
    for needle in found:
        groups.setdefault(needle.credential, []).append(needle)
    return groups


# -- what was said


def _said(messages: Iterable[Message], source: str, sound: frozenset[str]) -> Iterator[tuple[Message, str]]:
    """The messages of a party with all their text, without audio, and without frames that are like the one before."""
    frames: dict[tuple[str, str], tuple[str, str, int]] = {}
    for message in messages:
        if message.source != source:
            continue
        if message.kind not in sound:
            yield message, "\n".join([text for _, text in _pieces(message)])
            continue
        body = message.body
        if not isinstance(body, str):
            continue
        known = frames.get((message.connection, message.kind))
        if known and len(body) == known[2] and body.startswith(known[0]) and body.endswith(known[1]):
            continue
        longest = max(body.split('"'), key=len)
        if len(longest) < SOUND_LENGTH:
            yield message, body
            continue
        head, _, tail = body.partition(longest)
        frames[message.connection, message.kind] = head, tail, len(body)
        yield message, f"{head}\n{tail}"


def _pieces(message: Message) -> Iterator[tuple[str, str]]:
    """What a message consists of, as place and text. The places of a URL are `url` and `query`."""
    if message.body:
        yield "body", message.text
    if message.channel == "network":
        yield NAME, message.target
    meta = message.meta
    if not meta:
        return
    # The URL of an answer is the one that was asked for, and by somebody else.
    if "url" in meta and message.kind not in _ANSWERS:
        address, _, query = str(meta["url"]).partition("?")
        yield "url", address
        yield "query", query
    for name, value in meta.get("headers", ()):
        yield f"header {name}", str(value)
    if meta.get("reason"):
        yield "reason", str(meta["reason"])
    for offered in meta.get("subprotocols", ()):
        yield "subprotocol", str(offered)


# -- where it is


def _astray(
    message: Message,
    mine: Sequence[Needle],
    homes: Collection[str],
    hosts: Collection[str] | None,
    sought: Sequence[Needle],
) -> Leak | None:
    """The first place of a message that is no home of the credential whose needles are found in it."""
    if ANYWHERE in homes:
        return None
    host = _wrong_host(message, hosts)
    for place, piece in _places(message, mine):
        if place.lower() not in homes or host:
            best = next(needle for needle in mine if needle.text in piece)
            return Leak(best.credential, best.form, _masked(place, sought), _around(piece, best, sought), message, host)
    return None


def _wrong_host(message: Message, hosts: Collection[str] | None) -> str:
    host = urlsplit(str(message.meta.get("url", ""))).hostname or ""
    return "" if hosts is None or not host or host in hosts else host


def _places(message: Message, mine: Sequence[Needle]) -> Iterator[tuple[str, str]]:
    """Every piece of a message in which a credential is, by the name of the field where it has fields."""
    for place, piece in _pieces(message):
        if not any(needle.text in piece for needle in mine):
            continue
        fields: Iterable[tuple[str, str]] = ()
        if place == "body":
            document = message.json
            fields = _leaves(document) if document else _form(piece)
        elif place == "query":
            fields = parse_qsl(piece, keep_blank_values=True)
        inside = [(f"{place} {name}".rstrip(), text) for name, text in fields if any(n.text in text for n in mine)]
        yield from inside or [(place, piece)]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The strings of a JSON document by dotted path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")


def _form(text: str) -> list[tuple[str, str]]:
    return parse_qsl(text, keep_blank_values=True) if _BODY.match(text) else []


def _printed(output: str, sought: Sequence[Needle]) -> list[Leak]:
    """Each credential that was printed, once. One that is wrapped, as base64 is by some tools, is found as well."""
    unwrapped = "".join(output.replace("\\n", " ").replace("\\r", " ").split())
    found = [needle for needle in sought if needle.text in unwrapped or needle.text in output]
    leaks = []
    for name, mine in _by_credential(found).items():
        best = mine[0]
        place = output.find(best.text)
        if place < 0:
            leaks.append(Leak(name, f"{best.form}, wrapped", "some lines", MASK))
            continue
        line = output.count("\n", 0, place) + 1
        start = output.rfind("\n", 0, place) + 1
        end = output.find("\n", place + len(best.text))
        around = _around(output[start : end if end >= 0 else len(output)], best, sought)
        leaks.append(Leak(name, best.form, f"line {line}", around))
    return leaks


def masked(text: str, credentials: Iterable[Credential]) -> str:
    """The text with a mask for every credential in it."""
    return _masked(text, [needle for credential in credentials for needle in needles(credential)])


def _masked(text: str, sought: Iterable[Needle]) -> str:
    for needle in sorted(sought, key=lambda each: -len(each.text)):
        text = text.replace(needle.text, MASK)
    return text


def _around(text: str, needle: Needle, sought: Iterable[Needle]) -> str:
    """What stands before a needle, with no part of any credential in it."""
    before = _masked(text[: text.index(needle.text)], sought)
    if needle.form != "plain":
        # What was found in base64, or a half, may have more of the credential before it.
        before = _WORD.sub("", before)
    return before[-40:] + MASK
