"""Claims are probed: a gateway that claims what it has not, or hides what it has, is told so."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from conformance.intruder import Intruder
from harness.profile import Profile

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld

Found = list[tuple[str, str, str]]
"""What a probe found: `note` or `failed`, what, and what to do."""

HAVING = {
    "operations.call": "phone.outbound",
    "operations.hangup": "operator.hangup",
    "operations.health": "health",
    "operations.doctor": "doctor",
    "talk.webrtc": "talk.webrtc",
    "talk.relay": "talk.relay",
    "talk.tool": "talk.tools",
    "talk.explain": "talk.explain",
    "talk.page": "talk.page",
    "talk.browser": "talk.browser",
}
"""Tables that say how to do what a claim is about."""


def overlooked(profile: Profile) -> list[tuple[str, str]]:
    """Features that the profile says how to use, and does not claim: what is seen, and what to do."""
    written = {f"operations.{name}" for name in profile.operations}
    parts = ("webrtc", "relay", "tool", "explain", "page", "browser")
    written |= {f"talk.{part}" for part in parts if getattr(profile.talk, part) is not None}
    missing = [(key, claim) for key, claim in HAVING.items() if key in written and claim not in profile.claims.features]
    if profile.webhooks.status is not None and "phone.status_callbacks" not in profile.claims.features:
        missing.append(("webhooks.status", "phone.status_callbacks"))
    return [
        (f"hides {claim}: the profile has {key}, and does not claim it", f'add "{claim}" to claims.features')
        for key, claim in missing
    ]


async def probe_signature(world: PhoneWorld) -> Found:
    """An unsigned webhook is refused by those who claim to check signatures, and taken by those who do not."""
    claimed = "phone.signature" in world.profile.claims.features
    async with Intruder(world) as intruder:
        form = {"CallSid": f"CA{world.choices.token('probe/call', 32)}", "CallStatus": "ringing"}
        answer = await intruder.post(world.profile.webhooks.voice, form, None)
    if claimed and answer.status < 300:
        said = f"claims phone.signature, but an unsigned webhook is answered {answer.status}"
        return [("failed", said, "check X-Twilio-Signature, or do not claim it")]
    if not claimed and answer.status in (401, 403):
        said = f"hides phone.signature: an unsigned webhook is answered {answer.status}"
        return [("note", said, 'add "phone.signature" to claims.features')]
    return []


async def probe_health(world: PhoneWorld) -> Found:
    """Whoever is ready by a health request has one."""
    path, features = world.profile.gateway.ready.http, world.profile.claims.features
    if path is None or "health" in features or "health" in world.profile.operations:
        return []
    answer = await world.web.request("GET", world.web.origin + path, origin=None)
    if not answer.ok:
        return []
    todo = f'write [operations.health] with request = "GET {path}", and add "health" to claims.features'
    return [("note", f"hides health: GET {path} is answered {answer.status}", todo)]


async def probe_talk(world: PhoneWorld) -> Found:
    """Whoever claims to want a token refuses those who have none."""
    found: Found = []
    claimed = "talk.token" in world.profile.claims.features
    for transport in ("webrtc", "relay"):
        way = getattr(world.profile.talk, transport)
        if way is None or f"talk.{transport}" not in world.profile.claims.features or way.request is None:
            continue
        answer = await world.web.asks(transport, token="")
        if claimed and answer.ok:
            said = f"claims talk.token, but a {transport} session is given to somebody without it"
            found.append(("failed", said, "refuse who has no token, or do not claim it"))
        elif not claimed and answer.status in (401, 403):
            said = f"hides talk.token: a {transport} session without a token is answered {answer.status}"
            found.append(("note", said, 'map talk.token, and add "talk.token" to claims.features'))
    return found


async def probe_calls(world: PhoneWorld) -> Found:
    """A status callback that a gateway asks for is one that it takes."""
    if "phone.status_callbacks" in world.profile.claims.features:
        return []
    asked = world.wire.first("request", channel="twilio.rest", where=lambda m: "StatusCallback=" in m.text)
    if asked is None:
        return []
    said = "hides phone.status_callbacks: it asks for them when it places a call"
    return [("note", said, 'add "phone.status_callbacks" to claims.features')]


async def probe_tools(world: PhoneWorld) -> Found:
    """Function tools are in the session, under the names that the profile says."""
    claims = world.profile.claims
    updates = world.wire.all("session.update", source="gateway")
    if not updates:
        return []
    names = {str(tool.get("name")) for update in updates for tool in update.get("session.tools") or []}
    wanted = [(key, name) for key in ("tool", "end_call_tool") if (name := getattr(claims, key)) is not None]
    found: Found = []
    for key, name in wanted:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(names)) or 'none'}"
            found.append(("failed", f"claims.{key} = {name!r} is not among the session's tools", hint))
    if names and "tools" not in claims.features:
        said = f"hides tools: the session has {', '.join(sorted(names))}"
        found.append(("note", said, 'add "tools" to claims.features, and name one of them in claims.tool'))
    if not names and "tools" in claims.features and not wanted:
        found.append(("failed", "claims tools, but the session has none", "do not claim it"))
    return found
