"""Requests that Twilio makes to the gateway: parameters, signature, connection overrides, retries, redirects.

Source: Twilio docs, "TwiML for Programmable Voice" (Twilio's request), "Webhooks connection overrides", "Security".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote_plus, urljoin, urlsplit

from fakes.twilio.boundary import Failure, Headers, WebhookAnswer, WebhookFailure, WebhookRequest
from fakes.twilio.signature import signature, signed_url

if TYPE_CHECKING:
    from fakes.twilio.call import Call, Params
    from fakes.twilio.core import Twilio

Result = WebhookAnswer | WebhookFailure | int
Done = Callable[[Result, str], None]
Check = Callable[[WebhookAnswer], str | None]
MAX_REDIRECTS = 10
FORM = "application/x-www-form-urlencoded; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Overrides:
    """Connection settings of one URL, from its fragment. Times in ms."""

    ct: int = 5000
    rt: int = 15000
    tt: int = 15000
    rc: int = 1
    rp: tuple[str, ...] = ("ct",)

    @classmethod
    def of(cls, url: str) -> Overrides:
        """Read `#ct=..&rt=..&tt=..&rc=..&rp=..`; what is out of range or unknown keeps its default."""
        fragment = urlsplit(url).fragment if "#" in url else ""
        if not fragment:
            return _DEFAULTS
        values: dict[str, int] = {}
        policy: tuple[str, ...] = _DEFAULTS.rp
        for key, value in parse_qsl(fragment):
            if key == "rp":
                policy = tuple(part for part in value.split(",") if part in ("4xx", "5xx", "ct", "rt", "all"))
            elif key in _RANGES and value.isdigit() and _RANGES[key][0] <= int(value) <= _RANGES[key][1]:
                values[key] = int(value)
        return cls(**values, rp=policy)

    def retries(self, result: WebhookAnswer | WebhookFailure) -> bool:
        """Whether the retry policy covers this result."""
        if isinstance(result, WebhookAnswer):
            cause = "5xx" if result.status >= 500 else "4xx" if result.status >= 400 else ""
        else:
            cause = "rt" if result.kind is Failure.TIMEOUT else "ct" if result.kind is not Failure.PROTOCOL else ""
        return bool(cause) and (cause in self.rp or "all" in self.rp)


_RANGES = {"ct": (100, 10000), "rt": (100, 15000), "tt": (100, 15000), "rc": (0, 5)}
_DEFAULTS = Overrides()


@dataclass(slots=True)
class _Webhook:
    call: Call
    label: str
    url: str
    method: str
    params: Params
    token: str
    overrides: Overrides
    signed: bool
    done: Done | None
    check: Check | None
    attempt: int = 0
    redirects: int = 0
    spent: float = 0.0
    sent_at: float = 0.0
    request: WebhookRequest | None = None


class Webhooks:
    """All requests that are on their way, by id."""

    def __init__(self, core: Twilio) -> None:
        self._core = core
        self._waiting: dict[int, _Webhook] = {}
        self._repeats: dict[tuple[str, str], float] = {}
        self._count = 0
        self.outstanding = 0
        """How many requests have still to be made, or answered."""

    def send(
        self,
        call: Call,
        label: str,
        url: str,
        method: str,
        params: Params,
        *,
        delay: float,
        done: Done | None = None,
        check: Check | None = None,
        token_of: str = "",
        signed: bool = True,
    ) -> None:
        """Make one request to `url` in `delay` seconds.

        `label`: its name within the call, such as `fetch#1`. `done(result, url)` gets the answer, the failure or a
        debugger code, and the URL that answered. `check` says what is wrong with an answer, for the record.
        `token_of`: the label whose idempotency token it shares. It goes out though the call be over by then.
        """
        token = self._core.ports.choices.token(f"{call.point}/{token_of or label}/token", 32)
        webhook = _Webhook(
            call, label, url, method.upper() or "POST", params, token, Overrides.of(url), signed, done, check
        )
        self.outstanding += 1
        if not _valid(url):
            self._core.after(delay, lambda: self._finish(webhook, 11100))
            return
        self._core.after(delay, lambda: self._launch(webhook))

    def repeat(self, call: Call, label: str, after: float) -> None:
        """When the request `label` of `call` leaves, let the same one leave again `after` seconds later."""
        self._repeats[call.name, label] = after

    def _again(self, webhook: _Webhook) -> None:
        after = self._repeats.pop((webhook.call.name, webhook.label), None)
        if after is not None:
            twin = replace(webhook, label=f"{webhook.label}/again", done=None)
            self.outstanding += 1
            self._core.after(after, lambda: self._launch(twin))

    def _launch(self, webhook: _Webhook) -> None:
        self._again(webhook)
        self._count += 1
        suffix = f"/retry{webhook.attempt}" if webhook.attempt else ""
        if webhook.redirects:
            suffix += f"/redirect{webhook.redirects}"
        url, body, headers = self._prepare(webhook)
        overrides = webhook.overrides
        request = WebhookRequest(
            id=self._count,
            point=f"{webhook.call.point}/{webhook.label}{suffix}",
            connection=f"{webhook.call.name}/{webhook.label}",
            method=webhook.method,
            url=url,
            headers=headers,
            body=body,
            connect_timeout=overrides.ct / 1000,
            read_timeout=overrides.rt / 1000,
            total_timeout=max(0.1, overrides.tt / 1000 - webhook.spent),
        )
        webhook.request = request
        self._waiting[request.id] = webhook
        self._core.io.fetch(request)

    def _prepare(self, webhook: _Webhook) -> tuple[str, str, Headers]:
        """URL as sent, body and headers."""
        core = self._core
        url = webhook.url.partition("#")[0]
        params = webhook.params
        post = webhook.method == "POST"
        if not post and params:
            url += ("&" if "?" in url else "?") + _form(params)
        body = _form(params) if post else ""
        token = webhook.token
        headers = [
            ("User-Agent", "TwilioProxy/1.1"),
            ("Accept", "*/*"),
            ("Connection", str(core.knobs["twilio.webhook_connection"])),
            ("X-Home-Region", "us1"),
            ("I-Twilio-Idempotency-Token", "-".join((token[:8], token[8:12], token[12:16], token[16:20], token[20:]))),
        ]
        if webhook.signed:
            signed = params if post else []
            if core.knobs["twilio.call_token"] == "unsigned":
                signed = [(name, value) for name, value in signed if name not in ("CallToken", "StirVerstat")]
            headers.append(("X-Twilio-Signature", signature(core.auth_token, signed_url(url, core.knobs), signed)))
        if post:
            headers.append(("Content-Type", FORM))
        return url, body, tuple(headers)

    def sent(self, number: int) -> None:
        """The request leaves now."""
        webhook = self._waiting[number]
        request = webhook.request
        assert request is not None
        webhook.sent_at = self._core.ports.clock.now()
        self._core.ports.recorder.record(
            "twilio",
            self._core.gateway_party,
            "twilio.webhook",
            "request",
            request.body or None,
            connection=request.connection,
            meta={
                "method": request.method,
                "url": request.url,
                "headers": [list(pair) for pair in request.headers],
                "params": webhook.params,
                "attempt": webhook.attempt + 1,
            },
        )

    def answered(self, number: int, result: WebhookAnswer | WebhookFailure) -> None:
        """The answer to a request, or its failure: redirect, retry, or pass it on."""
        webhook = self._waiting.pop(number)
        core = self._core
        self._record_result(webhook, result)
        if isinstance(result, WebhookAnswer) and result.status in (301, 302, 303, 307, 308):
            self._redirect(webhook, result)
            return
        webhook.spent += core.ports.clock.now() - webhook.sent_at
        overrides = webhook.overrides
        in_time = webhook.attempt < overrides.rc and webhook.spent < overrides.tt / 1000
        if in_time and overrides.retries(result):
            webhook.attempt += 1
            point = f"{webhook.call.point}/{webhook.label}/retry{webhook.attempt}/delay"
            core.after(core.timing.delay(point, "retry_delay"), lambda: self._launch(webhook))
            return
        self._finish(webhook, result)

    def _redirect(self, webhook: _Webhook, answer: WebhookAnswer) -> None:
        webhook.redirects += 1
        location = urljoin(webhook.url, answer.header("location"))
        if webhook.redirects > MAX_REDIRECTS or not answer.header("location") or not _valid(location):
            self._finish(webhook, 11215 if webhook.redirects > MAX_REDIRECTS else 11100)
            return
        if answer.status not in (307, 308):
            webhook.method = "GET"
        webhook.url = location
        self._launch(webhook)

    def _finish(self, webhook: _Webhook, result: Result) -> None:
        self.outstanding -= 1
        if webhook.done is not None:
            webhook.done(result, webhook.url)

    def _record_result(self, webhook: _Webhook, result: WebhookAnswer | WebhookFailure) -> None:
        core = self._core
        request = webhook.request
        assert request is not None
        if isinstance(result, WebhookFailure):
            core.ports.recorder.record(
                core.gateway_party,
                "twilio",
                "twilio.webhook",
                "failure",
                connection=request.connection,
                meta={"error": result.kind.value, "message": result.message, "url": request.url},
            )
            return
        core.ports.recorder.record(
            core.gateway_party,
            "twilio",
            "twilio.webhook",
            "response",
            result.body,
            connection=request.connection,
            invalid=webhook.check(result) if webhook.check is not None else None,
            meta={"status": result.status, "headers": [list(pair) for pair in result.headers], "url": request.url},
        )


@lru_cache(maxsize=4096)
def _pair(name: str, value: str) -> str:
    return f"{quote_plus(name)}={quote_plus(value)}"


def _form(params: Params) -> str:
    """Parameters as a form; most of a call's are the same in each of its requests."""
    return "&".join([_pair(name, value) for name, value in params])


def _valid(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
