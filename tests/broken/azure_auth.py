"""Faults in how a gateway proves to Azure who it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import ClientWebSocketResponse, WSServerHandshakeError

from broken import azure, bridge, entra
from reference_impl.azure import Azure
from reference_impl.bridge import Bridge
from reference_impl.config import Config
from reference_impl.credentials import ApiKey, CredentialError, Entra
from reference_impl.log import Log
from reference_impl.problems import Problem

HOUR = 3600.0


class KeyInQuery(Azure):
    """The key is sent as `?api-key=`.

    Azure takes it, for browsers that cannot send a header. It stands in the log of every proxy on the way.
    """

    def url(self) -> str:
        return f"{super().url()}&api-key={self.config.azure_api_key}"

    def auth(self) -> dict[str, str]:
        return {}


class KeyInSubprotocol(Azure):
    """The key is offered as a subprotocol too, as OpenAI's SDK does it in a browser.

    A wrapper that was made for both. Subprotocols are logged, and echoed by some servers.
    """

    def auth(self) -> dict[str, str]:
        offered = f"realtime, openai-insecure-api-key.{self.config.azure_api_key}"
        return {**super().auth(), "Sec-WebSocket-Protocol": offered}


class PrefersOpenaiKey(Azure):
    """If there is an OpenAI key in the environment, that is what Azure is shown.

    The first of the two that is set. On a machine where somebody tries something else all calls fail, and Azure knows
    the platform's key.
    """

    def auth(self) -> dict[str, str]:
        key = self.config.openai_api_key
        return {"Authorization": f"Bearer {key}"} if key else super().auth()


class ReadsTheFileOnce(ApiKey):
    """The file with the key is read at the first call, and never again.

    A secret that is mounted changes under one's feet, and nobody has thought of it. After a rotation all calls fail.
    """

    async def prepare(self) -> None:
        if not self._key:
            await super().prepare()


class PrintsTheKey(Azure):
    """The headers of the upgrade are printed.

    A line that was left in after the first 401. Whoever reads the log can use the resource.
    """

    def auth(self) -> dict[str, str]:
        headers = super().auth()
        sys.stderr.write(f"connecting with {headers}\n")
        return headers


class AsksForAnotherScope(Entra):
    """The token is asked for in the scope of Azure's management API.

    The scope of the first example that one finds. Azure OpenAI answers 401, and the role is looked at for days.
    """

    def __init__(self, config: Config, log: Log, busy: object = bool) -> None:
        super().__init__(replace(config, azure_scope="https://management.azure.com/.default"), log)


class TokenAsKey(Entra):
    """The token is sent in the header `api-key`.

    Where the key was, now the token is. Azure takes it for a wrong key.
    """

    def headers(self) -> dict[str, str]:
        return {"api-key": super().headers()["Authorization"].removeprefix("Bearer ")}


class FetchesEachTime(Entra):
    """A token is fetched for every session.

    A credential that is made anew for every call, cache and all. Each call waits for Entra, and Entra counts.
    """

    async def prepare(self) -> None:
        await self.refresh()


class NeverRefreshes(Entra):
    """One token is fetched, at the first call, and used for ever.

    `get_token` was called where the key was read. After an hour nobody is served until somebody restarts the gateway.
    """

    def _again_in(self, seconds: float) -> None:
        pass

    async def prepare(self) -> None:
        if not self._token:
            await self.refresh()

    async def renew(self, sent: Mapping[str, str]) -> bool:
        return False


class RefreshesWhenRefused(NeverRefreshes):
    """A token is replaced when Azure has refused it.

    No clock is needed for that. The first caller of every hour waits for a refusal, a token and another upgrade.
    """

    async def renew(self, sent: Mapping[str, str]) -> bool:
        return await Entra.renew(self, sent)


class NeverRenews(Entra):
    """A token that is refused is used until it expires.

    Its expiry is all that is known of it. After a change of keys or roles calls fail for up to an hour.
    """

    async def renew(self, sent: Mapping[str, str]) -> bool:
        return False


class EndsWithTheToken(Bridge):
    """Calls are ended when the token expires with which their session was opened.

    Out of the fear that Azure would do it. A caller who talks for long enough is cut off.
    """

    async def _from_openai(self) -> None:
        self._later(HOUR, self.hang_up, "token expired")
        await super()._from_openai()


class NeverGivesUp(Bridge):
    """After a 401 a new token is fetched and tried, as long as the caller holds the line.

    A missing role looks like an expired token. Azure and Entra get several requests a second.
    """

    async def upgrade(self) -> ClientWebSocketResponse:
        while True:
            try:
                return await super().upgrade()
            except WSServerHandshakeError as error:
                if error.status != 401:
                    raise
                await asyncio.sleep(0.3)


class LooksAfterTheKey(Bridge):
    """Every two seconds of a call it is tried out whether the key is still good; if not, the call is ended.

    A precaution of somebody who has seen sessions die. When a key is regenerated all callers are cut off.
    """

    async def _from_openai(self) -> None:
        await asyncio.gather(super()._from_openai(), self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(2.0)
            try:
                await (await self.connect(self.dialect.headers())).close()
            except WSServerHandshakeError:
                self.hang_up("the key is not good any more")
                return


class RemembersTheRefusal(Azure):
    """After one refusal no session is asked for any more.

    To spare the resource. The fault is mended, and nobody is served until somebody restarts the gateway.
    """

    refused: Problem | None = None

    async def prepare(self) -> None:
        if self.refused is not None:
            raise CredentialError(self.refused)
        await super().prepare()

    def of_refusal(self, error: WSServerHandshakeError) -> Problem:
        self.refused = super().of_refusal(error)
        return self.refused


azure_key_in_query = azure(KeyInQuery)
key_in_subprotocol = azure(KeyInSubprotocol)
prefers_openai_key = azure(PrefersOpenaiKey)
reads_the_file_once = azure(type("OneReading", (Azure,), {"api_key_class": ReadsTheFileOnce}), about=ReadsTheFileOnce)
prints_the_key = azure(PrintsTheKey)
asks_for_another_scope = entra(AsksForAnotherScope)
token_as_key = entra(TokenAsKey)
fetches_each_time = entra(FetchesEachTime)
never_refreshes = entra(NeverRefreshes)
refreshes_when_refused = entra(RefreshesWhenRefused)
never_renews = entra(NeverRenews)
ends_with_the_token = bridge(EndsWithTheToken)
never_gives_up = bridge(NeverGivesUp)
looks_after_the_key = bridge(LooksAfterTheKey)
remembers_the_first_refusal = azure(RemembersTheRefusal)
