"""How long things take: each kind of delay has a low, a typical and a high value among the knobs."""

from __future__ import annotations

from fakes.knobs import Knobs
from fakes.ports import Choices


class Timing:
    """Draws delays from the choices of a run, within what the knobs `twilio.<kind>_{low,typical,high}_ms` say."""

    def __init__(self, choices: Choices, knobs: Knobs) -> None:
        self._choices = choices
        self._knobs = knobs

    def delay(self, point: str, kind: str) -> float:
        """Seconds to wait at the choice point `point`; `kind` is the knobs' name, such as `fetch_delay`."""
        low, typical, high = (self._ms(kind, which) for which in ("low", "typical", "high"))
        if not low <= typical <= high:
            typical = min(max(typical, low), max(low, high))
            high = max(low, high)
        return self._choices.delay(point, low, typical, high)

    def _ms(self, kind: str, which: str) -> int:
        return int(self._knobs[f"twilio.{kind}_{which}_ms"])
