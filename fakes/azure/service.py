"""Azure OpenAI on one day: several resources, each with its keys, its deployments and its network rules.

Everything but the door is `OpenAIService`: sessions, calls, client secrets, plans. A resource is found by the host name
of a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from fakes.azure.access import AzureAccess
from fakes.azure.errors import VendorError
from fakes.azure.handshake import AzureHandshake
from fakes.azure.http import AzureEndpoints
from fakes.azure.resources import Resource, ResourceError, Resources, data
from fakes.azure.routes import is_web_socket
from fakes.azure.tokens import TokenVerifier
from fakes.knobs import Knobs
from fakes.openai.brain import Brain
from fakes.openai.calls import Answerer, Call
from fakes.openai.catalogue import Catalogue
from fakes.openai.dialects import TurnDetection
from fakes.openai.handshake import Decision, HandshakeRequest, RefuseHttp
from fakes.openai.http import Came, HttpAnswer, HttpRequest, Offered
from fakes.openai.secrets import PREFIX
from fakes.openai.service import KNOBS as OPENAI_KNOBS
from fakes.openai.service import OpenAIService, Opening
from fakes.openai.webhooks import WebhookEndpoint
from fakes.ports import Ports

KNOBS = Path(__file__).with_name("knobs.toml")


@dataclass(frozen=True, slots=True)
class Site:
    """One resource and its doors."""

    resource: Resource
    handshake: AzureHandshake
    endpoints: AzureEndpoints


class AzureService(OpenAIService):
    """The service behind the host names of `resources`, on the day `as_of`.

    `tokens`: judges access tokens; without it all of them are refused. `knobs`: by default those of both `knobs.toml`,
    this one and OpenAI's. A request that comes to an address instead of a name is the first resource's. The other
    arguments are those of `OpenAIService`.
    """

    party = "azure"

    def __init__(
        self,
        ports: Ports,
        *,
        as_of: date,
        resources: Sequence[Resource],
        tokens: TokenVerifier | None = None,
        knobs: Knobs | None = None,
        brain: Brain | None = None,
        client_party: str = "gateway",
        browser_party: str | None = "browser",
        answerer: Answerer | None = None,
        webhook: WebhookEndpoint | None = None,
    ) -> None:
        super().__init__(
            ports,
            as_of=as_of,
            keys={},
            knobs=knobs if knobs is not None else Knobs.load(OPENAI_KNOBS, KNOBS),
            brain=brain,
            client_party=client_party,
            browser_party=browser_party,
            answerer=answerer,
            webhook=webhook,
        )
        self.resources = Resources(resources)
        self._requests_answered = 0
        self._sites: dict[str, Site] = {}
        for resource in resources:
            access = AzureAccess(resource, tokens, self.knobs, as_of, self.secrets, ports.clock)
            handshake = AzureHandshake(resource, access, self.knobs, as_of, self.calls)
            self._sites[resource.name] = Site(resource, handshake, AzureEndpoints(self, resource, access))

    # -- which resource

    def _site(self, headers: Mapping[str, str]) -> Site:
        """Whom a request is for. Raises `VendorError` when its host is no resource's."""
        host = headers.get("host", "")
        region = self.resources.region(host)
        if region is not None:
            return self._regional(region, headers)
        try:
            return self._sites[self.resources.find(host).name]
        except ResourceError:
            wrong_key = self.knobs["azure.unknown_resource"] == "401"
            raise VendorError("azure_access_denied" if wrong_key else "azure_resource_not_found") from None

    def _regional(self, region: str, headers: Mapping[str, str]) -> Site:
        """The preview's WebRTC: the client secret says whose the request is."""
        bearer = headers.get("authorization", "").partition(" ")[2].strip()
        secret = self.secrets.find(bearer) if bearer.startswith(PREFIX) else None
        if secret is not None:
            site = self._sites[secret.place.organization]
            if site.resource.region == region or not self.knobs["azure.region_of_secret"]:
                return site
        elif not bearer:
            # What a browser asks before it sends anything: any resource answers that.
            return next(site for site in self._sites.values() if site.resource.region == region)
        raise VendorError("azure_token_refused")

    def headers_of(self, resource: Resource | None) -> dict[str, str]:
        """What an answer of a resource carries: its id, its region, and what all of them have."""
        self._requests_answered += 1
        token = self.ports.choices.token(f"azure/request{self._requests_answered}/id", 32)
        parts = (token[:8], token[8:12], f"4{token[13:16]}", f"8{token[17:20]}", token[20:])
        headers = {"apim-request-id": "-".join(parts), **data()["headers"]}
        if resource is not None:
            headers["x-ms-region"] = data()["regions"].get(resource.region, resource.region)
        return headers

    # -- see OpenAIService

    def decide(self, request: HandshakeRequest) -> Decision:
        """See `OpenAIService.decide`."""
        try:
            return self._site(request.headers).handshake.decide(request)
        except VendorError as error:
            return RefuseHttp(error, error.text.status, {})

    def answer_headers(self, request: HandshakeRequest) -> Mapping[str, str]:
        """See `OpenAIService.answer_headers`."""
        try:
            return self.headers_of(self._site(request.headers).resource)
        except VendorError:
            return self.headers_of(None)

    def is_web_socket(self, path: str) -> bool:
        """See `OpenAIService.is_web_socket`; an upgrade anywhere else is refused as one, too."""
        return is_web_socket(path) or "/realtime" in path

    def catalogue_of(self, opened: Opening | Call) -> Catalogue:
        """See `OpenAIService.catalogue_of`."""
        if isinstance(opened, Call):
            return self._sites[opened.place.organization].resource.catalogue()
        return self._site({"host": opened.host}).resource.catalogue()

    def minutes(self, dialect: str) -> int:
        """See `OpenAIService.minutes`."""
        return int(self.knobs["azure.session_minutes"])

    def detection(self, wanted: TurnDetection | None) -> TurnDetection | None:
        """See `OpenAIService.detection`: what is asked for is echoed, but not all of it is done."""
        if wanted is None:
            return None
        if wanted.type == "semantic_vad" and self.knobs["azure.semantic_vad"] == "silent":
            return None
        if wanted.type == "server_vad" and self.knobs["azure.silence_duration"] == "ignored":
            return replace(wanted, silence_duration_ms=TurnDetection(wanted.type).silence_duration_ms)
        return wanted

    def http(self, request: HttpRequest, came: Came = lambda invalid: None) -> HttpAnswer | Offered:
        """See `OpenAIService.http`."""
        try:
            site = self._site(request.headers)
        except VendorError as error:
            came(None)
            return HttpAnswer(error.text.status, error.body(), self.headers_of(None))
        return site.endpoints.handle(request, came)

    def too_large(self, request: HttpRequest, came: Came = lambda invalid: None) -> HttpAnswer:
        """See `OpenAIService.too_large`."""
        try:
            return self._site(request.headers).endpoints.too_large(request, came)
        except VendorError as error:
            came(None)
            return HttpAnswer(error.text.status, error.body(), self.headers_of(None))

    async def answer(self, offered: Offered) -> HttpAnswer:
        """See `OpenAIService.answer`."""
        return await self._sites[offered.call.place.organization].endpoints.answer(offered)
