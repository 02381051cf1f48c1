"""Faults in who may talk, and in what browsers are given."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from broken import entry, talk
from reference_impl.log import Log
from reference_impl.minting import ClientSecret, Minter
from reference_impl.talk import Talk


class KeyInThePage(Talk):
    """The configuration is written into the page, standard key included.

    What comes of a template that is given all settings. Everybody who can open the page has the account.
    """

    def file(self, name: str, content_type: str) -> web.Response:
        response = super().file(name, content_type)
        if content_type == "text/html":
            response.text = f"{response.text}<!-- {self.config.openai_api_key} -->"
        return response


class OperatorTokenInTheAnswer(Talk):
    """The page is given the operator's token, so that it can show the calls.

    One page for two roles. Everybody who may talk may place calls at the operator's expense.
    """

    def webrtc_answer(self, minter: Minter, secret: ClientSecret) -> dict[str, Any]:
        return {**super().webrtc_answer(minter, secret), "calls_token": self.config.token}


class _Plain(Log):
    def redact(self, text: str) -> str:
        return text


class LogsTheSecret(Talk):
    """The answer to every session call is logged.

    Debugging help that stayed. Whoever reads the log within a minute can talk.
    """

    def webrtc_answer(self, minter: Minter, secret: ClientSecret) -> dict[str, Any]:
        answer = super().webrtc_answer(minter, secret)
        self.log.event("talk.answered", answer=str(answer))
        return answer


class SecretInTheUrl(Talk):
    """The secret is part of the address for the offer.

    One field less for the page to keep. It is in the access log of every proxy on the way.
    """

    def webrtc_answer(self, minter: Minter, secret: ClientSecret) -> dict[str, Any]:
        return {**super().webrtc_answer(minter, secret), "calls_url": f"{minter.calls_url()}?key={secret.value}"}


class MayBeKept(Talk):
    """Nothing says that the answer with the secret is not to be stored.

    The default of every framework. A cache in between hands the secret to the next person.
    """

    def json(self, body: Any, status: int = 200) -> web.Response:
        return web.json_response(body, status=status)


class AsksForNoToken(Talk):
    """The token is not looked at.

    It was to come with the login, which came later. Strangers talk for free, and run the tools.
    """

    def authorised(self, request: web.Request) -> bool:
        return True


class TakesAnyOrigin(Talk):
    """The page of anybody may ask.

    A check that was in the way during development. Whatever page a person visits can use what their browser keeps.
    """

    def allowed_origin(self, request: web.Request) -> bool:
        return True


class InvitesEverybody(Talk):
    """Answers say `Access-Control-Allow-Origin: *`.

    The first answer of every forum. Pages of others may read the secrets that this one is given.
    """

    def json(self, body: Any, status: int = 200) -> web.Response:
        response = super().json(body, status)
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response


class HasNoPolicy(Talk):
    """The page has no Content-Security-Policy.

    It works without. One injected script has the token and the microphone, and any site can frame the page.
    """

    def page_headers(self) -> dict[str, str]:
        return {name: text for name, text in super().page_headers().items() if name != "Content-Security-Policy"}


class _Policy(Talk):
    def page_headers(self) -> dict[str, str]:
        headers = super().page_headers()
        return {**headers, "Content-Security-Policy": self.changed(headers["Content-Security-Policy"])}

    def changed(self, policy: str) -> str:
        raise NotImplementedError


class MayBeFramed(_Policy):
    """The page may be shown inside any other.

    A policy that was copied from a page without a microphone. A click on something else starts a conversation.
    """

    def changed(self, policy: str) -> str:
        return policy.partition("; frame-ancestors")[0]


class RunsInlineScripts(_Policy):
    """The policy allows inline scripts.

    For the one handler in the markup. Any injected markup runs from then on.
    """

    def changed(self, policy: str) -> str:
        return policy.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'")


class ForbidsTheOffer(_Policy):
    """The policy lets the page connect to the gateway only.

    Right for the relay, which was built first. Over WebRTC the browser blocks the offer, and tells nobody why.
    """

    def changed(self, policy: str) -> str:
        head, _, rest = policy.partition("connect-src 'self'")
        return f"{head}connect-src 'self';{rest.partition(';')[2]}"


class ScriptsAsText(Talk):
    """Scripts are served as text/plain.

    Seen where files are read and written out by hand. With nosniff no browser runs them, and the button does nothing.
    """

    def file(self, name: str, content_type: str) -> web.Response:
        return super().file(name, "text/plain" if "javascript" in content_type else content_type)


class ToolsForAnybody(Talk):
    """Tool calls need no token.

    Only the page knows the address, it was thought. It is in the page.
    """

    def admit(self, request: web.Request) -> None:
        self.check_origin(request)
        if request.path != "/talk/tool":
            super().admit(request)


class LetsPrefixesIn(Talk):
    """A part of the token is enough.

    A comparison the wrong way round: the token begins with what was given. Four characters are soon guessed.
    """

    def authorised(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return bool(given) and self.config.talk_token.startswith(given)


key_in_the_page = talk(KeyInThePage)
operator_token_in_the_answer = talk(OperatorTokenInTheAnswer)
logs_the_secret = entry(LogsTheSecret, talk=LogsTheSecret, log=_Plain)
secret_in_the_url = talk(SecretInTheUrl)
may_be_kept = talk(MayBeKept)
asks_for_no_token = talk(AsksForNoToken)
takes_any_origin = talk(TakesAnyOrigin)
invites_everybody = talk(InvitesEverybody)
has_no_policy = talk(HasNoPolicy)
may_be_framed = talk(MayBeFramed)
runs_inline_scripts = talk(RunsInlineScripts)
forbids_the_offer = talk(ForbidsTheOffer)
scripts_as_text = talk(ScriptsAsText)
tools_for_anybody = talk(ToolsForAnybody)
lets_prefixes_in = talk(LetsPrefixesIn)
