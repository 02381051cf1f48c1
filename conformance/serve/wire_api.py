"""The control API: the wire, its ladder, and a stream of what changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from conformance.serve import asking
from conformance.serve.asking import NotThere
from conformance.serve.recording import as_json
from harness.report.ladder import ladder_lines, render_text

if TYPE_CHECKING:
    from conformance.serve.bench import Bench
    from harness.wire import Message


def _chosen(bench: Bench, request: web.Request) -> list[Message]:
    since = asking.count(request, "since", "message")
    limit = asking.count(request, "limit", "message", len(bench.wire.messages))
    wanted = {key: request.query[key] for key in ("channel", "kind", "connection") if key in request.query}
    call = request.query.get("call")
    found = [
        message
        for message in bench.wire.messages[max(0, since) :]
        if all(getattr(message, key) == value for key, value in wanted.items())
        and (call is None or bench.call_of(message.connection) == call)
    ]
    return found[: max(0, limit)]


async def wire(bench: Bench, request: web.Request) -> web.Response:
    """Messages from number `since` on, of one channel, kind, connection or call, or all."""
    return web.json_response([as_json(message) for message in _chosen(bench, request)])


async def wire_lines(bench: Bench, request: web.Request) -> web.Response:
    """The same as JSON lines, to be kept."""
    lines = b"".join(msgspec.json.encode(as_json(message), enc_hook=str) + b"\n" for message in _chosen(bench, request))
    headers = {"Content-Disposition": 'attachment; filename="wire.jsonl"'}
    return web.Response(body=lines, content_type="application/x-ndjson", headers=headers)


async def message(bench: Bench, request: web.Request) -> web.Response:
    """One message."""
    seq = asking.place(request, "seq", "message")
    if not 0 <= seq < len(bench.wire.messages):
        raise NotThere(f"there is no message {seq}; there are {len(bench.wire.messages)}, from 0")
    return web.json_response(as_json(bench.wire.messages[seq]))


async def clear(bench: Bench, request: web.Request) -> web.Response:
    """Forget every message, and every call that is over."""
    bench.clear()
    return web.json_response({})


async def ladder(bench: Bench, request: web.Request) -> web.Response:
    """The wire as a ladder diagram in text."""
    return web.Response(text=render_text(ladder_lines(bench.wire.messages), 120) + "\n")


async def rows(bench: Bench, request: web.Request) -> web.Response:
    """The ladder from row `since` on, as the page has it."""
    since = asking.count(request, "since", "row")
    found = bench.wire.ladder(asking.flag(request, "fold", True)).rows[max(0, since) :]
    return web.Response(body=msgspec.json.encode(found), content_type="application/json")


async def row(bench: Bench, request: web.Request) -> web.Response:
    """One row, with the numbers of its messages."""
    number = asking.place(request, "number", "row")
    ladder = bench.wire.ladder(asking.flag(request, "fold", True))
    if not 0 <= number < len(ladder.rows):
        raise NotThere(f"there is no row {number}; there are {len(ladder.rows)}, from 0")
    told: dict[str, Any] = {"row": ladder.rows[number], "seqs": ladder.seqs(number)}
    return web.Response(body=msgspec.json.encode(told), content_type="application/json")


async def search(bench: Bench, request: web.Request) -> web.Response:
    """The numbers of the rows that have a text in one of their messages."""
    text = request.query.get("q", "")
    fold = asking.flag(request, "fold", True)
    until = len(bench.wire.ladder(fold).rows)
    found = list(bench.wire.find(text, fold, asking.count(request, "since", "row")))
    return web.json_response({"rows": found, "until": until})
