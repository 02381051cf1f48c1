"""The vocabulary of OpenAI Realtime as data: one JSON Schema per event, for each revision and each direction.

The schemas are made by `generate.py` from the types of the `openai` package and from `overlay.toml`, which says what
those types leave out (what is always present, what may be null, what real traffic carries on top). `fields.py` lays
them out as tables, `compare.py` puts two revisions side by side.
"""

from fakes.openai.protocol.validation import Violation, check, event_types, validate

__all__ = ["Violation", "check", "event_types", "validate"]
