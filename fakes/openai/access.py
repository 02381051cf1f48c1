"""Who may use what: API keys, client secrets, the project and organisation that a request is for, and their models.

A key may see a model in `GET /v1/models` and still be refused it on a realtime endpoint. A client secret stands for the
project that it was minted in, and for the model and the session that it was minted with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from fakes.knobs import Knobs
from fakes.openai.catalogue import Catalogue, Model
from fakes.openai.errors import VendorError
from fakes.openai.secrets import ClientSecrets, Place, Secret

KEY_PREFIX = "openai-insecure-api-key."
ORGANIZATION_PREFIX = "openai-organization."
PROJECT_PREFIX = "openai-project."


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """An API key that the vendor knows.

    `refuse`: the error (a name in errors.toml) that its owner gets, such as `insufficient_quota` or
    `no_realtime_access`. `models`: those that realtime endpoints let it use, None for all; `GET /v1/models` lists the
    others all the same. `elsewhere`: further projects or organisations, by the id that an `OpenAI-Project` or
    `OpenAI-Organization` header names, each with the models that realtime endpoints allow there.
    """

    organization: str = "org-callproof"
    refuse: str | None = None
    project: str = "proj_callproof"
    models: tuple[str, ...] | None = None
    elsewhere: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request is let in with. `key`: the API key, or the one that minted `secret`. `place`: whom it is for."""

    key: str
    info: KeyInfo
    place: Place
    models: tuple[str, ...] | None
    secret: Secret | None = None

    def grants(self, model: str) -> bool:
        """Whether a realtime endpoint lets it use the model."""
        return self.models is None or model in self.models


class Access:
    """Decides about credentials and models on one day. `secrets`: the client secrets that it knows, if any."""

    def __init__(
        self,
        catalogue: Catalogue,
        keys: Mapping[str, KeyInfo],
        knobs: Knobs,
        as_of: date,
        secrets: ClientSecrets | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._keys = keys
        self._knobs = knobs
        self._day = as_of
        self._secrets = secrets

    @property
    def catalogue(self) -> Catalogue:
        """The models that there are for whoever gets in here."""
        return self._catalogue

    def credential(self, headers: Mapping[str, str], subprotocols: tuple[str, ...] = ()) -> Credential:
        """What a request is let in with. The names of `headers` are in lower case.

        Raises `VendorError` when there is no key, one that is not known or has expired, or one that is not of the
        project or organisation that the request names.
        """
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            key = _offered(subprotocols, KEY_PREFIX)
        key = key.strip()
        if not key:
            raise VendorError("missing_api_key")
        organization = headers.get("openai-organization") or _offered(subprotocols, ORGANIZATION_PREFIX)
        project = headers.get("openai-project") or _offered(subprotocols, PROJECT_PREFIX)
        info = self._keys.get(key)
        if info is None:
            return self._secret(key, organization, project)
        if organization not in ("", info.organization, *info.elsewhere):
            raise VendorError(str(self._knobs["openai.other_organization"]), organization=organization)
        if project not in ("", info.project, *info.elsewhere):
            raise VendorError("mismatched_project")
        place = Place(organization or info.organization, project or info.project)
        return Credential(key, info, place, _models(info, place))

    def _secret(self, value: str, organization: str, project: str) -> Credential:
        secret = self._secrets.find(value) if self._secrets is not None else None
        if self._secrets is None or secret is None or secret.key not in self._keys:
            raise VendorError("invalid_api_key", key=masked(value))
        if self._secrets.expired(secret):
            raise VendorError(str(self._knobs["openai.expired_secret"]), key=masked(value))
        if organization not in ("", secret.place.organization):
            raise VendorError(str(self._knobs["openai.other_organization"]), organization=organization)
        if project not in ("", secret.place.project):
            raise VendorError("mismatched_project")
        info = self._keys[secret.key]
        live = self._knobs["openai.secret_permissions"] == "live"
        models = _models(info, secret.place) if live else secret.models
        return Credential(secret.key, info, secret.place, models, secret)

    def fits(self, credential: Credential, dialect: str) -> None:
        """Raise `VendorError` when the client secret of a request was minted for the other dialect."""
        secret = credential.secret
        if secret is None or secret.dialect == dialect:
            return
        if self._knobs["openai.secret_of_other_dialect"] == "model_not_found":
            raise VendorError("model_not_found", model=secret.model or "the model")
        names = {"beta": "beta", "ga": "GA"}
        raise VendorError("api_version_mismatch", wanted=names[dialect], minted=names[secret.dialect])

    def bound(self, first: str | None, second: str | None) -> str | None:
        """The model of a request that was named twice; `first` by whoever comes first: the client secret.

        Raises `VendorError` for a contradiction, unless a knob lets one of the two win.
        """
        if not first or not second or first == second:
            return first or second
        match self._knobs["openai.secret_model_contradicted"]:
            case "secret":
                return first
            case "request":
                return second
            case _:
                raise VendorError("model_not_found", model=second)

    def translation_model(self, credential: Credential, name: str) -> Model:
        """The model of a translation session. Raises `VendorError` when there is no such model for this credential."""
        model = self._catalogue.models.get(name)
        if model is None or model.kind != "translation" or not model.offered(self._day):
            raise VendorError("model_not_in_translation_mode", model=name)
        if not credential.grants(name):
            raise VendorError("model_not_found", model=name)
        return model

    def model(self, credential: Credential, name: str, dialect: str) -> Model:
        """The model of a realtime session. Raises `VendorError` when there is no such model for this credential."""
        model = self._catalogue.models.get(name)
        if model is not None and model.is_removed(self._day):
            raise VendorError("model_not_found", model=name)
        if model is None or not model.offered(self._day):
            raise VendorError("model_not_in_realtime_mode", model=name)
        if model.kind == "transcription":
            raise VendorError("transcription_model_as_session_model", model=name)
        if model.kind != "realtime" or dialect not in model.dialects:
            raise VendorError("model_not_in_realtime_mode", model=name)
        if not credential.grants(name):
            raise VendorError("model_not_found", model=name)
        return model


def _offered(subprotocols: tuple[str, ...], prefix: str) -> str:
    return next((offer[len(prefix) :] for offer in subprotocols if offer.startswith(prefix)), "")


def _models(info: KeyInfo, place: Place) -> tuple[str, ...] | None:
    for name in (place.project, place.organization):
        if name in info.elsewhere:
            return info.elsewhere[name]
    return info.models


def masked(key: str) -> str:
    """A key as the vendor shows it in an error: `sk-...abcd`; nothing of a key that is too short to hide."""
    return f"{key[:3]}...{key[-4:]}" if len(key) >= 12 else "***"
