"""Faults in where sessions of Azure are opened, and in which dialect."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from broken import azure
from broken import gateway as of_gateway
from reference_impl.azure import Azure
from reference_impl.credentials import CredentialError
from reference_impl.dialects import Beta, Dialect, Ga
from reference_impl.gateway import Gateway
from reference_impl.problems import Problem, ours
from reference_impl.upstream import Upstream

OPENAI = "wss://api.openai.com/v1/realtime"
OLD = "2024-12-17"


class FallsBack(Azure):
    """When Azure refuses, the session is opened at api.openai.com.

    Meant as resilience. Speech goes to a vendor with whom the customer has no contract, and nobody hears of the fault.
    """

    fallen = False

    async def renew(self, refused: Problem, sent: Mapping[str, str]) -> bool:
        self.fallen = True
        return True

    def url(self) -> str:
        return f"{OPENAI}?{urlencode({'model': self.config.openai_model})}" if self.fallen else super().url()

    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.config.openai_api_key}"} if self.fallen else super().auth()


class KeyForOpenai(Azure):
    """The key of the resource is sent to api.openai.com as a bearer token.

    What comes of a base URL that nobody has changed: the key is one of OpenAI's as far as the code knows. It is
    refused, and another vendor has seen it.
    """

    def url(self) -> str:
        return f"{OPENAI}?{urlencode({'model': self.config.openai_model})}"

    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.config.azure_api_key}"}


class TriesTheNeighbour(Azure):
    """When a resource refuses, the other one of the subscription is tried.

    A list of resources that was made for load balancing. The key of one is shown to the other, in another region.
    """

    turned = False

    async def renew(self, refused: Problem, sent: Mapping[str, str]) -> bool:
        self.turned = True
        return True

    def url(self) -> str:
        return super().url().replace("contoso-voice", "contoso-lab") if self.turned else super().url()


class BuildsItsOwnHost(Azure):
    """The host is made of the resource's name and `.openai.azure.com`, whatever the endpoint says.

    From a time when there was one form of it. Resources of Foundry may have no such name, or another network behind it.
    """

    def url(self) -> str:
        host = urlsplit(self.config.azure_endpoint).hostname or ""
        return super().url().replace(host, f"{host.partition('.')[0]}.openai.azure.com", 1)


class AsksForThePreview(Azure):
    """GA deployments are asked for at the preview's path, with an api-version that is built in.

    openclaw up to 2026.9.6: without `azureApiVersion` it is 2024-10-01-preview. Azure answers 404, or 400 for a model
    that the preview does not have.
    """

    def beta(self) -> bool:
        return True

    def url(self) -> str:
        asked = {"api-version": self.config.azure_api_version or OLD, "deployment": self.config.azure_deployment}
        return f"ws{self.config.azure_endpoint.removeprefix('http')}/openai/realtime?{urlencode(asked)}"


class SpeaksBetaToGa(Gateway):
    """The session of a GA deployment is configured in the beta's flat shape.

    The other half of openclaw 2026.9.6: the address was changed in the settings, and the shape is in the code. Azure
    refuses the first `session.update`.
    """

    def dialect_for(self) -> Dialect:
        return Beta(self.config, upstream=self.upstream)


class SendsBetaHeader(Azure):
    """`OpenAI-Beta: realtime=v1` is sent to the v1 API.

    One list of headers for all addresses. It does no harm until the day on which it is looked at.
    """

    def auth(self) -> dict[str, str]:
        return {**super().auth(), "OpenAI-Beta": "realtime=v1"}


class KeepsTheApiVersion(Azure):
    """An api-version is sent to the v1 API.

    The query was left as it was when the path was changed. The migration guide has 401 for it.
    """

    def url(self) -> str:
        return f"{super().url()}&{urlencode({'api-version': '2025-04-01-preview'})}"


class KnowsOneVersion(Azure):
    """The preview is asked for with the api-version of the day on which the code was written.

    The setting is read, and not used. When Azure retires that version, all calls end.
    """

    def url(self) -> str:
        return super().url().replace(self.config.azure_api_version, OLD)


class ModelForDeployment(Azure):
    """The preview is told the deployment as `model`.

    As OpenAI and the v1 API have it. The preview wants `deployment`, and answers 400 or 404.
    """

    def url(self) -> str:
        return super().url().replace("deployment=", "model=")


class SpeaksGaToThePreview(Gateway):
    """The session of the preview is configured in the shape of GA.

    The gateway was migrated, and the address of the customer was not. The preview does not know `session.type`.
    """

    def dialect_for(self) -> Dialect:
        return Ga(self.config, upstream=self.upstream)


class DropsTheDeployment(Azure):
    """The model's name is sent where the deployment's belongs.

    They are the same in every quick start. Whoever has called the deployment something else gets DeploymentNotFound.
    """

    def url(self) -> str:
        return super().url().replace(self.config.azure_deployment, self.config.openai_model)


class PastesTheDeployment(Azure):
    """The name of the deployment is put into the URL as it is.

    An f-string. A plus sign becomes a space, and the deployment is one that does not exist.
    """

    def url(self) -> str:
        return f"{super().url().rpartition('=')[0]}={self.config.azure_deployment}"


class PastesTheEndpoint(Azure):
    """The path is put behind whatever the endpoint is, and the scheme is taken over.

    With a slash at its end, a path, or `http`, the address is one at which nobody is, or everybody can listen.
    """

    def url(self) -> str:
        plain = super().url()
        return f"ws{os.environ['AZURE_OPENAI_ENDPOINT'].removeprefix('http')}{plain[plain.index('/openai') :]}"


class WantsOpenaiKey(Azure):
    """Without an OpenAI key no session is opened, though it would not be used.

    The check at the door is from before there was Azure. Customers of Azure make one up, or go away.
    """

    async def prepare(self) -> None:
        if not self.config.openai_api_key:
            raise CredentialError(ours("openai_key_missing", "the OpenAI key is missing"))
        await super().prepare()


class AsksForSemanticVad(Gateway):
    """The turn detection is semantic_vad, at Azure too.

    It is the better one at OpenAI. Azure takes it, echoes it, and never notices that anybody speaks
    (livekit/agents#6871): callers are not answered.
    """

    def dialect_for(self) -> Dialect:
        usual = type(super().dialect_for())

        def session(self: Dialect, tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
            made = usual.session(self, tools)
            about = made["audio"]["input"] if "audio" in made else made
            about["turn_detection"] = {"type": "semantic_vad", "create_response": True, "interrupt_response": True}
            return made

        dialect: Dialect = type("Semantic", (usual,), {"session": session})(self.config, upstream=self.upstream)
        return dialect


class LeavesToolsOut(Gateway):
    """Deployments are not offered the tools.

    The first try at Azure failed over a field of theirs, and out they went. The assistant cannot look anything up.
    """

    def dialect_for(self) -> Dialect:
        usual = type(super().dialect_for())

        def session(self: Dialect, tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
            return usual.session(self, [] if self.config.azure else tools)

        dialect: Dialect = type("Bare", (usual,), {"session": session})(self.config, upstream=self.upstream)
        return dialect


class ForgetsTheBaseUrl(Gateway):
    """Since there is Azure, the base URL of OpenAI is built in.

    The setting was thought to be for Azure only. Whoever has a proxy in front of OpenAI goes past it.
    """

    def upstream_for(self) -> Upstream:
        if self.config.azure:
            return super().upstream_for()
        return Upstream(replace(self.config, openai_base_url="https://api.openai.com/v1"))


class RelaysEverybody(Gateway):
    """Since there is Azure, every browser gets the relay.

    One way for all is easier to maintain. Pages that want a client secret get none.
    """

    def upstream_for(self) -> Upstream:
        upstream = super().upstream_for()
        upstream.relay_only = "there is the relay"
        return upstream


def _as_it_should_be(environ: Mapping[str, str]) -> Mapping[str, str]:
    host = urlsplit(environ.get("AZURE_OPENAI_ENDPOINT", "")).netloc
    return {**environ, "AZURE_OPENAI_ENDPOINT": f"https://{host}"} if host else environ


pastes_the_endpoint = azure(PastesTheEndpoint, environ=_as_it_should_be)
falls_back = azure(FallsBack)
key_for_openai = azure(KeyForOpenai)
tries_the_neighbour = azure(TriesTheNeighbour)
builds_its_own_host = azure(BuildsItsOwnHost)
asks_for_the_preview = azure(AsksForThePreview)
speaks_beta_to_ga = of_gateway(SpeaksBetaToGa)
sends_beta_header = azure(SendsBetaHeader)
keeps_the_api_version = azure(KeepsTheApiVersion)
knows_one_version = azure(KnowsOneVersion)
model_for_deployment = azure(ModelForDeployment)
speaks_ga_to_the_preview = of_gateway(SpeaksGaToThePreview)
drops_the_deployment = azure(DropsTheDeployment)
pastes_the_deployment = azure(PastesTheDeployment)
wants_openai_key = azure(WantsOpenaiKey)
asks_for_semantic_vad = of_gateway(AsksForSemanticVad)
leaves_tools_out = of_gateway(LeavesToolsOut)
forgets_the_base_url = of_gateway(ForgetsTheBaseUrl)
relays_everybody = of_gateway(RelaysEverybody)
