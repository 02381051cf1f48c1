"""Azure's own errors, `errors.toml`: raised and answered like the others, with bodies of `code` and `message` alone."""

from __future__ import annotations

from pathlib import Path

from fakes.openai.errors import VendorError, add_texts

__all__ = ["VendorError"]

add_texts(Path(__file__).with_name("errors.toml"), body=("code", "message"))
