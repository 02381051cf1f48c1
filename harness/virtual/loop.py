"""An asyncio event loop whose time is a number.

When nothing is ready to run, time jumps to the next timer. There is no selector: every connection is in memory
(`harness.virtual.network`), so nothing outside the process can wake the loop, and two runs that make the same choices
run the same callbacks in the same order.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import heapq
import itertools
import signal
import socket
import ssl as ssl_module
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from typing import Any, NoReturn, TypeVar

from harness.virtual.libraries import Libraries
from harness.virtual.network import PARTY, Network, VirtualServer
from harness.virtual.ordering import OrderedFuture, OrderedTask
from harness.virtual.transport import VirtualTransport, connect_pair, upgrade

T = TypeVar("T")

MAX_TURNS_AT_ONE_INSTANT = 200_000
"""A world that runs this many rounds of callbacks without any time passing is spinning."""


class Stalled(RuntimeError):
    """Nothing is left that could ever happen, and somebody still waits."""


class Spinning(RuntimeError):
    """Callbacks schedule each other for ever without any time passing."""


def _begin(
    handle: Any,
    callback: Callable[..., object],
    args: Sequence[Any],
    loop: asyncio.AbstractEventLoop,
    context: Context | None,
) -> None:
    """What `Handle.__init__` does, without the bookkeeping that only a debugging loop needs."""
    handle._context = copy_context() if context is None else context
    handle._loop = loop
    handle._callback = callback
    handle._args = args
    handle._cancelled = False
    handle._repr = None
    handle._source_traceback = None


class _Soon(asyncio.Handle):
    __slots__ = ()
    __init__ = _begin


class _Timer(asyncio.TimerHandle):
    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Sequence[Any],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        _begin(self, callback, args, loop, context)
        self._when = when
        self._scheduled = True


class _Delivery:
    """A callback with one argument that cannot be cancelled."""

    __slots__ = ("_argument", "_callback", "_context", "_loop")
    _cancelled = False

    def __init__(self, loop: VirtualLoop, callback: Callable[[Any], object], argument: Any, context: Context) -> None:
        self._loop = loop
        self._callback = callback
        self._argument = argument
        self._context = context

    def _run(self) -> None:
        try:
            self._context.run(self._callback, self._argument)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._loop.call_exception_handler(
                {"message": f"Exception in delivery {self._callback!r}", "exception": error}
            )


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one world. `time()` is in seconds and begins at 0."""

    def __init__(self, network: Network | None = None) -> None:
        super().__init__()
        self.network = network if network is not None else Network()
        self.network.loop = self
        self._now = 0.0
        self._timers: list[tuple[float, int, _Timer | _Delivery]] = []
        self._count = 0
        self._turns = 0
        self._connecting: weakref.WeakKeyDictionary[socket.socket, tuple[str, int]] = weakref.WeakKeyDictionary()
        self._tasks: list[weakref.ref[asyncio.Task[Any]]] = []
        self._tasks_enough = 256
        self._signal_handlers: dict[int, asyncio.Handle] = {}
        self._plain_handlers: dict[int, Any] = {}
        self.next_ordinal = itertools.count(1).__next__
        self.libraries = Libraries()
        # No method: a call with audio makes thousands of futures, and this one has no frame of its own.
        self.create_future = functools.partial(OrderedFuture, loop=self)  # type: ignore[method-assign]

    # -- time and callbacks

    def time(self) -> float:
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Let time pass without running anything: what a blocking `time.sleep` does to an asyncio program."""
        if seconds > 0:
            self._now += seconds
            self._turns = 0

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        self._check_closed()  # type: ignore[attr-defined]
        handle: asyncio.Handle = _Soon(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._check_closed()  # type: ignore[attr-defined]
        timer = _Timer(when, callback, args, self, context)
        # The count keeps callbacks of the same instant in the order in which they were asked for.
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, timer))
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def deliver_at(self, when: float, callback: Callable[[Any], object], argument: Any, context: Context) -> None:
        """Like `call_at`, for what nobody will ever cancel; a call with full audio has thousands of these."""
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, _Delivery(self, callback, argument, context)))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when they come to the head of the queue."""

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        timers = self._timers
        now = self._now
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            while timers and timers[0][2]._cancelled:
                heapq.heappop(timers)
            if not timers:
                raise Stalled(self._describe_stall())
            if timers[0][0] > now:
                now = self._now = timers[0][0]
                self._turns = 0
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                ready.append(timer)
        self._turns += 1
        if self._turns > MAX_TURNS_AT_ONE_INSTANT and ready:
            turns, self._turns = self._turns, 0
            raise Spinning(
                f"{turns} rounds of callbacks ran at {now:.3f} s without any time passing; next is {ready[0]!r}"
            )
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def create_task(self, coro: Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:  # type: ignore[override]
        if self._task_factory is None:  # type: ignore[attr-defined]
            self._check_closed()  # type: ignore[attr-defined]
            task: asyncio.Task[T] = OrderedTask(coro, loop=self, **options)
        else:
            task = super().create_task(coro, **options)
        self._tasks.append(weakref.ref(task))
        if len(self._tasks) > self._tasks_enough:
            self._tasks = [known for known in self._tasks if (task_ := known()) is not None and not task_.done()]
            self._tasks_enough = 2 * len(self._tasks) + 256
        return task

    def unfinished_tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that are not done, oldest first (`asyncio.all_tasks` has an order of its own in every run)."""
        known = [task for task in (reference() for reference in self._tasks) if task is not None]
        # Libraries may make a `Task` without asking the loop.
        others = sorted(asyncio.all_tasks(self).difference(known), key=lambda t: (len(t.get_name()), t.get_name()))
        return [task for task in [*known, *others] if not task.done()]

    def _describe_stall(self) -> str:
        waiting = []
        for task in self.unfinished_tasks():
            frames = task.get_stack(limit=1)
            where = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "?"
            waiting.append(f"  {task.get_name()} at {where}")
        return (
            f"the world stands still at {self._now:.3f} s: no timer is set and no message is on its way, but these "
            f"tasks wait:\n" + "\n".join(sorted(waiting))
        )

    def _process_events(self, event_list: Any) -> None:
        """There is no selector, so there are no events."""

    def _write_to_self(self) -> None:
        """There is nobody to wake."""

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if self._thread_id is not None and self._thread_id != threading.get_ident():  # type: ignore[attr-defined]
            raise RuntimeError(
                "a thread called into a world on the virtual stage, where time stands still while it runs; "
                "programs that need threads belong on the live stage (--stage live)"
            )
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run `func` at once, in this thread: a world has no other."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            future.set_exception(error)
        return future

    # -- names

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        """Resolve a name of this world; anything else is an unknown name, and is recorded."""
        name = host.decode() if isinstance(host, bytes) else host
        address = self.network.resolve(name, PARTY.get())
        number = {"https": 443, "http": 80, None: 0}.get(port, port)
        return [(socket.AF_INET, type or socket.SOCK_STREAM, proto or socket.IPPROTO_TCP, "", (address, int(number)))]

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        return str(sockaddr[0]), str(sockaddr[1])

    # -- connections

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect a socket that never leaves the process (aiohappyeyeballs makes one, then calls this)."""
        if sock.fileno() < 0:
            raise OSError(errno.EBADF, "the socket is closed")
        target = (self.network.resolve(address[0], PARTY.get()), int(address[1]))
        await self.network.handshake(PARTY.get(), target)
        self._connecting[sock] = target

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        **ignored: Any,
    ) -> tuple[VirtualTransport, asyncio.BaseProtocol]:
        """Connect to a server of this world. `ssl` is taken as said: no bytes are encrypted, the wish is recorded."""
        party = PARTY.get()
        self.libraries.look()
        if sock is not None:
            if host is not None or port is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            target = self._connecting.pop(sock, None)
            if target is None:
                raise ValueError("the socket was not connected by this loop's sock_connect")
            sock.close()
        else:
            if host is None or port is None:
                raise ValueError("host and port was not specified and no sock specified")
            target = (self.network.resolve(host, party), int(port))
            await self.network.handshake(party, target)
        listener = self.network.listener(party, target)
        server_name = server_hostname or host
        if ssl and not listener.tls:
            # What OpenSSL says when the other end does not speak TLS at all.
            raise ssl_module.SSLError(
                ssl_module.SSL_ERROR_SSL, f"[SSL: WRONG_VERSION_NUMBER] wrong version number: {target} is no TLS port"
            )
        protocol = protocol_factory()
        transport = connect_pair(self, listener, party, protocol, tls=bool(ssl), sslcontext=ssl, sni=server_name)
        try:
            await transport.established
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        ssl: Any = None,
        start_serving: bool = True,
        **ignored: Any,
    ) -> VirtualServer:
        """Listen on an address of the party that runs this task."""
        self.libraries.look()
        if sock is not None:
            host, port = sock.getsockname()[:2]
            sock.close()
        one = host if isinstance(host, str) or host is None else next(iter(host), None)
        return self.network.listen(PARTY.get(), protocol_factory, one, port or 0, tls=bool(ssl))

    async def start_tls(
        self, transport: Any, protocol: Any, sslcontext: Any, *, server_hostname: str | None = None, **ignored: Any
    ) -> Any:
        """Take TLS as said from here on."""
        upgrade(transport, protocol, sslcontext, server_hostname or "")
        return transport

    # -- signals

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Callable[..., object], *args: Any
    ) -> None:
        """Take a handler; a world has no signals but those of `send_signal`."""
        self._signal_handlers[sig] = asyncio.Handle(callback, args, self)

    def remove_signal_handler(self, sig: int) -> bool:
        return self._signal_handlers.pop(sig, None) is not None

    def take_signal(self, sig: int, handler: Any) -> Any:
        """What `signal.signal` does inside a world (uvicorn uses it): the process's own handlers stay as they are."""
        previous = self.taken_signal(sig)
        self._plain_handlers[sig] = handler
        return previous

    def taken_signal(self, sig: int) -> Any:
        """What `signal.getsignal` says inside a world."""
        return self._plain_handlers.get(sig, signal.SIG_DFL)

    def send_signal(self, sig: int) -> bool:
        """Run the handler of a signal, be it asyncio's or a plain one; False when nobody handles it."""
        plain = self._plain_handlers.get(sig)
        if sig not in self._signal_handlers and callable(plain):
            plain(sig, None)
            return True
        handle = self._signal_handlers.get(sig)
        if handle is not None:
            self.call_soon(handle._run)
        return handle is not None

    # -- what a world does not have

    def _no(self, what: str, instead: str) -> NoReturn:
        raise NotImplementedError(f"{what} cannot run on the virtual stage: {instead}")

    async def create_datagram_endpoint(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._no("UDP (WebRTC, DNS libraries)", "use the live stage (--stage live)")

    async def create_unix_connection(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._no("a Unix socket", "use the live stage (--stage live)")

    async def create_unix_server(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._no("a Unix socket", "use the live stage (--stage live)")

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._no("a child process", "use the live stage (--stage live)")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._no("a child process", "use the live stage (--stage live)")

    def _blocked(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._no("a raw socket or file descriptor", "use asyncio's connections, or the live stage (--stage live)")

    add_reader = remove_reader = add_writer = remove_writer = _blocked  # type: ignore[assignment]

    async def _blocked_async(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._blocked()

    sock_recv = sock_recv_into = sock_sendall = sock_accept = sock_recvfrom = _blocked_async

    def close(self) -> None:
        if not self.is_closed():
            self._timers.clear()
            self._signal_handlers.clear()
            super().close()
