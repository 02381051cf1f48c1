"""Structured logs: one JSON object a line on standard error, with no secret in it."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TextIO

# Vendors quote keys, partly masked, in their error texts: they are masked wholly here, and so is every JWT.
_KEY = re.compile(r"\b[se]k[-_][\w.*-]{4,}|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?")
_MASK = "[redacted]"


class Log:
    """Writes events. `bind` gives a child that adds fields (such as `call_sid`) to each of its events."""

    __slots__ = ("_fields", "_secrets", "_stream")

    def __init__(
        self, secrets: Iterable[str] = (), *, stream: TextIO | None = None, fields: dict[str, Any] | None = None
    ) -> None:
        """`stream` None is `sys.stderr` as it is when an event is written."""
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        self._stream = stream
        self._fields = fields or {}

    def bind(self, **fields: Any) -> Log:
        """A log that adds `fields` to every event."""
        bound = type(self)(stream=self._stream, fields={**self._fields, **fields})
        bound._secrets = self._secrets  # the same list: `hide` is for all
        return bound

    def hide(self, secret: str) -> None:
        """Take one more value for a secret: a key that was read from a file, a token."""
        if secret and secret not in self._secrets:
            self._secrets.append(secret)
            self._secrets.sort(key=len, reverse=True)

    def forget(self, secret: str) -> None:
        """What `hide` hid is worth nothing any more."""
        if secret in self._secrets:
            self._secrets.remove(secret)

    def redact(self, text: str) -> str:
        """`text` without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return _KEY.sub(_MASK, text)

    def event(self, name: str, *, level: str = "info", **fields: Any) -> None:
        """Write one event. Field values are text, numbers, booleans or None; anything else is written as its `str`."""
        record: dict[str, Any] = {"time": _now(), "level": level, "event": name}
        for key, value in (*self._fields.items(), *fields.items()):
            plain = value is None or isinstance(value, (int, float))
            record[key] = value if plain else self.redact(str(value))
        stream = self._stream or sys.stderr
        stream.write(json.dumps(record) + "\n")
        stream.flush()

    def warning(self, name: str, **fields: Any) -> None:
        """Write an event of level `warning`: something is wrong and the call goes on."""
        self.event(name, level="warning", **fields)

    def error(self, name: str, **fields: Any) -> None:
        """Write an event of level `error`: a call or a request has failed."""
        self.event(name, level="error", **fields)

    def as_logger(self) -> logging.Logger:
        """A standard logger of its own (outside the global tree) for the web server, writing to this log."""
        logger = logging.Logger("reference_impl.http", logging.WARNING)
        logger.addHandler(_Handler(self))
        return logger


class _Handler(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._log.event(
            "http.server",
            level=record.levelname.lower(),
            message=record.getMessage(),
            error=f"{type(error).__name__}: {error}" if error else None,
        )


def _now() -> str:
    # time.time and not datetime.now: whoever simulates the clock replaces the former.
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
