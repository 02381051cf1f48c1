"""An order of cause where Python has an order of addresses.

A set of futures, tasks or connections is gone through in the order of their hashes, which are their addresses in memory
and differ from run to run. aiohttp wakes the requests that wait for one name from such a set, uvicorn closes its
connections from one, and programs of any kind go through the `done` of `asyncio.wait`. In a world these objects have a
number for a hash instead; equality stays identity.

Sets of other objects that a program makes itself keep the order of addresses. Of the libraries', one is left: the child
scopes of an anyio `CancelScope` have no place for a number, so when one scope cancels several tasks, each of them in a
nested scope of its own, their order is that of addresses.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import sys
import threading
from asyncio import tasks
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

CONNECTIONS: Final = (
    ("aiohttp.client_proto", "ResponseHandler"),
    ("aiohttp.client_ws", "ClientWebSocketResponse"),
    ("aiohttp.web_response", "StreamResponse"),
    ("starlette.requests", "HTTPConnection"),
    ("uvicorn.protocols.http.h11_impl", "H11Protocol"),
    ("uvicorn.protocols.http.httptools_impl", "HttpToolsProtocol"),
    ("uvicorn.protocols.websockets.websockets_impl", "WebSocketProtocol"),
    ("uvicorn.protocols.websockets.websockets_sansio_impl", "WebSocketsSansIOProtocol"),
    ("uvicorn.protocols.websockets.wsproto_impl", "WSProtocol"),
    ("websockets.asyncio.connection", "Connection"),
    ("websockets.legacy.protocol", "WebSocketCommonProtocol"),
)
"""Classes of connections that libraries, or the programs on them, keep in sets and close or write to in their order."""


def _ordinal_hash(self: Any) -> int:
    """The position in the order in which this world's futures and tasks were first put somewhere by their hash."""
    number: int = self._ordinal
    if not number:
        number = self._ordinal = self._loop.next_ordinal()
    return number


class OrderedFuture(asyncio.Future[Any]):
    """What `create_future` of a virtual loop gives back."""

    # An attribute of the class and no slot: most futures are never hashed, and those pay nothing.
    _ordinal = 0
    __hash__ = _ordinal_hash


class OrderedTask(asyncio.Task[Any]):
    """What `create_task` of a virtual loop gives back."""

    _ordinal = 0
    __hash__ = _ordinal_hash


_MARK: Final = "_callproof_ordinal"


def _birth_hash(self: Any) -> int:
    number: int | None = self.__dict__.get(_MARK)
    return object.__hash__(self) if number is None else number


class _Births:
    """Whose new connections get numbers: the thread with a world in it, and the world's next number."""

    __slots__ = ("next_number", "thread")

    def __init__(self) -> None:
        self.thread = 0  # nobody's
        self.next_number: Callable[[], int] = itertools.count(1).__next__


_births = _Births()
_numbered: set[str] = set()


def number_births(module: str, name: str) -> None:
    """Give a number to every instance of a class of `CONNECTIONS` that is made in a world from now on.

    Only to those: a hash must not change, and there may be connections of a real loop in the process. The class stays
    as it is made here: changing it for every world would cost Python the shortcuts that it has learnt about it.
    """
    if module in _numbered:
        return
    _numbered.add(module)
    kind = getattr(sys.modules[module], name)
    made: Callable[..., None] = kind.__init__
    births, get_ident = _births, threading.get_ident

    def numbered(self: Any, *args: Any, **kwargs: Any) -> None:
        if get_ident() == births.thread:
            self.__dict__[_MARK] = births.next_number()
        made(self, *args, **kwargs)

    kind.__init__ = functools.wraps(made)(numbered)
    kind.__hash__ = _birth_hash


@contextmanager
def numbered_births() -> Iterator[None]:
    """While a world runs in this thread."""
    before = _births.thread, _births.next_number
    _births.thread, _births.next_number = threading.get_ident(), itertools.count(1).__next__
    try:
        yield
    finally:
        _births.thread, _births.next_number = before


# The future of `asyncio.gather` is made without asking the loop.
_gathering: Any = tasks._GatheringFuture  # type: ignore[attr-defined]


def _gathering_hash(self: Any) -> int:
    next_ordinal = getattr(self._loop, "next_ordinal", None)
    if next_ordinal is None:
        return object.__hash__(self)  # of a real loop
    number: int | None = getattr(self, _MARK, None)
    if number is None:
        number = next_ordinal()
        setattr(self, _MARK, number)
    return number


_gathering.__hash__ = _gathering_hash
