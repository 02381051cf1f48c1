"""The settings, read when this module is imported."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What this gateway has to be told."""

    api_key: str = os.environ["OPENAI_API_KEY"]
    model: str = os.environ.get("OPENAI_MODEL", "gpt-realtime-2")
    account_sid: str = os.environ["TWILIO_ACCOUNT_SID"]
    auth_token: str = os.environ["TWILIO_AUTH_TOKEN"]
    number: str = os.environ["TWILIO_NUMBER"]
    public_url: str = os.environ["PUBLIC_URL"]
    beta_header: bool = bool(os.environ.get("BETA_HEADER"))


settings = Settings()
