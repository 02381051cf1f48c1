"""Client secrets: the short-lived keys that a server mints for a browser, and the sessions that they stand for.

Minting does not verify: a secret for a model that nobody can use is minted all the same, and fails when it is used.
A secret opens any number of sessions until it expires; the sessions live on after that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fakes.knobs import Knobs
from fakes.openai.catalogue import Model, catalogue
from fakes.openai.dialects import Dialect, Wire, defaults
from fakes.openai.translation import translation_session
from fakes.openai.updates import fitting
from fakes.ports import Ports

if TYPE_CHECKING:
    from fakes.openai.session import RealtimeSession

PREFIX = "ek_"
BETA_SECONDS = 60
"""How long a secret of the beta lasts ("one minute" in the vendor's reference)."""

# What says which secret it is, not what its sessions are like.
_NOT_DEFAULTS = frozenset({"model", "client_secret"})


@dataclass(frozen=True, slots=True)
class Place:
    """The organisation and the project that a request is billed to."""

    organization: str
    project: str


@dataclass(frozen=True, slots=True)
class Secret:
    """One client secret.

    `key`: the API key that minted it; `place`: where; `models`: those that realtime endpoints allowed there at that
    time, None for all. `kind`: realtime, transcription or translation. `model`: the one it is bound to, if any.
    `session`: the part of a session that it was minted with, in the shape of `dialect`. `expires_at`: Unix seconds.
    """

    value: str
    ordinal: int
    key: str
    place: Place
    models: tuple[str, ...] | None
    dialect: str
    kind: str
    model: str | None
    session: Mapping[str, Any]
    expires_at: int

    @property
    def defaults(self) -> Wire:
        """What the sessions opened with it begin with, as an update of a session."""
        return {name: value for name, value in self.session.items() if name not in _NOT_DEFAULTS}


class ClientSecrets:
    """All secrets of one service, expired ones too, in the order of their minting."""

    def __init__(self, ports: Ports, party: str = "openai") -> None:
        self._ports = ports
        self._party = party
        self._secrets: dict[str, Secret] = {}

    @property
    def minted(self) -> list[Secret]:
        """Every secret so far."""
        return list(self._secrets.values())

    def find(self, value: str) -> Secret | None:
        """The secret with that value, expired or not."""
        return self._secrets.get(value)

    def expired(self, secret: Secret) -> bool:
        """Whether the secret opens no session any more."""
        return self._ports.clock.wall() >= secret.expires_at

    def mint(
        self,
        key: str,
        place: Place,
        models: tuple[str, ...] | None,
        *,
        dialect: str,
        kind: str,
        model: str | None,
        session: Mapping[str, Any],
        seconds: int,
    ) -> Secret:
        """Make a secret that lasts `seconds` from now. The other arguments are the fields of `Secret`."""
        ordinal = len(self._secrets) + 1
        value = f"{PREFIX}{self._ports.choices.token(f'{self._party}/secret{ordinal}/value', 32)}"
        expires_at = int(self._ports.clock.wall()) + seconds
        secret = Secret(value, ordinal, key, place, models, dialect, kind, model, session, expires_at)
        self._secrets[value] = secret
        return secret

    def session_id(self, secret: Secret) -> str:
        """The id of the session that the answer to its minting shows."""
        return f"sess_{self._ports.choices.token(f'{self._party}/secret{secret.ordinal}/session', 20)}"


def effective(dialect: Dialect, secret: Secret, model: Model | None, knobs: Knobs, session_id: str) -> Wire:
    """The session that a secret stands for, as the answer to its minting shows it: all defaults, `expires_at` 0."""
    session = dialect.new_session(secret.kind)
    session["id"] = session_id
    session["expires_at"] = 0
    if secret.kind == "realtime":
        session["model"] = secret.model
        if dialect.name == "ga":
            session["audio"]["output"]["voice"] = knobs["openai.default_voice_ga"]
            if model is not None and model.reasoning:
                session |= defaults()["ga_reasoning"]
        if secret.model is None:
            del session["model"]
    return fitting(dialect, catalogue(), dialect.merged(session, secret.defaults))


def effective_translation(secret: Secret, session_id: str) -> Wire:
    """The translation session that a secret stands for, as the answer to its minting shows it."""
    return translation_session(secret.session, session_id, secret.model, expires_at=0)


def preset(session: RealtimeSession, update: Mapping[str, Any]) -> None:
    """Let a session that has not begun start from the settings of a client secret instead of the vendor's own."""
    session.adopt(session.dialect.merged(session.wire, update))
