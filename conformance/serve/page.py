"""The files of the page. They need nothing from anywhere else, and the browser is told to accept nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from aiohttp import web

from conformance.serve.asking import NotThere

PAGE = Path(__file__).with_name("page")

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Cache-Control": "no-cache",
}


@cache
def _files() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir() if path.suffix in TYPES}


def index() -> web.Response:
    """The page itself."""
    return file("index.html")


def file(name: str) -> web.Response:
    """One file of the page. Raises `NotThere`."""
    found = _files().get(name)
    if found is None:
        raise NotThere(f"the page has no file {name!r}")
    return web.Response(text=found, content_type=TYPES[Path(name).suffix], headers=_HEADERS)
