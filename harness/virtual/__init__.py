"""The virtual stage: one asyncio loop with time that jumps, a network in memory, a wall clock that follows."""

from harness.virtual.loop import Spinning, Stalled, VirtualLoop
from harness.virtual.network import Link, Network
from harness.virtual.running import DEFAULT_WALL, run_virtual, spawn
from harness.virtual.surroundings import BlockingCallError, surroundings

__all__ = [
    "DEFAULT_WALL",
    "BlockingCallError",
    "Link",
    "Network",
    "Spinning",
    "Stalled",
    "VirtualLoop",
    "run_virtual",
    "spawn",
    "surroundings",
]
