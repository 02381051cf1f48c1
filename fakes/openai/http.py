"""The plain HTTP endpoints of the service: models, client secrets, calls, and what browsers ask before they use them.

Sans I/O: a request goes in, an answer comes out; only an SDP offer that has been found good has to wait for whoever
answers offers.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakes.openai import bodies
from fakes.openai.access import Access, Credential
from fakes.openai.calls import OVER, Call, CallState
from fakes.openai.catalogue import Model, catalogue
from fakes.openai.dialects import DIALECTS, Wire
from fakes.openai.errors import VendorError, error_text, listed
from fakes.openai.protocol import check
from fakes.openai.secrets import BETA_SECONDS, Secret, effective, effective_translation

if TYPE_CHECKING:
    from fakes.openai.service import OpenAIService

BETA_HEADER = "realtime=v1"
BODY_LIMIT = 1 << 20
"""The largest body that is read, in bytes; the vendor's own limit is not known."""
SDP = bodies.SDP

# Errors that say that a request breaks the vendor's schema, and not only that it cannot be granted.
_MALFORMED = frozenset(
    {
        "body_too_large",
        "decimal_above_max",
        "decimal_below_min",
        "integer_above_max",
        "integer_below_min",
        "invalid_modalities",
        "invalid_offer",
        "invalid_type",
        "invalid_value",
        "missing_required_parameter",
        "offer_without_audio",
        "string_above_max_length",
        "turn_detection_not_supported",
        "unknown_parameter",
        "unparsable_body",
        "unparsable_multipart",
        "unsupported_content_type",
    }
)
# Minting does not look at the account's credit; using the secret does.
_NOT_AT_MINTING = frozenset({"insufficient_quota"})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One plain HTTP request. The names of `headers` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer to a plain HTTP request: a JSON body, or `text` of a `content_type`.

    `invalid`: why the request breaks the vendor's schema, None when it does not. `effect`: what it changes.
    """

    status: int
    body: dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    content_type: str = bodies.JSON
    invalid: str | None = None
    effect: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """An SDP offer that has been found good and waits for its answer.

    `headers` go with the answer; `began`: when the offer came, in seconds on the clock.
    """

    call: Call
    offer: str
    headers: Mapping[str, str]
    began: float = 0.0
    party: str = "openai"

    @property
    def gate(self) -> str:
        """The point at which the answer may be held."""
        return f"{self.party}/call{self.call.ordinal}/answer"


Came = Callable[[str | None], None]
"""Is told of a request before it has any effect: why it breaks the vendor's schema, or None."""


class HttpEndpoints:
    """The HTTP endpoints of one service, on its day."""

    def __init__(self, service: OpenAIService, access: Access) -> None:
        self._service = service
        self._access = access
        self._calls = service.calls
        self._secrets = service.secrets
        self._requests = 0
        self._era = access.catalogue.era(service.as_of)
        self._web_sockets = [entry["path"] for entry in _data()["web_sockets"] if entry["from"] <= service.as_of]
        self._handlers: Mapping[str, Callable[[HttpRequest, str], HttpAnswer | Offered]] = {
            "beta_call": lambda request, _: self._call(request, "beta"),
            "call": lambda request, _: self._call(request, "ga"),
            "beta_session": lambda request, _: self._beta_secret(request, "realtime"),
            "beta_transcription_session": lambda request, _: self._beta_secret(request, "transcription"),
            "client_secret": lambda request, _: self._client_secret(request),
            "translation_client_secret": lambda request, _: self._translation_secret(request),
            "accept": lambda request, call: self._act(request, call, "accept"),
            "reject": lambda request, call: self._act(request, call, "reject"),
            "refer": lambda request, call: self._act(request, call, "refer"),
            "hangup": self._hang_up,
        }

    def handle(self, request: HttpRequest, came: Came) -> HttpAnswer | Offered:
        """Answer a request. `came` is told why it is invalid (or None) before it has any effect on a call."""
        headers, began = self._headers(request), self._service.ports.clock.now()
        try:
            answer = self._route(request)
        except VendorError as error:
            answer = self._refused(error, error.body(), {})
        came(answer.invalid if isinstance(answer, HttpAnswer) else None)
        if isinstance(answer, HttpAnswer) and answer.effect is not None:
            answer.effect()
        if isinstance(answer, Offered):
            return replace(answer, headers={**headers, **answer.headers}, began=began, party=self._service.party)
        return self._timed(replace(answer, headers={**headers, **answer.headers}), began)

    def too_large(self, request: HttpRequest, came: Came) -> HttpAnswer:
        """The answer to a request whose body is larger than `BODY_LIMIT`; it has not been read."""
        error = VendorError("body_too_large", limit=BODY_LIMIT)
        came(error.message)
        return self._timed(self._refused(error, error.body(), self._headers(request)), self._service.ports.clock.now())

    async def answer(self, offered: Offered) -> HttpAnswer:
        """Let the answerer of the service answer an offer."""
        call, answerer = offered.call, self._service.answerer
        assert answerer is not None
        try:
            sdp = await answerer.answer(call, offered.offer)
        except VendorError as error:
            if call.state not in OVER:
                call.move(CallState.ENDED)
            return self._timed(self._refused(error, _flat(error, call.dialect), offered.headers), offered.began)
        if call.state is CallState.OFFERED:
            call.move(CallState.ACTIVE)
        headers = dict(offered.headers)
        if call.dialect == "ga":
            headers["Location"] = self._location(call)
        return self._timed(HttpAnswer(201, None, headers, sdp, SDP), offered.began)

    def _location(self, call: Call) -> str:
        return f"/v1/realtime/calls/{call.id}"

    def _refused(self, error: VendorError, body: dict[str, Any], headers: Mapping[str, str]) -> HttpAnswer:
        status = error.text.status
        if error.name == "call_id_not_found":
            status = int(self._service.knobs["openai.unknown_call_status"])
        return HttpAnswer(status, body, headers, invalid=error.message if error.name in _MALFORMED else None)

    # -- headers

    def _headers(self, request: HttpRequest) -> dict[str, str]:
        """What every answer carries."""
        if not request.path.startswith("/v1/"):
            return {}
        self._requests += 1
        token = self._service.ports.choices.token(f"{self._service.party}/request{self._requests}/id", 32)
        headers = {"X-Request-Id": f"req_{token}", **_data()["headers"]}
        organization = self._organization(request)
        if organization is not None:
            headers["OpenAI-Organization"] = organization
        if "origin" in request.headers:
            headers |= self._cors()
        return headers

    def _cors(self) -> dict[str, str]:
        """What the answers to browsers carry."""
        headers = dict(_data()["cors"]["answer"])
        if self._service.knobs["openai.cors_expose_location"]:
            headers["Access-Control-Expose-Headers"] += ", Location"
        return headers

    def _organization(self, request: HttpRequest) -> str | None:
        try:
            return self._access.credential(request.headers).place.organization
        except VendorError:
            return None  # the answer will say so

    def _timed(self, answer: HttpAnswer, began: float) -> HttpAnswer:
        if not answer.headers:
            return answer
        milliseconds = round((self._service.ports.clock.now() - began) * 1000)
        return replace(answer, headers={**answer.headers, "OpenAI-Processing-Ms": str(milliseconds)})

    def _preflight(self, request: HttpRequest) -> HttpAnswer:
        """What a browser may send: every header that it asks for (public clients send many of their own)."""
        headers = dict(_data()["cors"]["preflight"])
        wanted = request.headers.get("access-control-request-headers")
        if wanted:
            headers["Access-Control-Allow-Headers"] = wanted
        return HttpAnswer(204, None, headers)

    # -- routing

    def _route(self, request: HttpRequest) -> HttpAnswer | Offered:
        path = request.path
        # The shell sends no body in answer to a HEAD.
        method = "GET" if request.method == "HEAD" else request.method
        model = path.removeprefix("/v1/models/")
        if path == "/v1/models" or (model != path and model):
            if method == "OPTIONS":
                return self._preflight(request)
            if method != "GET":
                raise VendorError("invalid_method", method=request.method, path=path)
            self._standard(request)
            return HttpAnswer(200, self._models(model if model != path else ""))
        if method == "GET" and path in self._web_sockets:
            raise VendorError("upgrade_required")
        for pattern, name, since in _endpoints():
            match = pattern.fullmatch(path)
            if match is None or self._service.as_of < since:
                continue
            if method == "OPTIONS":
                return self._preflight(request)
            if method != "POST":
                raise VendorError("invalid_method", method=method, path=path)
            return self._handlers[name](request, match.groupdict().get("id", ""))
        if path in self._web_sockets:
            raise VendorError("invalid_method", method=method, path=path)
        raise VendorError("unknown_url", method=method, path=path)

    def _models(self, name: str) -> dict[str, Any]:
        models = catalogue().offered(self._service.as_of)
        if not name:
            return {"object": "list", "data": [_listed(model) for model in models]}
        for model in models:
            if model.name == name:
                return _listed(model)
        raise VendorError("http_model_not_found", model=name)

    def _standard(self, request: HttpRequest) -> Credential:
        """The credential of a request that a client secret is not good for."""
        credential = self._access.credential(request.headers)
        if credential.secret is not None:
            raise VendorError("secret_not_allowed")
        return credential

    def _not_beta(self, request: HttpRequest) -> None:
        wanted = [value.strip() for value in request.headers.get("openai-beta", "").split(",")]
        if self._era.beta_disabled and BETA_HEADER in wanted:
            raise VendorError("beta_api_shape_disabled")

    # -- client secrets

    def _minting(self, request: HttpRequest) -> tuple[Credential, Wire]:
        credential = self._standard(request)
        self._not_beta(request)
        refuse = credential.info.refuse
        if refuse is not None and error_text(refuse).name not in _NOT_AT_MINTING:
            raise VendorError(error_text(refuse).name, model="the model")
        if request.body.strip():
            bodies.wanted_type(request.headers, bodies.JSON)
        return credential, bodies.json_object(request.body, empty=True)

    def _client_secret(self, request: HttpRequest) -> HttpAnswer:
        credential, body = self._minting(request)
        bodies.fields(body, ("expires_after", "session"))
        seconds = bodies.lifetime(body.get("expires_after"))
        given = body.get("session", {"type": "realtime"})
        dialect = "ga"
        if self._service.knobs["openai.beta_shape_at_client_secrets"] == "mint" and _is_beta(given):
            dialect = "beta"
        kind = bodies.session(self._access.catalogue, dialect, given)
        secret = self._mint(credential, dialect, kind, given, seconds)
        return HttpAnswer(200, self._minted(secret))

    def _translation_secret(self, request: HttpRequest) -> HttpAnswer:
        credential, body = self._minting(request)
        bodies.fields(body, ("expires_after", "session"), ("session",))
        seconds = bodies.lifetime(body.get("expires_after"))
        bodies.translation(body["session"])
        secret = self._mint(credential, "ga", "translation", body["session"], seconds)
        return HttpAnswer(200, self._minted(secret))

    def _beta_secret(self, request: HttpRequest, kind: str) -> HttpAnswer:
        credential, body = self._minting(request)
        if self._era.beta_disabled and self._service.knobs["openai.beta_minting"] == "era":
            raise VendorError("beta_api_shape_disabled")
        # What a client wishes for the life of its secret changes nothing: it is one minute.
        given = {name: value for name, value in body.items() if name != "client_secret"}
        bodies.session(self._access.catalogue, "beta", given, kind=kind, under="")
        if kind == "realtime" and not given.get("model"):
            raise VendorError("missing_required_parameter", param="model")
        secret = self._mint(credential, "beta", kind, given, BETA_SECONDS)
        shown = {"value": secret.value, "expires_at": secret.expires_at}
        return HttpAnswer(200, {**self._minted(secret)["session"], "client_secret": shown})

    def _mint(self, credential: Credential, dialect: str, kind: str, given: Wire, seconds: int) -> Secret:
        model: str | None = None
        if kind != "transcription":
            model = given.get("model") or str(self._service.knobs["openai.secret_default_model"]) or None
        return self._secrets.mint(
            credential.key,
            credential.place,
            credential.models,
            dialect=dialect,
            kind=kind,
            model=model,
            session=given,
            seconds=seconds,
        )

    def _minted(self, secret: Secret) -> Wire:
        session_id = self._secrets.session_id(secret)
        if secret.kind == "translation":
            session = effective_translation(secret, session_id)
        else:
            model = self._access.catalogue.models.get(secret.model or "")
            session = effective(DIALECTS[secret.dialect], secret, model, self._service.knobs, session_id)
        return {"value": secret.value, "expires_at": secret.expires_at, "session": session}

    # -- calls

    def _call(self, request: HttpRequest, dialect: str) -> HttpAnswer | Offered:
        credential = self._access.credential(request.headers)
        try:
            if dialect == "beta" and self._era.beta_disabled:
                raise VendorError("beta_api_shape_disabled")
            self._not_beta(request)
            call, offer = self._opened(request, credential, dialect)
        except VendorError as error:
            if error.name == "model_not_found":
                error = VendorError("call_model_not_found", model=error.fields["model"])
            return self._refused(error, _flat(error, dialect), {})
        if self._service.answerer is None:
            call.move(CallState.ENDED)
            raise VendorError("webrtc_not_served")
        return Offered(call, offer, {})

    def _opened(self, request: HttpRequest, credential: Credential, dialect: str) -> tuple[Call, str]:
        """The call that a request opens, and its offer. Raises `VendorError` for everything that stands against it."""
        offer, given = self._offer(request, dialect)
        secret = credential.secret
        if credential.info.refuse is not None:
            name = error_text(credential.info.refuse).name
            raise VendorError(name, model=request.query.get("model", "the model"))
        self._access.fits(credential, dialect)
        offer_first = self._service.knobs["openai.calls_check_first"] == "offer"
        if offer_first:
            bodies.check_offer(offer)
        kind = secret.kind if secret is not None else str(given.get("type", "realtime"))
        if given.get("type", kind) != kind:
            raise VendorError("invalid_value", param="session.type", got=given["type"], options=listed((kind,)))
        model: Model | None = None
        if kind == "transcription":
            if request.query.get("model"):
                raise VendorError("model_in_transcription_session")
        else:
            named = self._named(request, secret, given)
            if named:
                model = self._access.model(credential, named, dialect)
        if not offer_first:
            bodies.check_offer(offer)
        if kind != "transcription" and model is None:
            raise VendorError("missing_model")
        update = {key: value for key, value in given.items() if key != "model"}
        if secret is not None:
            update = DIALECTS[dialect].merged(secret.defaults, update)
        call = self._calls.open("webrtc", credential.place, dialect=dialect, kind=kind, model=model, session=update)
        call.client = self._service.client(request.headers)
        return call, offer

    def _named(self, request: HttpRequest, secret: Secret | None, given: Wire) -> str | None:
        bound = secret.model if secret is not None else None
        return self._access.bound(self._access.bound(bound, given.get("model")), request.query.get("model"))

    def _offer(self, request: HttpRequest, dialect: str) -> tuple[str, Wire]:
        """The SDP offer of a request, and the session that goes with it in a multipart body."""
        allowed = (SDP,) if dialect == "beta" else (SDP, bodies.MULTIPART)
        if bodies.wanted_type(request.headers, *allowed) == SDP:
            return request.body.decode(errors="replace"), {}
        parts = bodies.multipart(request.body, request.headers["content-type"])
        bodies.fields(parts, ("sdp", "session"), ("sdp",))
        given: Wire = {}
        if "session" in parts:
            given = bodies.json_object(parts["session"])
            bodies.session(self._access.catalogue, "ga", given)
        return parts["sdp"].decode(errors="replace"), given

    def _act(self, request: HttpRequest, call_id: str, action: str) -> HttpAnswer:
        call = self._known(request, call_id)
        body = bodies.json_object(request.body, empty=action == "reject")
        if action == "accept":
            bodies.session(self._access.catalogue, "ga", body, kind="realtime", under="")
        elif action == "reject":
            bodies.fields(body, ("status_code",))
            bodies.within(body.get("status_code", 603), 300, 699, "status_code")
        else:
            bodies.fields(body, ("target_uri",), ("target_uri",))
            bodies.typed(body["target_uri"], str, "string", "target_uri")
        model: Model | None = None
        if action == "accept":
            if not body.get("model"):
                raise VendorError("missing_required_parameter", param="model")
            model = self._access.model(self._standard(request), body["model"], "ga")
        self._calls.check(call, action)

        def act() -> None:
            if model is not None:
                call.model = model
                call.session = {key: value for key, value in body.items() if key != "model"}
            self._calls.act(call, action, body)

        return HttpAnswer(200, effect=act)

    def _hang_up(self, request: HttpRequest, call_id: str) -> HttpAnswer:
        call = self._known(request, call_id)
        return HttpAnswer(200, effect=lambda: call.move(CallState.ENDED))

    def _known(self, request: HttpRequest, call_id: str) -> Call:
        credential = self._standard(request)
        self._not_beta(request)
        return self._calls.find(call_id, credential)


def _flat(error: VendorError, dialect: str) -> dict[str, Any]:
    """The body of a refused call: in GA it has empty strings where all others have null (captures of both)."""
    if dialect == "beta" or "type" not in error.text.body:
        return error.body()
    return {
        "error": {
            "message": error.message,
            "type": error.text.type,
            "code": error.code or "",
            "param": error.param or "",
        }
    }


def _is_beta(given: Any) -> bool:
    if not isinstance(given, dict) or "type" in given:
        return False
    return check("beta", "client", {"type": "session.update", "session": given}) is None


def _listed(model: Model) -> dict[str, Any]:
    created = (model.released - date(1970, 1, 1)).days * 86400
    return {"id": model.name, "object": "model", "created": created, "owned_by": "system"}


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("http.toml").read_text(encoding="utf-8"))


@cache
def _endpoints() -> tuple[tuple[re.Pattern[str], str, date], ...]:
    return tuple(
        (re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", entry["path"])), entry["handler"], entry["from"])
        for entry in _data()["endpoints"]
    )
