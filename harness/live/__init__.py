"""The live stage: a real gateway process, real sockets on loopback, real time."""

from harness.live.stage import LiveStage

__all__ = ["LiveStage"]
