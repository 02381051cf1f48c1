"""The control API: vendors, the gateway, sessions, knobs and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from conformance.serve import asking
from conformance.serve.environment import GATEWAYS, VENDORS, exports, variables
from conformance.serve.faults import ARMED
from fakes.openai.connected import State
from harness.run import VERSION, UsageProblem

if TYPE_CHECKING:
    from conformance.serve.bench import Bench
    from fakes.openai.session import RealtimeSession

_VENDORS: dict[str, dict[str, Any]] = {
    "openai": {
        "title": "OpenAI",
        "address": "openai.base_url",
        "values": {"API key": "openai.api_key"},
    },
    "azure": {
        "title": "Azure OpenAI",
        "address": "azure.endpoint",
        "values": {"API key": "azure.api_key", "Deployment": "azure.deployment"},
    },
    "twilio": {
        "title": "Twilio",
        "address": "twilio.base_url",
        "values": {
            "Account SID": "twilio.account_sid",
            "Auth token": "twilio.auth_token",
            "Number": "twilio.number",
        },
    },
}

DISTURBANCES = ("close", "reset", "error", "fail_response", "filter_response", "fail_transcription")


async def vendors(bench: Bench, request: web.Request) -> web.Response:
    """Who is served, where, and with which credentials."""
    return web.json_response(
        {
            "version": VERSION,
            "as_of": bench.as_of.isoformat(),
            "vendors": [
                {
                    "name": name,
                    "title": about["title"],
                    "address": bench.ready[about["address"]],
                    "values": [
                        {"name": told, "value": bench.ready[key], "setting": key}
                        for told, key in about["values"].items()
                    ],
                }
                for name, about in _VENDORS.items()
            ],
        }
    )


async def environment(bench: Bench, request: web.Request) -> web.Response:
    """The variables for a gateway's environment, as JSON or as lines for a shell."""
    vendor = asking.one_of(request.query.get("vendor", "openai"), "vendor", VENDORS)
    gateway = asking.one_of(request.query.get("gateway", "any"), "gateway", GATEWAYS)
    form = asking.one_of(request.query.get("format", "json"), "format", ("json", "shell"))
    told = variables(bench.ready, bench.webhook, vendor, gateway)
    return web.Response(text=exports(told)) if form == "shell" else web.json_response(told)


def gateway_told(bench: Bench) -> dict[str, Any]:
    """Where the gateway is."""
    return {"webhook": bench.webhook, "status_callback": bench.status_callback}


async def gateway(bench: Bench, request: web.Request) -> web.Response:
    """Where the gateway is."""
    return web.json_response(gateway_told(bench))


async def set_gateway(bench: Bench, request: web.Request) -> web.Response:
    """Say where the gateway is: calls go there from now on."""
    body = await asking.body(request, {"webhook"}, {"status_callback"})
    webhook = asking.url(body, "webhook")
    status = asking.url(body, "status_callback") if body.get("status_callback") else ""
    bench.webhook, bench.status_callback = webhook, status
    bench.lead(webhook)
    bench.wire.poke()
    return web.json_response(gateway_told(bench))


def sessions_told(bench: Bench) -> list[dict[str, Any]]:
    """Every realtime session."""
    return [_session_told(bench, name, session) for name, of in bench.services.items() for session in of.sessions]


def _session_told(bench: Bench, vendor: str, session: RealtimeSession) -> dict[str, Any]:
    closed = session.closed
    return {
        "vendor": vendor,
        "ordinal": session.ordinal,
        "connection": session.connection,
        "state": session.state.value,
        "model": session.model,
        "dialect": session.dialect.name,
        "call": bench.call_of(session.connection),
        "closed": None if closed is None else {"code": closed.code, "reason": closed.reason, "by": closed.initiator},
    }


async def sessions(bench: Bench, request: web.Request) -> web.Response:
    """Every realtime session so far."""
    return web.json_response(sessions_told(bench))


async def disturb(bench: Bench, request: web.Request) -> web.Response:
    """Do something to a realtime session that is open."""
    session = bench.session(request.match_info["vendor"], asking.place(request, "ordinal", "session"))
    body = await asking.body(request, {"with"}, {"code", "reason"})
    way = asking.one_of(body["with"], "with", DISTURBANCES)
    code, reason = body.get("code", 1011), str(body.get("reason", ""))
    if not isinstance(code, int) or not (code == 1000 or 1001 <= code <= 4999) or code in (1004, 1005, 1006, 1015):
        raise UsageProblem(f"code is that of a WebSocket close, such as 1011, not {code!r}")
    if len(reason.encode()) > 123:
        raise UsageProblem("reason has at most 123 bytes: it has to fit into a close frame")
    if session.state not in (State.CONNECTED, State.OPEN):
        raise UsageProblem(
            f"{session.connection} is {session.state.value}: only a session that is open can be disturbed"
        )
    if way == "close":
        session.close(code, reason)
    elif way == "reset":
        session.abort()
    elif way == "error":
        session.error("server_error", reason or "The server had an error while processing your request.")
    else:
        getattr(session, way)()
    bench.wire.poke()
    return web.json_response(_session_told(bench, request.match_info["vendor"], session), status=202)


async def knobs(bench: Bench, request: web.Request) -> web.Response:
    """Every knob with its value, what it is about, and where that comes from."""
    told = {}
    for name in bench.knobs:
        knob = bench.knobs.knob(name)
        about: dict[str, Any] = {
            "value": bench.knobs[name],
            "default": knob.default,
            "behaviour": knob.behaviour,
            "evidence": knob.evidence,
            "source": knob.source,
        }
        if knob.options:
            about["options"] = list(knob.options)
        if knob.low is not None and knob.high is not None:
            about["low"], about["high"] = knob.low, knob.high
        told[name] = about
    return web.json_response(told)


async def turn_knob(bench: Bench, request: web.Request) -> web.Response:
    """Turn a knob."""
    body = await asking.body(request, {"value"})
    name = request.match_info["name"]
    if not isinstance(body["value"], bool | int | str):
        raise UsageProblem(f"the value of a knob is true, false, a whole number or a text, not {body['value']!r}")
    bench.knobs.set(name, body["value"])
    bench.wire.poke()
    return web.json_response({name: bench.knobs[name]})


async def faults(bench: Bench, request: web.Request) -> web.Response:
    """Every fault, and whether it is armed."""
    return web.json_response([fault.told() for fault in bench.faults.all()])


async def arm_fault(bench: Bench, request: web.Request) -> web.Response:
    """Arm a fault for the next occasion, until further notice, or not at all."""
    body = await asking.body(request, {"armed"})
    armed = asking.one_of(body["armed"], "armed", ARMED)
    fault = bench.faults.arm(request.match_info["name"], armed)
    bench.wire.poke()
    return web.json_response(fault.told())


async def disarm_faults(bench: Bench, request: web.Request) -> web.Response:
    """Switch every fault off."""
    bench.faults.disarm()
    bench.wire.poke()
    return web.json_response([fault.told() for fault in bench.faults.all()])
