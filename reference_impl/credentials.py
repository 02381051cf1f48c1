"""What proves to Azure who the gateway is: a key of the resource, or a token of Microsoft Entra. Neither leaves it
but in the header of a request to the resource.

Tokens come from the `azure-identity` package, which is asked for only where it is needed; which identity it takes is
decided by its own documented environment variables (DefaultAzureCredential).
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from reference_impl.azure_settings import read_key
from reference_impl.config import Config
from reference_impl.log import Log
from reference_impl.problems import Problem, of_cause

FETCH_TIMEOUT = 8.0  # seconds that a token may take
REFRESH_AHEAD = 600.0  # seconds that a token has left when the next one is fetched; half its life if that is less
RETRY_AFTER = 30.0  # seconds between attempts in the background
SECRET_VARIABLES: Final = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "IDENTITY_HEADER")
_AADSTS = re.compile(r"AADSTS\d+")
_ATTEMPT = re.compile(r"(\w+Credential): ")


class CredentialError(Exception):
    """There is nothing to prove who we are with; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class ApiKey:
    """A key of the resource: from the configuration, or from a file that is read for every session, so that a key that
    is rotated there is good from the next call on."""

    def __init__(self, config: Config, log: Log) -> None:
        self.config = config
        self.log = log
        self._key = config.azure_api_key

    @property
    def name(self) -> str:
        """Where it comes from, for people."""
        return "AZURE_OPENAI_API_KEY_FILE" if self.config.azure_api_key_file else "AZURE_OPENAI_API_KEY"

    def headers(self) -> dict[str, str]:
        """The header of a request."""
        return {"api-key": self._key}

    async def prepare(self) -> None:
        """Have a key. Raises CredentialError."""
        if self.config.azure_api_key_file:
            self._key = self.read()
            self.log.hide(self._key)

    def read(self) -> str:
        """The key in the file. Raises CredentialError."""
        try:
            return read_key(self.config.azure_api_key_file)
        except ValueError as error:
            raise CredentialError(of_cause("azure_key_file_wrong", str(error))) from None

    async def renew(self, sent: Mapping[str, str]) -> bool:
        """Whether there is another key than the one that was refused. Raises CredentialError."""
        await self.prepare()
        return self.headers() != {"api-key": sent.get("api-key", "")}

    async def close(self) -> None:
        """Nothing runs."""


class Entra:
    """A token of Microsoft Entra, fetched once for all who need it, and again well before it expires: by whoever needs
    it next, and in the background while a call is up."""

    name = "Microsoft Entra (azure-identity)"

    def __init__(self, config: Config, log: Log, busy: Callable[[], bool] = bool) -> None:
        """`busy` says whether the next session may come soon."""
        self.config = config
        self.log = log
        self.busy = busy
        self._token = ""
        self._old = ""
        self._expires_at = 0.0  # Unix seconds, as in the token
        self._refresh_at = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._background: asyncio.Task[None] | None = None
        for variable in SECRET_VARIABLES:
            log.hide(os.environ.get(variable, ""))

    def headers(self) -> dict[str, str]:
        """The header of a request."""
        return {"Authorization": f"Bearer {self._token}"}

    async def prepare(self) -> None:
        """Have a token that is good for a while. Raises CredentialError, but not while the last one is good."""
        if time.time() < self._refresh_at:
            return
        try:
            await self.refresh()
        except CredentialError as error:
            if time.time() >= self._expires_at:
                raise
            self.not_refreshed(error)

    async def renew(self, sent: Mapping[str, str]) -> bool:
        """Whether there is another token than the one that was refused. Raises CredentialError."""
        if sent.get("Authorization") == self.headers()["Authorization"]:
            await self.refresh()
        return sent.get("Authorization") != self.headers()["Authorization"]

    async def refresh(self) -> None:
        """Fetch a token, or wait for the one that is being fetched. Raises CredentialError."""
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                token, self._expires_at = await self.fetch()
        except TimeoutError:
            raise CredentialError(of_cause("entra_unreachable", f"no token within {FETCH_TIMEOUT:g} s")) from None
        now = time.time()
        self._refresh_at = self._expires_at - self.ahead(self._expires_at - now)
        self.log.forget(self._old)
        self._old, self._token = self._token, token
        self.log.hide(token)
        self.log.event("azure.token", lifetime_s=round(self._expires_at - now))
        self._again_in(max(self._refresh_at - now, RETRY_AFTER))

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # whoever waits gets it; nobody may be waiting any more

    def ahead(self, lifetime: float) -> float:
        """How long before its expiry a token is replaced."""
        return min(REFRESH_AHEAD, lifetime / 2)

    async def fetch(self) -> tuple[str, float]:
        """A new token and when it expires. Raises CredentialError.

        A credential of its own for each: the cache of the last one has nothing but the token that is to be replaced.
        """
        identity, errors = self.library()
        try:
            async with identity.DefaultAzureCredential() as credential:
                token = await credential.get_token(self.config.azure_scope)
        except errors.ClientAuthenticationError as error:
            raise CredentialError(self.problem_of(error)) from error
        except (errors.AzureError, OSError) as error:
            raise CredentialError(of_cause("entra_unreachable", f"no token: {type(error).__name__}")) from error
        return token.token, float(token.expires_on)

    def library(self) -> tuple[Any, Any]:
        """azure-identity, and the errors it raises. Raises CredentialError."""
        try:
            return importlib.import_module("azure.identity.aio"), importlib.import_module("azure.core.exceptions")
        except ImportError:
            why = "the package azure-identity, which gets tokens from Microsoft Entra, is not installed"
            raise CredentialError(of_cause("azure_identity_missing", why)) from None

    def problem_of(self, error: Exception) -> Problem:
        """What azure-identity says: of Entra's answer, or that there is no identity to begin with."""
        text = " ".join(str(error).split())
        code = _AADSTS.search(text)
        response = getattr(error, "response", None)
        if code is None and response is None:
            tried = ", ".join(dict.fromkeys(_ATTEMPT.findall(text))) or text[:200]
            return of_cause("azure_no_credentials", f"azure-identity found no identity; it tried {tried}")
        return Problem(
            source="entra",
            status=getattr(response, "status_code", None),
            code=code[0] if code else None,
            message=text[code.start() if code else 0 :][:600],
            cause="entra_refused",
        )

    # In the background

    def _again_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._due)

    def _due(self) -> None:
        """The token is to be replaced: now if somebody is on the line, otherwise by whoever comes next."""
        self._timer = None
        if self.busy() and self._fetching is None:
            self._background = asyncio.get_running_loop().create_task(self._refresh_quietly())

    async def _refresh_quietly(self) -> None:
        try:
            await self.refresh()
        except CredentialError as error:
            self.not_refreshed(error)
            self._again_in(RETRY_AFTER)

    def not_refreshed(self, error: CredentialError) -> None:
        """The last token is used on, for as long as it is good."""
        left = round(self._expires_at - time.time())
        about = error.problem
        self.log.warning("azure.token_not_refreshed", code=about.cause or about.code, why=about.message, left_s=left)

    async def close(self) -> None:
        """Stop refreshing."""
        if self._timer is not None:
            self._timer.cancel()
        if tasks := [task for task in (self._fetching, self._background) if task is not None]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


Credential = ApiKey | Entra
