"""Faults in what a gateway does, and tells, when Azure does not let it in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import WSServerHandshakeError

from broken import azure, bridge, entra
from broken.upstream import ReconnectsForever, SilentWhenRefused
from reference_impl.azure import Azure
from reference_impl.bridge import Bridge
from reference_impl.credentials import CredentialError, Entra
from reference_impl.problems import Problem, of_cause, ours


class SilentWithAzure(SilentWhenRefused):
    """When Azure refuses, the call stays up, and nothing is said.

    The refusal comes as an HTTP status and not as an event, and nobody waits for it. Callers listen to silence.
    """


class KnocksForEver(ReconnectsForever):
    """Whatever Azure answers, the upgrade is tried again every second.

    A retry that was made for lost connections. A resource that is asked with a wrong key all day is blocked.
    """


class SaysUnavailable(Azure):
    """Whatever Azure answers, what is told is that the provider is not available.

    `Realtime provider error.`, as openclaw 2026.9.6 has it. It is true of every cause, and helps with none.
    """

    def of_refusal(self, error: WSServerHandshakeError) -> Problem:
        return replace(ours("realtime_unavailable", "Realtime provider error."), advice="Try again later.")


class HidesTheStatus(Bridge):
    """The status of Azure's refusal is not told, only its words.

    They are what there is for people, it was thought. Nobody can look up what a refusal without a number is.
    """

    def log_refused(self, problem: Problem) -> None:
        super().log_refused(
            replace(problem, status=None, code=None if problem.code == str(problem.status) else problem.code)
        )

    def on_upstream_closed(self, why: str) -> None:
        super().on_upstream_closed("no session")


class ReadsTheStatusOnly(Azure):
    """The body of Azure's refusal is not read.

    WebSocket clients do not show it. 404 may be the deployment, the path or the api-version, and 401 the key or a role.
    """

    def of_refusal(self, error: WSServerHandshakeError) -> Problem:
        problem = super().of_refusal(error)
        return replace(problem, code=None, message=f"{error.status}, message='Invalid response status'")


class AdvisesOnOpenai(Azure):
    """What Azure refuses is explained as if OpenAI had refused it.

    The hints go by the status, and 401 is 401. Customers are sent to platform.openai.com, where they have no account.
    """

    def explain(self, problem: Problem, headers: Mapping[str, str] | None = None) -> Problem:
        advice = "Check OPENAI_API_KEY, or make a new key at https://platform.openai.com/api-keys."
        return replace(super().explain(problem, headers), advice=advice)


class HidesTheHost(Azure):
    """What cannot be reached is told without saying what it is.

    `cannot connect` is what the exception said. A typing error in the endpoint looks like a broken network.
    """

    def of_failure(self, error: Exception, why: str) -> Problem:
        return replace(super().of_failure(error, why), advice="Check the network.")


class HidesTheVersion(Azure):
    """When the preview refuses, its api-version is not told.

    The hint speaks of `the preview`. Nobody thinks of a setting that was made a year ago.
    """

    def advice(self, cause: str | None, headers: Mapping[str, str]) -> str:
        return super().advice(cause, headers).replace(self.config.azure_api_version or "?", "...")


class ForgetsTheRequest(Azure):
    """The id of the request is not told.

    It is in a header, and headers are not looked at. Microsoft's support asks for it first.
    """

    def of_refusal(self, error: WSServerHandshakeError) -> Problem:
        return replace(super().of_refusal(error), request_id=None)


class HidesEntra(Entra):
    """What Entra refuses is told as `no credential`.

    The exception of a chain of credentials is long, and its end was cut off. The AADSTS code was in it.
    """

    async def fetch(self) -> tuple[str, float]:
        try:
            return await super().fetch()
        except CredentialError:
            raise CredentialError(of_cause("azure_no_credentials", "no credential")) from None


class BlamesTheResource(Entra):
    """When no token can be had, it is told that Azure does not answer.

    One message for everything that takes too long. The resource is looked at, and is in order.
    """

    name = "the environment"

    async def fetch(self) -> tuple[str, float]:
        try:
            async with asyncio.timeout(6):
                return await super().fetch()
        except TimeoutError:
            raise CredentialError(of_cause("azure_timeout", "Azure did not answer")) from None


class TakesAnyone(Azure):
    """Without a key Azure is asked for a session all the same.

    An empty text is a text. Azure says that the key is wrong, and one looks for the fault in a key that there is not.
    """

    def auth(self) -> dict[str, str]:
        headers = super().auth()
        return {} if headers.get("api-key") == NO_KEY else headers


class GuessesTheDeployment(Azure):
    """Without a deployment the name of the model is taken for it.

    It works at whoever has called it so. For all others it is DeploymentNotFound, of one that they have never named.
    """


class UsesOpenaiWithoutEndpoint(Azure):
    """Without an endpoint the default is taken, which is OpenAI's.

    One constructor for both, whose base URL has a default value. The key of a resource goes to api.openai.com.
    """

    def url(self) -> str:
        if self.config.azure_endpoint == NO_ENDPOINT:
            return f"wss://api.openai.com/v1/realtime?model={self.config.openai_model}"
        return super().url()

    def auth(self) -> dict[str, str]:
        key = self.config.azure_api_key
        return {"Authorization": f"Bearer {key}"} if self.config.azure_endpoint == NO_ENDPOINT else super().auth()


NO_KEY = "there-is-no-key"
NO_ENDPOINT = "https://nowhere.example.test"


def _with(environ: Mapping[str, str], **more: str) -> Mapping[str, str]:
    return {**more, **environ} if environ.get("OPENAI_PROVIDER") == "azure-openai" else environ


def _some_key(environ: Mapping[str, str]) -> Mapping[str, str]:
    has = environ.get("AZURE_OPENAI_API_KEY") or environ.get("AZURE_CLIENT_ID")
    return environ if has else _with(environ, AZURE_OPENAI_API_KEY=NO_KEY)


def _some_deployment(environ: Mapping[str, str]) -> Mapping[str, str]:
    return _with(environ, AZURE_OPENAI_DEPLOYMENT="gpt-realtime")


def _some_endpoint(environ: Mapping[str, str]) -> Mapping[str, str]:
    return _with(environ, AZURE_OPENAI_ENDPOINT=NO_ENDPOINT)


silent_with_azure = bridge(SilentWithAzure)
knocks_for_ever = bridge(KnocksForEver)
hides_the_status = bridge(HidesTheStatus)
says_unavailable = azure(SaysUnavailable)
reads_the_status_only = azure(ReadsTheStatusOnly)
advises_on_openai = azure(AdvisesOnOpenai)
hides_the_host = azure(HidesTheHost)
hides_the_version = azure(HidesTheVersion)
forgets_the_request = azure(ForgetsTheRequest)
hides_entra = entra(HidesEntra)
blames_the_resource = entra(BlamesTheResource)
takes_anyone = azure(TakesAnyone, environ=_some_key)
guesses_the_deployment = azure(GuessesTheDeployment, environ=_some_deployment)
uses_openai_without_endpoint = azure(UsesOpenaiWithoutEndpoint, environ=_some_endpoint)
