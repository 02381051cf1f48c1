"""A browser's network: pages, session calls, SDP offers and relays of the gateway under test, as a profile says."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode, urljoin, urlsplit

import aiohttp

from conformance.relay_pipe import DriverEnd, Pipe, RelayEnd, SocketEnd
from fakes.people.browser import Browser
from fakes.people.peers import PeerConnection, PeerEvents
from harness.driver import Answer as Operated
from harness.driver import load_driver
from harness.operations import Operator, drive
from harness.profile import Way, render, render_all
from harness.talk import ExplainTable, MintTable, RelayCodec, RelayTable, ToolTable, find
from harness.talk import fill as put
from harness.virtual.network import PARTY
from harness.virtual.stage import VirtualStage

if TYPE_CHECKING:
    from conformance.assembly import PhoneWorld

Transport = Literal["webrtc", "relay"]
SDP = "application/sdp"
CHANNEL = "talk.relay"
OPEN_SECONDS = 10.0
"""How long a page waits for its data channel or its WebSocket."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a browser's request. `json` is the parsed body, None when it is none."""

    status: int
    headers: Mapping[str, str]
    text: str
    json: Any = None

    @property
    def ok(self) -> bool:
        """Whether it is one of success."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Grant:
    """What a gateway gave a browser: for WebRTC a secret and where to send the offer, for a relay its address."""

    transport: Transport
    answer: Answer = field(repr=False)
    secret: str = field(default="", repr=False)
    offer_url: str = ""
    url: str = ""
    model: str | None = None


class Refused(AssertionError):
    """The gateway, or OpenAI, did not let the browser talk. `answer` is what it said."""

    def __init__(self, what: str, answer: Answer) -> None:
        super().__init__(f"{what}: {answer.status} {answer.text[:300]}")
        self.answer = answer


class Web:
    """What browsers do in one world. `origin` is that of the gateway's pages."""

    def __init__(self, world: PhoneWorld, peer: Callable[[PeerEvents], PeerConnection]) -> None:
        self._world = world
        self._talk = world.profile.talk
        self._peer = peer
        virtual = isinstance(world.stage, VirtualStage)
        # aiohttp has read whom to trust when it was imported; the authority of an enclosure is younger than that.
        connector = None if virtual else aiohttp.TCPConnector(ssl=ssl.create_default_context())
        self._http = aiohttp.ClientSession(connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        self._requests = 0
        self._readers: set[asyncio.Task[None]] = set()
        self._driven_pipes: list[Pipe] = []
        self._operator = Operator(self._http, world.wire.record, party="browser", commands=not virtual)
        self.browsers: list[Browser] = []
        self.origin = world.values()["public_url"]

    async def close(self) -> None:
        """Everybody closes their browser."""
        for browser in self.browsers:
            await browser.leave()
        for pipe in self._driven_pipes:
            await pipe.finish()
        for reader in self._readers:
            reader.cancel()
        await self._http.close()

    # -- requests

    async def page(self, path: str | None = None) -> Answer:
        """Open the gateway's page, or another path of the gateway."""
        return await self.request("GET", self.origin + (path if path is not None else self.page_path()), origin=None)

    def page_address(self) -> str:
        """The path of the page, with the fragment that a person's link has."""
        if self._talk.page is None:
            raise AssertionError(f"the profile of {self._world.profile.name} has no talk.page")
        return self._fill(self._talk.page, "talk.page")

    async def prepares(self, page: Any) -> None:
        """Get the page in a browser ready to be used, where the profile has a driver for that."""
        table = self._talk.browser
        if table is None or table.start is None:
            return
        gateway = self._world.handle()
        try:
            await drive(gateway, table.start, load_driver(gateway.folder, table.start)(gateway, page=page))
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            raise AssertionError(f"the page could not be made ready: {type(error).__name__}: {error}") from None

    def page_path(self) -> str:
        """The path of the page, without its fragment, which a browser keeps to itself."""
        return self.page_address().partition("#")[0]

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        origin: str | None = "",
    ) -> Answer:
        """Send a request as a browser does. `origin`: None for none; by default that of the gateway's pages."""
        sent = {} if origin is None else {"Origin": origin or self.origin}
        sent.update(headers or {})
        address, routed = self._address(url)
        ours = url.startswith(self.origin)
        self._requests += 1
        connection = f"browser/http#{self._requests}"
        if ours:
            meta = {"method": method, "url": url, "headers": list(sent.items())}
            self._world.wire.record(
                "browser", "gateway", "gateway.http", "request", body, connection=connection, meta=meta
            )
        with as_browser():
            try:
                request = self._http.request(
                    method, address, data=body, headers={**sent, **routed}, allow_redirects=False
                )
                async with request as answer:
                    text = (await answer.read()).decode(errors="replace")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise AssertionError(f"the browser could not {method} {url}: {type(error).__name__}: {error}") from None
        answered = Answer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, text, _parsed(text))
        if ours:
            told: dict[str, Any] = {"status": answer.status, "headers": list(answer.headers.items())}
            self._world.wire.record(
                "gateway", "browser", "gateway.http", "response", text, connection=connection, meta=told
            )
        return answered

    def _address(self, url: str) -> tuple[str, dict[str, str]]:
        """Where a URL is to be reached, and the Host header that it takes there."""
        parts = urlsplit(url)
        route = self._world.stage.routes().get(parts.hostname or "")
        if route is None:
            return url, {}
        rest = url.split(parts.netloc, 1)[1]
        scheme = "ws" if parts.scheme.startswith("ws") else "http"
        return f"{scheme}{route.removeprefix('http')}{rest}", {"Host": parts.netloc}

    def _fill(self, template: str, key: str, **more: str) -> str:
        return render(template, {**self._world.values(), **more}, key, self._world.profile.folder)

    async def _asks(
        self,
        table: MintTable | RelayTable | ToolTable | ExplainTable,
        key: str,
        *,
        headers: Mapping[str, str] | None = None,
        origin: str | None = "",
        fill: Mapping[str, str] | None = None,
        token: str | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Make a request of the profile. `token` goes in the place of the talk token (an empty one: headers that would
        carry it are left out); `body` fills placeholders of the JSON that are nothing but one."""
        if table.request is None:
            return await self._operates(table, key, fill=fill or {}, token=token, typed=body or {})
        method, _, path = table.request.partition(" ")
        more = {**(fill or {}), **{name: f"{{{name}}}" for name in body or {}}}
        templates = table.headers
        if token is not None:
            more["talk.token"] = token
            templates = {name: text for name, text in templates.items() if token or "{talk.token}" not in text}
        sent = {name: self._fill(value, f"{key}.headers", **more) for name, value in templates.items()}
        text = None
        if table.json is not None:
            sent["Content-Type"] = "application/json"
            rendered = render_all(table.json, lambda text: self._fill(text, f"{key}.json", **more))
            text = json.dumps(put(rendered, body or {}))
        sent.update(headers or {})
        if table.form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            text = urlencode({name: self._fill(value, f"{key}.form", **more) for name, value in table.form.items()})
        sent = {name: value for name, value in sent.items() if value}
        url = self._fill(path, f"{key}.request", **more)
        url = self.origin + url if url.startswith("/") else url
        return await self.request(method, url, headers=sent, body=text, origin=origin)

    async def _operates(
        self, table: Way, key: str, *, fill: Mapping[str, str], token: str | None, typed: Mapping[str, Any]
    ) -> Answer:
        """Ask in another way than by a request of a browser's: there is neither an Origin nor are there headers."""
        self._requests += 1
        told = await self._operator.perform(
            table,
            self._world.handle(**({} if token is None else {"talk.token": token})),
            fill,
            key=key,
            connection=f"browser/operation#{self._requests}",
            typed=typed,
        )
        return _answer(told)

    # -- getting a session

    async def asks(
        self,
        transport: Transport,
        *,
        headers: Mapping[str, str] | None = None,
        origin: str | None = "",
        token: str | None = None,
    ) -> Answer:
        """Make the session call of the profile, with `headers` in the place of its own (an empty one is left out), and
        `token` in the place of the talk token (an empty one: without any)."""
        table = self._table(transport)
        return await self._asks(table, f"talk.{transport}", headers=headers, origin=origin, token=token)

    def _table(self, transport: Transport) -> MintTable | RelayTable:
        table = self._talk.webrtc if transport == "webrtc" else self._talk.relay
        if table is None:
            raise AssertionError(f"the profile of {self._world.profile.name} has no [talk.{transport}]")
        return table

    async def granted(self, transport: Transport) -> Grant:
        """Make the session call, and read its answer. Raises `Refused`; AssertionError for one that lacks something."""
        table = self._table(transport)
        if isinstance(table, RelayTable) and table.driver is not None:
            return Grant("relay", Answer(200, {}, ""))  # the driver does all of it when the relay is opened
        if isinstance(table, RelayTable) and table.kind is None:
            url = self._fill(table.url, "talk.relay.url")
            return Grant("relay", Answer(200, {}, ""), url=self._socket_url(url))
        answer = await self._asks(table, f"talk.{transport}")
        return self.read(transport, answer)

    def read(self, transport: Transport, answer: Answer) -> Grant:
        """What a session call was answered. Raises `Refused`; AssertionError for an answer that lacks something."""
        if not answer.ok:
            raise Refused(f"the gateway refused a {transport} session", answer)
        table = self._table(transport)
        if isinstance(table, RelayTable):
            return Grant("relay", answer, url=self._socket_url(self._found(answer, table.url, "talk.relay.url")))
        offer_url = f"{self._world.values()['openai.base_url']}/realtime/calls"
        if table.offer_url is not None:
            offer_url = self._found(answer, table.offer_url, "talk.webrtc.offer_url")
        model = find(answer.json, table.model) if table.model is not None else None
        secret = self._found(answer, table.secret, "talk.webrtc.secret")
        return Grant("webrtc", answer, secret=secret, offer_url=offer_url, model=model)

    @staticmethod
    def _found(answer: Answer, path: str, key: str) -> str:
        value = find(answer.json, path)
        if not isinstance(value, str) or not value:
            keys = ", ".join(answer.json) if isinstance(answer.json, dict) else "no JSON object"
            raise AssertionError(f"the answer to the session call has no text at {path!r} ({key}); it has {keys}")
        return value

    def _socket_url(self, url: str) -> str:
        absolute = urljoin(self.origin + "/", url)
        return "ws" + absolute.removeprefix("http") if absolute.startswith("http") else absolute

    # -- talking

    async def talks(self, transport: Transport, *, within: float = OPEN_SECONDS, ready: bool = True) -> Browser:
        """Somebody opens the page and talks: session call, connection. Raises `Refused` or AssertionError.

        `ready`: whether to wait until a relay says that it is, where the profile knows how it says that.
        """
        return await self.joins(await self.granted(transport), within=within, ready=ready)

    async def joins(self, grant: Grant, *, within: float = OPEN_SECONDS, ready: bool = True) -> Browser:
        """Somebody uses what the gateway gave them; see `talks`. Raises `Refused` or AssertionError."""
        if grant.transport == "webrtc":
            return await self._joins_webrtc(grant, within)
        return await self._joins_relay(grant, within if ready else None)

    def _browser(self, rate: int = 24000) -> Browser:
        tool = self._runs if self._talk.tool is not None else None
        browser = Browser(self._world.openai.ports, ordinal=len(self.browsers) + 1, tool=tool, rate=rate)
        self.browsers.append(browser)
        return browser

    async def _runs(self, name: str, arguments: str) -> str:
        try:
            answer = await self.runs(name, arguments)
        except AssertionError as error:
            return json.dumps({"error": str(error)})
        table = self._talk.tool
        output = find(answer.json, table.output) if table is not None and answer.ok else None
        return output if isinstance(output, str) else json.dumps({"error": f"the tool call answered {answer.status}"})

    async def runs(self, name: str, arguments: str, *, origin: str | None = "", token: str | None = None) -> Answer:
        """Make the tool call of the profile; `token` as for `asks`."""
        table = self._talk.tool
        if table is None:
            raise AssertionError(f"the profile of {self._world.profile.name} has no [talk.tool]")
        return await self._asks(
            table, "talk.tool", fill={"name": name, "arguments": arguments}, origin=origin, token=token
        )

    async def explained(self, refusal: Answer) -> Answer:
        """Ask the gateway what a refusal of OpenAI's means."""
        table = self._talk.explain
        if table is None:
            raise AssertionError(f"the profile of {self._world.profile.name} has no [talk.explain]")
        return await self._asks(table, "talk.explain", body={"status": refusal.status, "body": refusal.text})

    async def offers(self, grant: Grant, offer: str) -> Answer:
        """Send an SDP offer where the gateway said, as a browser does: it asks first whether it may."""
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
        if not grant.offer_url.startswith(self.origin):
            allowed = await self.request("OPTIONS", grant.offer_url, headers=asks)
            if allowed.headers.get("access-control-allow-origin") not in ("*", self.origin):
                raise AssertionError(f"a browser may not send to {grant.offer_url}: its preflight was refused")
        headers = {"Authorization": f"Bearer {grant.secret}", "Content-Type": SDP}
        return await self.request("POST", grant.offer_url, headers=headers, body=offer)

    async def _joins_webrtc(self, grant: Grant, within: float) -> Browser:
        browser = self._browser()
        events = _Events(browser)
        peer = self._peer(events)
        try:
            with as_browser():
                offer = await peer.offer()
            answer = await self.offers(grant, offer)
            if answer.status != 201:
                raise Refused("OpenAI refused the browser's offer", answer)
            with as_browser():
                await peer.accept(answer.text)
            async with asyncio.timeout(within):
                await events.opening
        except TimeoutError:
            await peer.close()
            raise AssertionError(f"the data channel was not open within {within:g} s") from None
        except BaseException:
            events.opening.cancel()  # nobody waits for it any more
            await peer.close()
            raise
        browser.join_peer(peer)
        events.joined()
        return browser

    async def opens(
        self, url: str, *, origin: str | None = "", headers: Mapping[str, str] | None = None
    ) -> aiohttp.ClientWebSocketResponse | int:
        """Open a relay's WebSocket; returns it, or the status with which it was refused."""
        return await self._open(url, self._relay_name(), origin=origin, headers=headers)

    def _relay_name(self) -> str:
        self._requests += 1
        return f"browser/relay#{self._requests}"

    async def _open(
        self, url: str, connection: str, *, origin: str | None = "", headers: Mapping[str, str] | None = None
    ) -> aiohttp.ClientWebSocketResponse | int:
        address, routed = self._address(url)
        sent = {} if origin is None else {"Origin": origin or self.origin}
        sent.update(headers or {})
        record = self._world.wire.record
        meta: dict[str, Any] = {"url": url, "headers": list(sent.items())}
        record("browser", "gateway", CHANNEL, "upgrade", connection=connection, meta=meta)
        with as_browser():
            try:
                socket = await self._http.ws_connect(
                    address, headers={**sent, **routed}, max_msg_size=0, autoping=True, timeout=_CLOSING
                )
            except aiohttp.WSServerHandshakeError as error:
                refused: dict[str, Any] = {"status": error.status}
                record("gateway", "browser", CHANNEL, "upgrade.refused", connection=connection, meta=refused)
                return error.status
            except (aiohttp.ClientError, OSError) as error:
                raise AssertionError(f"the browser could not open {url}: {type(error).__name__}: {error}") from None
        record("gateway", "browser", CHANNEL, "upgrade.accepted", connection=connection)
        return socket

    async def _driven(self, driver: str, seconds: float, connection: str) -> DriverEnd:
        """Let a driver open the relay. Raises `Refused`; AssertionError when it cannot reach the gateway."""
        record = self._world.wire.record
        gateway = self._world.handle()
        record("browser", "gateway", CHANNEL, "upgrade", connection=connection, meta={"url": driver})
        with as_browser():
            try:
                async with asyncio.timeout(seconds):
                    opened = await drive(gateway, driver, load_driver(gateway.folder, driver)(gateway))
            except (OSError, TimeoutError, aiohttp.ClientError) as error:
                raise AssertionError(f"the relay could not be opened: {type(error).__name__}: {error}") from None
        if isinstance(opened, Operated):
            meta = {"status": opened.status, "body": opened.body}
            record("gateway", "browser", CHANNEL, "upgrade.refused", connection=connection, meta=meta)
            raise Refused("the gateway refused the relay", _answer(opened))
        record("gateway", "browser", CHANNEL, "upgrade.accepted", connection=connection)
        return DriverEnd(opened, gateway.folder / driver.rpartition(":")[0])

    async def _joins_relay(self, grant: Grant, within: float | None) -> Browser:
        table = self._table("relay")
        assert isinstance(table, RelayTable)
        codec = RelayCodec(table)
        connection = self._relay_name()
        end: RelayEnd
        if table.driver is not None:
            end = await self._driven(table.driver, table.timeout or OPEN_SECONDS, connection)
        else:
            socket = await self._open(grant.url, connection)
            if isinstance(socket, int):
                raise Refused("the gateway refused the relay", Answer(socket, {}, ""))
            end = SocketEnd(socket)
        browser = self._browser(codec.rate)
        pipe = Pipe(self._world, end, codec, connection)
        if table.driver is not None:
            self._driven_pipes.append(pipe)
        with as_browser():
            browser.join_relay(pipe, codec)
            reader = asyncio.get_running_loop().create_task(pipe.read(browser))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        if table.ready is not None and within is not None:
            await browser.is_told("ready", within)
        return browser


_CLOSING = aiohttp.ClientWSTimeout(ws_close=2.0)


class _Events:
    """A peer connection's events: what comes before the page is ready for it waits."""

    def __init__(self, browser: Browser) -> None:
        self.opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._browser = browser
        self._early: list[str] | None = []

    def joined(self) -> None:
        """The page is ready."""
        early, self._early = self._early or [], None
        for text in early:
            self._browser.event(text)

    def opened(self) -> None:
        """The data channel is open."""
        if not self.opening.done():
            self.opening.set_result(None)

    def message(self, text: str) -> None:
        """An event on the data channel."""
        if self._early is not None:
            self._early.append(text)
        else:
            self._browser.event(text)

    def audio(self, pcm: bytes) -> None:
        """Sound, as it is played."""
        if self._browser.is_connected:
            self._browser.sound(pcm)

    def closed(self, reason: str) -> None:
        """The connection is over."""
        if not self.opening.done():
            self.opening.set_exception(AssertionError(f"the peer connection did not come up: {reason}"))
        self._browser.over(reason)


@contextmanager
def as_browser() -> Iterator[None]:
    """What is connected inside belongs to the browser."""
    token = PARTY.set("browser")
    try:
        yield
    finally:
        PARTY.reset(token)


def _answer(told: Operated) -> Answer:
    text = told.body if isinstance(told.body, str) else json.dumps(told.body)
    return Answer(told.status, {}, text, told.body)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
