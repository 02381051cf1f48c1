"""What Azure OpenAI asks of whoever issues access tokens: to say whose a token is, or why it is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a token stands for. `oid`: its object id, to which roles are assigned; `expires_at` in Unix seconds."""

    oid: str
    tenant: str
    audience: str
    expires_at: float = float("inf")


class TokenRefused(Exception):
    """A token is not good. `reason`: what is wrong with it: `expired`, `audience`, `signature`, `malformed`..."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the token is refused: {reason}")
        self.reason = reason


class TokenVerifier(Protocol):
    """Judges access tokens."""

    def verify(self, token: str, now: float) -> Principal:
        """Whose token it is, at the Unix time `now`. Raises `TokenRefused` for one that Azure OpenAI does not take."""
        ...
