"""Faults in what the gateway says about its own configuration."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from broken import doctor
from broken import gateway as of_gateway
from reference_impl.conversation import Conversation, UpstreamRefused
from reference_impl.doctor import FAIL, Doctor, Finding, Report
from reference_impl.gateway import Gateway
from reference_impl.problems import Problem


class AlwaysWorried(Doctor):
    """There is something that fails in every answer.

    A check of what cannot be checked is counted as failed. Nobody reads the answer any more.
    """

    def settings(self) -> list[Finding]:
        return [*super().settings(), Finding("region", FAIL, "the region of the resource is not known")]


class NeverWorried(Doctor):
    """The settings are looked at, and no session is opened.

    Everything that is set is good. Wrong keys, deployments and rules are found by callers.
    """

    async def problem(self) -> Problem | None:
        return None


class Guesses(Doctor):
    """Whatever the refusal is, the network is to blame.

    What could not be connected to is not there. The call's log says 401.
    """

    async def problem(self) -> Problem | None:
        problem = await super().problem()
        if problem is None:
            return None
        guess = "the service cannot be reached from here"
        return replace(problem, code=None, status=None, message=guess, cause="network", advice="Check the network.")


class NamesNothing(Doctor):
    """What is wrong is told without the names of deployment and endpoint.

    The texts are made for everybody. What was configured and what was meant differ in one letter, which is not shown.
    """

    def settings(self) -> list[Finding]:
        return []

    def failed(self, check: str, cause: str, problem: Problem) -> Finding:
        return super().failed(check, cause, replace(problem, advice="Compare it with the portal."))


class ShowsTheKey(Doctor):
    """The settings are shown as they are, the key among them.

    For comparing it with the portal. The answer is pasted into a ticket.
    """

    def settings(self) -> list[Finding]:
        return [*super().settings(), Finding("key", "ok", self.config.azure_api_key)]


class LeavesItOpen(Doctor):
    """The session that the doctor opens to find out stays open.

    The object is dropped, and the connection is kept by its heartbeat. Asked every minute, it uses up the quota.
    """

    async def problem(self) -> Problem | None:
        conversation = Conversation(self.config, self.dialect, self.http, self.log)
        try:
            await conversation.open_session()
        except UpstreamRefused as refused:
            return refused.problem
        return None


class KeepsItsAnswer(Gateway):
    """The first answer of the doctor is given from then on.

    To spare the resource. What was mended stays broken, and the other way round.
    """

    report: Report | None = None

    async def on_doctor(self, request: web.Request) -> web.Response:
        if self.report is None:
            self.report = await self.doctor_class(self.config, self.dialect_for(), self.http, self.log).examine()
        return web.json_response(self.report.as_dict())


class MakesRoom(Gateway):
    """Calls are ended before the doctor opens its session.

    So that the quota is enough for it. Whoever is on the line is cut off.
    """

    async def on_doctor(self, request: web.Request) -> web.Response:
        for bridge in tuple(self.bridges.values()):
            bridge.hang_up("the doctor comes")
        return await super().on_doctor(request)


always_worried = doctor(AlwaysWorried)
never_worried = doctor(NeverWorried)
guesses = doctor(Guesses)
names_nothing = doctor(NamesNothing)
shows_the_key = doctor(ShowsTheKey)
leaves_it_open = doctor(LeavesItOpen)
keeps_its_answer = of_gateway(KeepsItsAnswer)
makes_room = of_gateway(MakesRoom)
