"""The rules of the WebSocket handshake: who gets in, with which dialect, and how the others are told.

The vendor nearly always completes the upgrade and refuses in band: one `error` event, then a close frame with the
reason `type.code` (OpenAI Realtime guide and captures of its answers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from fakes.knobs import Knobs
from fakes.openai.access import Access, Credential
from fakes.openai.access import KeyInfo as KeyInfo
from fakes.openai.access import masked as masked
from fakes.openai.calls import Call, Calls
from fakes.openai.catalogue import Catalogue, Model
from fakes.openai.dialects import Wire
from fakes.openai.errors import VendorError, error_text
from fakes.openai.secrets import ClientSecrets, Secret

PATH = "/v1/realtime"
TRANSLATIONS = "/v1/realtime/translations"
SUBPROTOCOL = "realtime"
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
BETA_HEADER = "realtime=v1"


@dataclass(frozen=True, slots=True)
class HandshakeRequest:
    """What the client asked for. The names of `headers` are in lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accept:
    """A session is opened, or joined. `kind`: realtime, transcription, translation or sideband.

    `model` is None in a transcription session and for a sideband. `key`: the API key, or the one that minted the client
    secret of the request. `preset`: the update that the session begins with, from that secret. `call`: the one that a
    sideband joins.
    """

    dialect: str
    kind: str
    model: Model | None
    key: str
    subprotocol: str | None
    preset: Wire | None = None
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class RefuseInBand:
    """101, an `error` event, then a close frame with `code` and the error's reason."""

    error: VendorError
    code: int
    subprotocol: str | None


@dataclass(frozen=True, slots=True)
class RefuseHttp:
    """The upgrade is answered with an HTTP status and a JSON body."""

    error: VendorError
    status: int
    headers: Mapping[str, str]


Decision = Accept | RefuseInBand | RefuseHttp


class Handshake:
    """Decides about upgrades on one day. `secrets`: the client secrets that it knows, `calls`: the calls, if any.

    `access` decides who gets in, when it is not to be the usual one.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        keys: Mapping[str, KeyInfo],
        knobs: Knobs,
        as_of: date,
        secrets: ClientSecrets | None = None,
        calls: Calls | None = None,
        access: Access | None = None,
    ) -> None:
        self.access = access or Access(catalogue, keys, knobs, as_of, secrets)
        self._knobs = knobs
        self._calls = calls
        self._translations = any(model.kind == "translation" for model in catalogue.offered(as_of))
        self._era = catalogue.era(as_of)

    def decide(self, request: HandshakeRequest) -> Decision:
        """Accept or refuse one upgrade."""
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None
        if not self._era.dialects or (request.path == TRANSLATIONS and not self._translations):
            return RefuseHttp(VendorError("unknown_url", method="GET", path=request.path), 404, {})
        try:
            return self._accept(request, subprotocol)
        except VendorError as error:
            if error.text.close == 3000 and self._knobs["openai.bad_key_answer"] == "http":
                return RefuseHttp(error, error.text.status, {})
            if error.name == "call_id_not_found" and self._knobs["openai.sideband_unknown_call"] == "http":
                return RefuseHttp(error, int(self._knobs["openai.unknown_call_status"]), {})
            return RefuseInBand(error, error.text.close, subprotocol)

    def _accept(self, request: HandshakeRequest, subprotocol: str | None) -> Accept:
        credential = self.access.credential(request.headers, request.subprotocols)
        name = request.query.get("model")
        refused = credential.info.refuse
        if refused is not None:
            raise VendorError(error_text(refused).name, model=name or "the model")
        dialect = self._dialect(request)
        if request.path == TRANSLATIONS:
            return self._translation(credential, name, dialect, subprotocol)
        call_id = request.query.get("call_id")
        if call_id is not None:
            return self._sideband(credential, call_id, name, dialect, subprotocol)
        secret = credential.secret
        if secret is not None:
            return self._with_secret(credential, secret, name, dialect, subprotocol)
        if request.query.get("intent") == "transcription":
            if name is not None:
                raise VendorError("model_in_transcription_session")
            return Accept(dialect, "transcription", None, credential.key, subprotocol)
        if not name:
            raise VendorError("missing_model")
        model = self.access.model(credential, name, dialect)
        return Accept(dialect, "realtime", model, credential.key, subprotocol)

    def _with_secret(
        self, credential: Credential, secret: Secret, name: str | None, dialect: str, subprotocol: str | None
    ) -> Accept:
        """A client secret says itself what kind of session it opens, whatever `intent` the request has."""
        self.access.fits(credential, dialect)
        if secret.kind == "transcription":
            if name is not None:
                raise VendorError("model_in_transcription_session")
            return Accept(dialect, "transcription", None, credential.key, subprotocol, secret.defaults)
        name = self.access.bound(secret.model, name)
        if not name:
            raise VendorError("missing_model")
        model = self.access.model(credential, name, dialect)
        return Accept(dialect, "realtime", model, credential.key, subprotocol, secret.defaults)

    def _translation(self, credential: Credential, name: str | None, dialect: str, subprotocol: str | None) -> Accept:
        if dialect != "ga":
            raise VendorError("beta_without_translation")
        secret = credential.secret
        if secret is not None:
            if secret.kind != "translation":
                raise VendorError("secret_of_other_kind", wanted="translation", minted=secret.kind)
            name = self.access.bound(secret.model, name)
        if not name:
            raise VendorError("missing_model")
        model = self.access.translation_model(credential, name)
        preset = secret.defaults if secret is not None else None
        return Accept(dialect, "translation", model, credential.key, subprotocol, preset)

    def _sideband(
        self, credential: Credential, call_id: str, name: str | None, dialect: str, subprotocol: str | None
    ) -> Accept:
        if credential.secret is not None and self._knobs["openai.sideband_with_secret"] == "refuse":
            raise VendorError("secret_not_allowed")
        if self._calls is None:
            raise VendorError("call_id_not_found", call=call_id)
        call = self._calls.find(call_id, credential)
        if call.running is None or call.dialect != dialect:
            raise VendorError("call_id_not_found", call=call_id)
        if not name and self._knobs["openai.sideband_model"] == "required":
            raise VendorError("missing_model")
        return Accept(dialect, "sideband", None, credential.key, subprotocol, call=call)

    def _dialect(self, request: HandshakeRequest) -> str:
        # The header is a list: clients that also use other betas send more than one value.
        wanted = [value.strip() for value in request.headers.get("openai-beta", "").split(",")]
        beta = BETA_HEADER in wanted or BETA_SUBPROTOCOL in request.subprotocols
        if beta and self._era.beta_disabled:
            if self._knobs["openai.beta_header"] == "refuse":
                raise VendorError("beta_api_shape_disabled")
            beta = False
        if not beta and "ga" not in self._era.dialects:
            raise VendorError("missing_beta_header")
        return "beta" if beta else "ga"
