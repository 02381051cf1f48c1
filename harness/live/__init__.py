"""The live stage: a real gateway process, real sockets on loopback, real time."""

from harness.live.stage import LiveStage
from harness.live.station import Station

__all__ = ["LiveStage", "Station"]
