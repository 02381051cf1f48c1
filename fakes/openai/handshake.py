"""The rules of the WebSocket handshake: who gets in, with which dialect, and how the others are told.

The vendor nearly always completes the upgrade and refuses in band: one `error` event, then a close frame with the
reason `type.code` (OpenAI Realtime guide and captures of its answers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from fakes.knobs import Knobs
from fakes.openai.catalogue import Catalogue, Model
from fakes.openai.errors import VendorError, error_text

PATH = "/v1/realtime"
SUBPROTOCOL = "realtime"
KEY_PREFIX = "openai-insecure-api-key."
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
BETA_HEADER = "realtime=v1"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """An API key that the vendor knows. `refuse`: the error (a name in errors.toml) that its owner gets, such as
    `insufficient_quota` or `no_realtime_access`."""

    organization: str = "org-callproof"
    refuse: str | None = None


@dataclass(frozen=True, slots=True)
class HandshakeRequest:
    """What the client asked for. The names of `headers` are in lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accept:
    """A session is opened. `kind`: realtime or transcription. `model` is None in a transcription session."""

    dialect: str
    kind: str
    model: Model | None
    key: str
    subprotocol: str | None


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
    """Decides about upgrades on one day."""

    def __init__(self, catalogue: Catalogue, keys: Mapping[str, KeyInfo], knobs: Knobs, as_of: date) -> None:
        self._catalogue = catalogue
        self._keys = keys
        self._knobs = knobs
        self._era = catalogue.era(as_of)

    def decide(self, request: HandshakeRequest) -> Decision:
        """Accept or refuse one upgrade."""
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None
        if not self._era.dialects:
            return RefuseHttp(VendorError("unknown_url", method="GET", path=request.path), 404, {})
        try:
            return self._accept(request, subprotocol)
        except VendorError as error:
            if error.text.close == 3000 and self._knobs["openai.bad_key_answer"] == "http":
                return RefuseHttp(error, error.text.status, {})
            return RefuseInBand(error, error.text.close, subprotocol)

    def _accept(self, request: HandshakeRequest, subprotocol: str | None) -> Accept:
        key = self.key(request.headers, request.subprotocols)
        name = request.query.get("model")
        refused = self._keys[key].refuse
        if refused is not None:
            raise VendorError(error_text(refused).name, model=name or "the model")
        dialect = self._dialect(request)
        if request.query.get("intent") == "transcription":
            if name is not None:
                raise VendorError("model_in_transcription_session")
            return Accept(dialect, "transcription", None, key, subprotocol)
        if not name:
            raise VendorError("missing_model")
        return Accept(dialect, "realtime", self._model(name, dialect), key, subprotocol)

    def key(self, headers: Mapping[str, str], subprotocols: tuple[str, ...] = ()) -> str:
        """The API key of a request. Raises `VendorError` when there is none, or one that is not known."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            key = next((p[len(KEY_PREFIX) :] for p in subprotocols if p.startswith(KEY_PREFIX)), "")
        key = key.strip()
        if not key:
            raise VendorError("missing_api_key")
        if key not in self._keys:
            raise VendorError("invalid_api_key", key=masked(key))
        return key

    def _dialect(self, request: HandshakeRequest) -> str:
        # The header is a list: clients that also use other betas send more than one value.
        wanted = [value.strip() for value in request.headers.get("openai-beta", "").split(",")]
        beta = BETA_HEADER in wanted or BETA_SUBPROTOCOL in request.subprotocols
        if beta and self._era.beta_disabled:
            raise VendorError("beta_api_shape_disabled")
        if not beta and "ga" not in self._era.dialects:
            raise VendorError("missing_beta_header")
        return "beta" if beta else "ga"

    def _model(self, name: str, dialect: str) -> Model:
        model = self._catalogue.models.get(name)
        if model is not None and model.is_removed(self._era.day):
            raise VendorError("model_not_found", model=name)
        if model is None or not model.offered(self._era.day):
            raise VendorError("model_not_in_realtime_mode", model=name)
        if model.kind == "transcription":
            raise VendorError("transcription_model_as_session_model", model=name)
        if model.kind != "realtime" or dialect not in model.dialects:
            raise VendorError("model_not_in_realtime_mode", model=name)
        return model


def masked(key: str) -> str:
    """A key as the vendor shows it in an error: `sk-...abcd`; nothing of a key that is too short to hide."""
    return f"{key[:3]}...{key[-4:]}" if len(key) >= 12 else "***"
