"""The REST API: create, fetch, list and update calls, with authentication, error bodies and their order of checks.

Source: Twilio docs, "Call resource", "Update a Call"; the published OpenAPI; errors 20003 to 21626.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from fakes.twilio.boundary import RestAnswer, RestRequest, Subscription
from fakes.twilio.call import Call, CallStatus
from fakes.twilio.callbacks import EVENTS
from fakes.twilio.debugger import TEXTS

if TYPE_CHECKING:
    from fakes.twilio.core import Twilio

CALL_PATH = re.compile(r"/Calls/(CA[0-9a-fA-F]{32})\.json")
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
TWIML_LIMIT = 4000
RING_DEFAULT, RING_MOST = 60, 600
TIME_LIMIT_DEFAULT = 14400
MAGIC_TO = {
    "+15005550001": "to_invalid",
    "+15005550002": "to_unroutable",
    "+15005550003": "to_no_permission",
    "+15005550004": "to_blocked",
}
"""Numbers that fail by agreement (Twilio docs: test credentials)."""
MAGIC_FROM = "+15005550006"
NOT_DONE = ("Record", "MachineDetection", "SendDigits", "ApplicationSid")
SUBRESOURCES = (
    "events",
    "notifications",
    "payments",
    "recordings",
    "siprec",
    "streams",
    "transcriptions",
    "user_defined_message_subscriptions",
    "user_defined_messages",
)


class RestError(Exception):
    """An error answer. `key`: which one of errors.toml; `values` fill its text."""

    def __init__(self, key: str, *, code: int | None = None, **values: str) -> None:
        text = TEXTS["rest"][key]
        self.status = int(text["status"])
        self.code = int(text["code"]) if code is None else code
        self.message = str(text["message"]).format(**values)
        self.schema = bool(text.get("schema"))
        super().__init__(f"{self.code}: {self.message}")


class Form:
    """A form body; keys may repeat."""

    def __init__(self, body: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(body, keep_blank_values=True):
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return bool(self.get(name))

    def get(self, name: str, default: str = "") -> str:
        """The last value of a key."""
        return self._values.get(name, [default])[-1]

    def all(self, name: str) -> list[str]:
        """Every value of a key."""
        return self._values.get(name, [])


class Rest:
    """Answers requests. Every one is recorded when it comes; its answer when it leaves."""

    def __init__(self, core: Twilio) -> None:
        self._core = core
        self._count = 0
        self._base = f"/2010-04-01/Accounts/{core.account_sid}"

    def handle(self, request: RestRequest) -> RestAnswer:
        """Answer one request."""
        self._count += 1
        number = self._count
        point = ""
        fault: RestError | None = None
        try:
            status, answer, point = self._route(request)
        except RestError as error:
            fault, told = error, _error_body(error)
            status, answer = error.status, lambda: told
        self._core.ports.recorder.record(
            self._core.gateway_party,
            "twilio",
            "twilio.rest",
            "request",
            request.body or None,
            connection=f"rest#{number}",
            invalid=f"{fault.code}: {fault.message}" if fault is not None and fault.schema else None,
            meta={
                "method": request.method,
                "url": f"https://{request.headers.get('host', 'api.twilio.com')}{request.path}"
                + (f"?{request.query}" if request.query else ""),
                "headers": [list(pair) for pair in request.headers.items()],
                "params": parse_qsl(request.body, keep_blank_values=True),
            },
        )
        body = answer()
        delay = self._core.timing.delay(point, "rest_delay") if point else 0.005
        return RestAnswer(status, self._headers(number, delay, fault, body), body, delay, number)

    def _headers(self, number: int, delay: float, fault: RestError | None, body: str) -> tuple[tuple[str, str], ...]:
        headers = [
            ("Twilio-Concurrent-Requests", "1"),
            ("Twilio-Request-Id", "RQ" + self._core.ports.choices.token(f"twilio/rest#{number}/request_id", 32)),
            ("Twilio-Request-Duration", f"{delay:.3f}"),
            ("X-Home-Region", "us1"),
            ("X-API-Domain", "api.twilio.com"),
            ("Strict-Transport-Security", "max-age=31536000"),
        ]
        if body:
            headers.insert(0, ("Content-Type", "application/json"))
        if fault is not None:
            headers.append(("X-Twilio-Error-Code", str(fault.code)))
            if fault.status == 401:
                headers.append(("WWW-Authenticate", 'Basic realm="Twilio API"'))
        return tuple(headers)

    def _route(self, request: RestRequest) -> tuple[int, Callable[[], str], str]:
        """Status, what does the request and gives the body, and the choice point of the answer's delay (empty: fixed).

        What a request brings about is on record after the request, so it waits for the second part. A new call is an
        exception: nothing of it is to be seen before its next step.
        """
        self._authenticate(request)
        path, core = request.path, self._core
        if path == f"{self._base}/Calls.json":
            if request.method == "POST":
                call = self._create(Form(request.body))
                dated = core.knobs["twilio.create_dates"] == "set"
                return 201, lambda: self.resource(call, dated=dated, queued=True), f"{call.point}/create/delay"
            if request.method == "GET":
                listed = self._list(request.query)
                return 200, lambda: listed, ""
            raise RestError("method_not_allowed")
        match = CALL_PATH.fullmatch(path.removeprefix(self._base)) if path.startswith(self._base) else None
        call_found = next((call for call in core.calls if match and call.sid == match[1]), None)
        if call_found is None:
            raise RestError("not_found", path=path)
        if request.method == "GET":
            return 200, lambda: self.resource(call_found), ""
        if request.method != "POST":
            raise RestError("method_not_allowed")
        call_found.updates += 1
        label = f"update#{call_found.updates}"
        act = self._update(call_found, Form(request.body), path, label)

        def updated() -> str:
            act()
            return self.resource(call_found)

        return 200, updated, f"{call_found.point}/{label}/answer/delay"

    def _authenticate(self, request: RestRequest) -> None:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic" or not credentials:
            raise RestError("no_credentials")
        try:
            user, _, password = b64decode(credentials, validate=True).decode().partition(":")
        except (Base64Error, UnicodeDecodeError):
            raise RestError("bad_credentials") from None
        core = self._core
        if (user, password) != (core.account_sid, core.auth_token) and core.api_keys.get(user) != password:
            raise RestError("bad_credentials")

    # ------------------------------------------------------------------ create

    def _create(self, form: Form) -> Call:
        core = self._core
        to, from_ = form.get("To"), form.get("From")
        url, text = form.get("Url"), form.get("Twiml")
        if not to:
            raise RestError("to_missing")
        if "Url" not in form and "Twiml" not in form and "ApplicationSid" not in form:
            raise RestError("url_missing")
        if url and not self._usable(url):
            raise RestError("url_invalid", url=url)
        if not from_:
            raise RestError("from_missing")
        if not E164.fullmatch(from_):
            raise RestError("from_invalid", number=from_)
        if from_ not in core.numbers and from_ != MAGIC_FROM:
            raise RestError("from_not_owned", number=from_)
        if to in MAGIC_TO or not E164.fullmatch(to):
            key = MAGIC_TO.get(to, "to_invalid")
            code = int(core.knobs["twilio.to_invalid_code"]) if key == "to_invalid" else None
            raise RestError(key, code=21217 if to == "+15005550001" else code, number=to)
        if len(text) > TWIML_LIMIT:
            raise RestError("bad_request", detail=f"Twiml has {len(text)} characters, at most {TWIML_LIMIT} fit")
        ring_for = _whole(form, "Timeout", RING_DEFAULT, RING_MOST)
        subscription = self._subscription(form)
        if not url and core.knobs["twilio.status_callback_with_twiml"] == "ignored":
            subscription.url = ""
        call = core.create_call(
            to=to,
            from_=from_,
            url=url,
            method=form.get("Method", "POST"),
            twiml=text,
            ring_for=ring_for,
            time_limit=_whole(form, "TimeLimit", TIME_LIMIT_DEFAULT, 86400),
            subscription=subscription,
            fallback=(form.get("FallbackUrl"), form.get("FallbackMethod", "POST")),
        )
        self._subscription_warnings(form, call)
        for name in NOT_DONE:
            if form.get(name, "false").lower() != "false":
                core.not_done(f"{name} of a call is passed over by this fake", call)
        return call

    def _subscription(self, form: Form) -> Subscription:
        url = form.get("StatusCallback")
        if url and not self._usable(url, underscore=False):
            raise RestError("status_callback_invalid", url=url)
        events = form.all("StatusCallbackEvent")
        unknown = [event for event in events if event not in EVENTS]
        if unknown and self._core.knobs["twilio.bad_status_callback_event"] == "400":
            raise RestError("status_callback_event_invalid", event=unknown[0])
        known = tuple(event for event in EVENTS if event in events)
        return Subscription(url, form.get("StatusCallbackMethod", "POST"), known or ("completed",))

    def _subscription_warnings(self, form: Form, call: Call) -> None:
        for event in form.all("StatusCallbackEvent"):
            if event not in EVENTS:
                self._core.debug(21626, f"{event!r}; repeat the parameter for several events", call)

    def _usable(self, url: str, *, underscore: bool = True) -> bool:
        """Whether Twilio takes a URL: http(s), with a public host name."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            _ = parts.port
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not host or (not underscore and "_" in host):
            return False
        local = "." not in host or host.startswith("127.")
        return not local or self._core.knobs["twilio.local_urls"] == "allowed"

    # ------------------------------------------------------------------ update

    def _update(self, call: Call, form: Form, path: str, label: str) -> Callable[[], None]:
        """Check an update; returns what carries it out. Raises `RestError`."""
        core = self._core
        url, text, status = form.get("Url"), form.get("Twiml"), form.get("Status")
        if url and text:
            raise RestError("bad_request", detail="Url and Twiml cannot both be given.")
        if status and status not in ("canceled", "completed"):
            raise RestError("bad_request", detail=f"Status {status!r} is not one of canceled, completed.")
        if "StatusCallback" in form and not url:
            raise RestError("bad_request", detail="Changing StatusCallback requires Url.")
        if call.status.over:
            knob = core.knobs["twilio.ended_call_redirect" if url or text else "twilio.ended_call_completed"]
            if knob == "404":
                raise RestError("not_found", path=path)
            if knob == "400":
                raise RestError("not_in_progress")
            return _nothing
        if (url or text) and call.status is not CallStatus.IN_PROGRESS:
            raise RestError("not_in_progress")
        if url and not self._usable(url):
            raise RestError("url_invalid", url=url)
        if len(text) > TWIML_LIMIT:
            raise RestError("bad_request", detail=f"Twiml has {len(text)} characters, at most {TWIML_LIMIT} fit")
        subscription = self._subscription(form) if "StatusCallback" in form else None
        time_limit = _whole(form, "TimeLimit", TIME_LIMIT_DEFAULT, 86400) if "TimeLimit" in form else None

        def act() -> None:
            if subscription is not None:
                call.subscription = Subscription(subscription.url, subscription.method, call.subscription.events)
            if "FallbackUrl" in form:
                call.fallback = (form.get("FallbackUrl"), form.get("FallbackMethod", "POST"))
            if time_limit is not None:
                call.after(time_limit, call.hang_up)
            if url or text:
                method = form.get("Method", "POST")
                call.later("update_delay", f"{label}/delay", lambda: _redirect(call, url, method, text))
            elif status == "completed":
                self._complete(call)
            elif status == "canceled" and call.status is not CallStatus.IN_PROGRESS and not call.inbound:
                call.end(CallStatus.CANCELED)

        return act

    def _complete(self, call: Call) -> None:
        if call.status is CallStatus.IN_PROGRESS or call.inbound:
            call.hang_up()
        else:
            call.end(CallStatus(str(self._core.knobs["twilio.completed_before_answer"])))

    # ------------------------------------------------------------------ resources

    def _list(self, query: str) -> str:
        form = Form(query)
        calls = [
            call
            for call in reversed(self._core.calls)
            if form.get("Status") in ("", _rest_status(call.status))
            and form.get("To") in ("", call.to)
            and form.get("From") in ("", call.from_)
        ]
        size = _whole(form, "PageSize", 50, 1000)
        page = int(form.get("Page")) if form.get("Page").isdigit() else 0
        shown = calls[page * size : (page + 1) * size]
        filters = {name: form.get(name) for name in ("Status", "To", "From") if form.get(name)}

        def uri(number: int) -> str:
            return f"{self._base}/Calls.json?" + urlencode({**filters, "PageSize": size, "Page": number})

        return _compact(
            {
                "calls": [self._fields(call, dated=True) for call in shown],
                "first_page_uri": uri(0),
                "end": page * size + max(len(shown) - 1, 0),
                "previous_page_uri": uri(page - 1) if page else None,
                "uri": uri(page),
                "page_size": size,
                "start": page * size,
                "next_page_uri": uri(page + 1) if (page + 1) * size < len(calls) else None,
                "page": page,
            }
        )

    def resource(self, call: Call, *, dated: bool = True, queued: bool = False) -> str:
        """A call as JSON. `queued`: as the answer to its creation shows it."""
        return _compact(self._fields(call, dated=dated, queued=queued))

    def _fields(self, call: Call, *, dated: bool, queued: bool = False) -> dict[str, Any]:
        uri = f"{self._base}/Calls/{call.sid}"
        created = self._date(call.created_at)
        over = call.status.over and not queued
        return {
            "sid": call.sid,
            "date_created": created if dated else None,
            "date_updated": self._date(call.history[-1][0]) if dated else None,
            "parent_call_sid": None,
            "account_sid": self._core.account_sid,
            "to": call.to,
            "to_formatted": _formatted(call.to),
            "from": call.from_,
            "from_formatted": _formatted(call.from_),
            "phone_number_sid": None,
            "status": "queued" if queued else _rest_status(call.status),
            "start_time": None if call.answered_at is None else self._date(call.answered_at),
            "end_time": self._date(call.ended_at) if over and call.ended_at is not None else None,
            "duration": str(call.duration) if over else None,
            "price": None,
            "price_unit": "USD",
            "direction": call.direction,
            "answered_by": None,
            "annotation": None,
            "api_version": "2010-04-01",
            "forwarded_from": None,
            "group_sid": None,
            "caller_name": None,
            "queue_time": "0",
            "trunk_sid": "",
            "uri": f"{uri}.json",
            "subresource_uris": {name: f"{uri}/{_subresource(name)}.json" for name in SUBRESOURCES},
        }

    def _date(self, at: float) -> str:
        clock = self._core.ports.clock
        return format_datetime(datetime.fromtimestamp(int(clock.wall() - clock.now() + at), UTC))


def _nothing() -> None:
    """Twilio takes the update of a call that is over, and does nothing."""


def _redirect(call: Call, url: str, method: str, text: str) -> None:
    """The effect of a live-call update: whatever runs is interrupted, the new document begins."""
    if call.status is not CallStatus.IN_PROGRESS:
        return
    call.interrupt()
    if url:
        call.fetch(url, method)
    else:
        call.run(text)


def _rest_status(status: CallStatus) -> str:
    return "queued" if status is CallStatus.INITIATED else status.value


def _whole(form: Form, name: str, default: int, most: int) -> int:
    text = form.get(name)
    if not text:
        return default
    if not text.isdigit() or not 0 < int(text) <= most:
        raise RestError("bad_request", detail=f"{name} is a whole number from 1 to {most}, not {text!r}")
    return int(text)


def _formatted(number: str) -> str:
    if re.fullmatch(r"\+1[0-9]{10}", number):
        return f"({number[2:5]}) {number[5:8]}-{number[8:]}"
    return number


def _subresource(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _error_body(error: RestError) -> str:
    return _compact(
        {
            "code": error.code,
            "message": error.message,
            "more_info": f"https://www.twilio.com/docs/errors/{error.code}",
            "status": error.status,
        }
    )


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
