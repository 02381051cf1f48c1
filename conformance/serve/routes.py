"""The table of routes: the API is registered from it, and its OpenAPI document is made of it, so that the two agree."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from conformance.serve import calls_api, live, page, settings_api, wire_api
from conformance.serve.asking import errors_as_json, own_pages_only
from harness.run import VERSION

if TYPE_CHECKING:
    from conformance.serve.bench import Bench

Handler = Callable[["Bench", web.Request], Awaitable[web.StreamResponse]]

SCHEMAS = Path(__file__).with_name("schemas.json")
_MEDIA = {
    "text": "text/plain",
    "wav": "audio/wav",
    "lines": "application/x-ndjson",
    "events": "text/event-stream",
    "html": "text/html",
}
"""Answers that are no JSON, by the word for them in the table."""


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query. `schema`: JSON Schema of its value."""

    name: str
    about: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that can be asked. Its summary is the first line of the handler's docstring.

    `body`, `answer`: names of schemas (`[Call]` for a list of them), or for an answer a key of `_MEDIA`.
    """

    method: str
    path: str
    handler: Handler
    answer: str
    status: int = 200
    body: str = ""
    query: tuple[Query, ...] = ()

    @property
    def summary(self) -> str:
        """What it does."""
        return (self.handler.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    @property
    def name(self) -> str:
        """The name of the operation."""
        return f"{self.handler.__module__.rpartition('.')[2].removesuffix('_api')}_{self.handler.__name__}"


_WHOLE = {"type": "integer", "minimum": 0}
_FOLD = Query("fold", "Whether media messages are folded in runs.", {"type": "boolean", "default": True})
_CHOSEN = (
    Query("since", "The first message.", {**_WHOLE, "default": 0}),
    Query("limit", "How many messages at most.", _WHOLE),
    Query("channel", "Only this channel, such as twilio.stream."),
    Query("kind", "Only messages of this kind, such as media."),
    Query("connection", "Only this connection, such as call1/stream1."),
    Query("call", "Only what belongs to this call, such as call1."),
)
_ENVIRONMENT = (
    Query("vendor", "Whose model the gateway uses.", {"enum": ["openai", "azure"], "default": "openai"}),
    Query("gateway", "Variables of this gateway as well.", {"enum": ["any", "reference"], "default": "any"}),
    Query("format", "JSON, or lines for a shell.", {"enum": ["json", "shell"], "default": "json"}),
)
_TRACK = Query("track", "Stereo, mixed, or one direction.", {"enum": ["both", "mixed", "person", "gateway"]})


async def describe(bench: Bench, request: web.Request) -> web.Response:
    """The page for a browser; for a program, what there is"""
    if "text/html" in request.headers.get("Accept", ""):
        return page.index()
    told = {}
    for route in ROUTES:
        asked = document()["components"]["schemas"].get(route.body, {}).get("properties", {})
        needed = document()["components"]["schemas"].get(route.body, {}).get("required", ())
        body = {name if name in needed else f"{name}?": _brief(schema) for name, schema in asked.items()}
        told[f"{route.method} {route.path}"] = {"about": route.summary, "body": body} if body else route.summary
    return web.json_response(told)


def _brief(schema: Mapping[str, Any]) -> str:
    return " | ".join(schema["enum"]) if "enum" in schema else str(schema.get("description", schema.get("type", "")))


async def openapi(bench: Bench, request: web.Request) -> web.Response:
    """The OpenAPI document of all this"""
    return web.json_response(document())


async def page_file(bench: Bench, request: web.Request) -> web.Response:
    """A file of the page"""
    return page.file(request.match_info["file"])


ROUTES: tuple[Route, ...] = (
    Route("GET", "/", describe, "Overview"),
    Route("GET", "/openapi.json", openapi, "Document"),
    Route("GET", "/page/{file}", page_file, "text"),
    Route("GET", "/vendors", settings_api.vendors, "Vendors"),
    Route("GET", "/environment", settings_api.environment, "Environment", query=_ENVIRONMENT),
    Route("GET", "/gateway", settings_api.gateway, "Gateway"),
    Route("PUT", "/gateway", settings_api.set_gateway, "Gateway", body="GatewaySetting"),
    Route("GET", "/state", live.state, "State"),
    Route("GET", "/events", live.events, "events", query=(_FOLD,)),
    Route("GET", "/calls", calls_api.all_calls, "[Call]"),
    Route("POST", "/calls", calls_api.place, "Call", 201, body="Dialling"),
    Route("GET", "/calls/{sid}", calls_api.one_call, "Call"),
    Route("POST", "/calls/{sid}/say", calls_api.say, "Saying", 202, body="Speech"),
    Route("POST", "/calls/{sid}/press", calls_api.press, "Done", 202, body="Keys"),
    Route("POST", "/calls/{sid}/hangup", calls_api.hang_up, "Done", 202),
    Route("POST", "/calls/{sid}/answer", calls_api.answer, "Done", 202),
    Route("POST", "/calls/{sid}/reject", calls_api.reject, "Done", 202, body="Rejection"),
    Route("POST", "/calls/{sid}/lose-stream", calls_api.lose_stream, "Lost", 202),
    Route("GET", "/calls/{sid}/audio.wav", calls_api.audio, "wav", query=(_TRACK,)),
    Route("GET", "/calls/{sid}/levels", calls_api.recording, "Levels"),
    Route("GET", "/calls/{sid}/microphone", calls_api.microphone, "text", 101),
    Route("POST", "/phones", calls_api.add_phone, "Phone", 201, body="NewPhone"),
    Route("GET", "/answering", calls_api.answering, "Answering"),
    Route("PUT", "/answering", calls_api.set_answering, "Answering", body="AnsweringSetting"),
    Route("GET", "/phrases", calls_api.phrases, "Texts"),
    Route("GET", "/sessions", settings_api.sessions, "[Session]"),
    Route("POST", "/sessions/{vendor}/{ordinal}/disturb", settings_api.disturb, "Session", 202, body="Disturbance"),
    Route("GET", "/wire", wire_api.wire, "[Message]", query=_CHOSEN),
    Route("DELETE", "/wire", wire_api.clear, "Done"),
    Route("GET", "/wire.jsonl", wire_api.wire_lines, "lines", query=_CHOSEN),
    Route("GET", "/wire/{seq}", wire_api.message, "Message"),
    Route("GET", "/ladder", wire_api.ladder, "text"),
    Route(
        "GET",
        "/rows",
        wire_api.rows,
        "[Row]",
        query=(Query("since", "The first row.", {**_WHOLE, "default": 0}), _FOLD),
    ),
    Route("GET", "/rows/{number}", wire_api.row, "RowMessages", query=(_FOLD,)),
    Route(
        "GET",
        "/search",
        wire_api.search,
        "Found",
        query=(Query("q", "The text."), Query("since", "The first row to look at.", _WHOLE), _FOLD),
    ),
    Route("GET", "/knobs", settings_api.knobs, "Knobs"),
    Route("PUT", "/knobs/{name}", settings_api.turn_knob, "Values", body="Value"),
    Route("GET", "/faults", settings_api.faults, "[Fault]"),
    Route("DELETE", "/faults", settings_api.disarm_faults, "[Fault]"),
    Route("PUT", "/faults/{name}", settings_api.arm_fault, "Fault", body="Arming"),
)


def application(bench: Bench) -> web.Application:
    """The control API of a bench."""
    app = web.Application(middlewares=[errors_as_json, own_pages_only])
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _bound(route.handler, bench))
        if route.method == "GET" and route.answer != "events" and route.status != 101:
            app.router.add_route("HEAD", route.path, _bound(route.handler, bench))
    return app


def _bound(handler: Handler, bench: Bench) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(bench, request)

    return handle


# -- OpenAPI


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the routes; the schemas are in `schemas.json`."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "callproof serve",
            "version": VERSION,
            "summary": "Place calls to a voice gateway, watch the wire, and make the vendors misbehave.",
        },
        "paths": paths,
        "components": {"schemas": json.loads(SCHEMAS.read_text(encoding="utf-8"))},
    }


def _operation(route: Route) -> dict[str, Any]:
    told: dict[str, Any] = {"operationId": route.name, "summary": route.summary}
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    parameters += [
        {"name": query.name, "in": "query", "description": query.about, "schema": dict(query.schema)}
        for query in route.query
    ]
    if parameters:
        told["parameters"] = parameters
    if route.body:
        told["requestBody"] = {"content": {"application/json": {"schema": _schema(route.body)}}}
        told["requestBody"]["required"] = route.body != "Rejection"
    answered: dict[str, Any] = {"description": route.summary}
    if route.status != 101:
        answered["content"] = _content(route)
    refused = {"application/json": {"schema": _schema("Error")}}
    told["responses"] = {
        str(route.status): answered,
        "4XX": {"description": "What was wrong, and what to do.", "content": refused},
    }
    return told


def _content(route: Route) -> dict[str, Any]:
    media = _MEDIA.get(route.answer)
    if route.path == "/page/{file}":
        return {kind: {} for kind in sorted(set(page.TYPES.values()))}
    if media is not None:
        return {media: {}}
    content: dict[str, Any] = {"application/json": {"schema": _schema(route.answer)}}
    if route.path == "/":
        content["text/html"] = {}
    elif route.path == "/environment":
        content["text/plain"] = {}
    return content


def _schema(name: str) -> dict[str, Any]:
    if name.startswith("["):
        return {"type": "array", "items": _schema(name[1:-1])}
    return {"$ref": f"#/components/schemas/{name}"}
