"""`callproof serve`: all fakes as stand-alone servers on loopback, with an HTTP control API and a page."""

from __future__ import annotations

from conformance.serve.asking import CALLER
from conformance.serve.bench import AZURE_RESOURCE, NUMBER, Bench
from conformance.serve.server import CLOSING_SECONDS, CannotListen, make_bench_knobs, serve_forever, serving

__all__ = [
    "AZURE_RESOURCE",
    "CALLER",
    "CLOSING_SECONDS",
    "NUMBER",
    "Bench",
    "CannotListen",
    "make_bench_knobs",
    "serve_forever",
    "serving",
]
