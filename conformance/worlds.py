"""One world from its beginning to its end: the story of a case is told, and what came of it is judged."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path

from conformance.assembly import SETTLE_SECONDS, PhoneWorld, noon, registry
from conformance.azure import VENDORS
from conformance.invariants import DECISIVE, INVARIANTS, Evidence
from harness.choices import Choices, Source
from harness.faults import watched_for_faults
from harness.live import LiveStage, Station
from harness.run import RunRequest
from harness.stage import GatewayNotStartable
from harness.suite import CaseDefinition, CaseOver, Checks, Column, Outcome
from harness.virtual.loop import Spinning
from harness.virtual.stage import VirtualStage
from harness.wire import Message


def run_world(
    definition: CaseDefinition,
    request: RunRequest,
    column: Column,
    source: Source,
    seed: int,
    *,
    station: Station | None = None,
    salt: str = "",
) -> Outcome:
    """Run one world of a case to its end and judge it. Raises `GatewayNotStartable`.

    `station`: where it runs on the live stage, with a `salt` for the ids of its vendors; a place of its own without.
    """
    checks = Checks(registry())
    choices = Choices(source, seed=seed, fixed=definition.fixed, salt=salt)
    reports: list[tuple[str, str, str]] = []
    stage: VirtualStage | LiveStage
    if request.stage == "virtual":
        port = request.profile.gateway.port
        stage = VirtualStage(seed=seed, wall=noon(column.as_of), report=lambda *what: reports.append(what), port=port)
    else:
        stage = LiveStage(station)
    world = PhoneWorld(stage, definition, request, column, choices)

    async def main() -> Outcome:
        error: str | None = None
        if station is not None and VENDORS.get(definition.vendor) == "application":
            await station.discard()  # it has a token, and keeps it: one of another world's Entra
        try:
            await world.open()
            if stage.name == "live":
                give_up_where_nothing_can_come(world)
            try:
                error = await _play(world, checks)
                await _wind_down(world, checks)
            finally:
                ended = await world.gateway_leaves()
        finally:
            await world.close()
        if isinstance(stage, LiveStage):
            reports.extend((kind, "gateway", what) for kind, what in stage.contacts.refused)
        if not ended.clean:
            checks("LIFE-009", False, f"after the gateway was told to stop: {'; '.join(ended.left)}")
        for kind, party, what in reports:
            world.wire.record(party, what, "network", kind)
        output = world.gateway.output()
        evidence = evidence_of(world)
        for invariant in INVARIANTS:
            invariant(evidence, checks)
        if station is not None and (error is not None or checks.bad):
            # Calls or sessions that it has left open would go on into the next world, were it only by its attempts to
            # have them back.
            if world.left() or "LIFE-009" in checks.failed():
                await station.discard()
            else:
                station.mark()
        return told(error, output)

    def told(error: str | None, output: str) -> Outcome:
        return Outcome(
            definition=definition,
            column=column,
            checks=checks,
            choices=choices,
            messages=world.wire.messages,
            order=world.gates.order,
            seconds=world.clock.now(),
            stage=stage.name,
            error=error,
            output=output,
        )

    with watched_for_faults() as faults:
        try:
            outcome = stage.run(main)
        except Spinning as error:
            # Nothing of ours schedules callbacks for ever: a loop of the gateway's goes round without waiting.
            checks(definition.about, False, f"the gateway keeps its event loop busy for ever: {error}")
            outcome = told(None, "")
    for fault in faults:
        checks.harness_error(f"a fake raised an exception: {fault}")
    return outcome


def evidence_of(world: PhoneWorld) -> Evidence:
    """What there is to be seen of a world."""
    return Evidence(
        wire=world.wire,
        column=world.column,
        planted=world.planted,
        secrets=[secret.value for secret in world.upstream.secrets.minted],
        output=world.gateway.output(),
        configured_model=_configured_model(world),
        ended=world.clock.now(),
        deliberate=world.deliberate,
        settings=world.values(),
        looked_up=world.stage.looked_up(),
        issued=world.issued(),
    )


def give_up_where_nothing_can_come(world: PhoneWorld) -> None:
    """From the moment on when the vendor has turned the gateway away for something that decides, nobody waits long.

    In virtual time it costs nothing to wait.
    """
    configured: set[str] = set()

    def look(message: Message) -> None:
        if message.channel != f"{world.upstream.party}.realtime" or message.source == "gateway":
            return
        if message.kind == "session.updated":
            configured.add(message.connection)
        elif message.kind in ("upgrade.refused", "close") and message.connection not in configured:
            checks, evidence = Checks(registry()), evidence_of(world)
            for invariant in DECISIVE:
                invariant(evidence, checks)
            failed = [requirement for requirement in checks.failed() if registry()[requirement].decides]
            if failed:
                end()
                world.loses_patience(f"{', '.join(failed)} failed, and the vendor has turned the gateway away")

    end = world.wire.watch(look)


def _configured_model(world: PhoneWorld) -> str:
    """The model, or the deployment, that the gateway was told to use; empty for one that cannot be told."""
    for name in ("openai.model", "azure.deployment"):
        if name in world.values():
            return world.values()[name] if world.profile.maps(name) else ""
    return ""


async def _play(world: PhoneWorld, checks: Checks) -> str | None:
    """Tell the story of the case; returns what went wrong on our side, None when nothing did."""
    try:
        async with asyncio.timeout(world.definition.seconds):
            await world.definition.run(world, checks)
    except CaseOver:
        pass
    except (AssertionError, TimeoutError) as error:
        checks(world.definition.about, False, str(error) or "the story broke off: it took too long")
    except GatewayNotStartable:
        raise
    except Exception as error:  # our own fault: told as a harness error, never held against the gateway
        where = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error} (at {Path(where.filename).name}:{where.lineno})"
        checks.harness_error(told)
        return told
    return None


async def _wind_down(world: PhoneWorld, checks: Checks) -> None:
    """Everybody hangs up; nothing may be left."""
    for person in world.people:
        if person.call is not None:
            person.hang_up()
    await world.everybody_leaves()
    left = await world.settled()
    await world.all_is_told()
    # Only now: a story breaks off as soon as the sockets of a dying process are gone, and that is before its end.
    died = world.gateway.died() if world.ended is None else None
    if died is not None:
        checks("LIFE-007", False, f"the gateway is not running any more: {died}")
    checks("LIFE-009", not left, f"{SETTLE_SECONDS:g} s after the last hang-up: {'; '.join(left)}")
