"""The two requests that the gateway makes of Twilio's REST API: create a call, and end one.

Source: Twilio docs, Call resource.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from reference_impl.config import Config

TIMEOUT = ClientTimeout(total=15)
EVENTS = ("initiated", "ringing", "answered", "completed")
# Ending a call that is over already: which of the two comes depends on how long it has been over.
ALREADY_OVER = {(404, 20404), (400, 21220)}


class TwilioError(Exception):
    """Twilio refused a request or could not be reached; `status` and `code` are 0 when there was no answer."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"Twilio answered {status}, error {code}: {message}" if status else message)
        self.status = status
        self.code = code
        self.message = message


class TwilioRest:
    """Calls over REST, for one account."""

    def __init__(self, config: Config, http: ClientSession) -> None:
        self._config = config
        self._http = http
        self._calls = f"{config.twilio_base_url}/2010-04-01/Accounts/{config.twilio_account_sid}/Calls"
        account = f"{config.twilio_account_sid}:{config.twilio_auth_token}"
        self._headers = {"Authorization": f"Basic {b64encode(account.encode()).decode()}"}

    async def create_call(self, to: str) -> str:
        """Place a call; its CallSid. Raises TwilioError."""
        public = self._config.public_url
        created = await self.post(
            f"{self._calls}.json",
            [
                ("To", to),
                ("From", self._config.twilio_number),
                ("Url", f"{public}/twilio/voice"),
                ("Method", "POST"),
                ("StatusCallback", f"{public}/twilio/status"),
                ("StatusCallbackMethod", "POST"),
                *(("StatusCallbackEvent", event) for event in EVENTS),
            ],
        )
        sid = created.get("sid")
        if not isinstance(sid, str):
            raise TwilioError(201, 0, "the answer has no sid")
        return sid

    async def update_call(self, call_sid: str, params: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Change a call that is going on; the Call resource. Raises TwilioError."""
        return await self.post(f"{self._calls}/{call_sid}.json", params)

    async def end_call(self, call_sid: str) -> None:
        """Hang up; a call that is over already is fine. Raises TwilioError."""
        try:
            await self.update_call(call_sid, [("Status", "completed")])
        except TwilioError as error:
            if (error.status, error.code) not in ALREADY_OVER:
                raise

    async def post(self, url: str, params: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """POST a form and return the JSON object of the answer. Raises TwilioError."""
        try:
            async with self._http.post(url, data=list(params), headers=self._headers, timeout=TIMEOUT) as response:
                try:
                    body = await response.json(content_type=None)
                except ValueError:
                    body = None
                status = response.status
        except (ClientError, OSError) as error:
            raise TwilioError(0, 0, f"no answer from Twilio: {type(error).__name__}") from error
        if not isinstance(body, dict):
            raise TwilioError(status, 0, "the answer is not a JSON object")
        if not 200 <= status < 300:
            code = body.get("code")
            raise TwilioError(status, code if isinstance(code, int) else 0, str(body.get("message", "")))
        return body
