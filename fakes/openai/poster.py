"""The aiohttp shell of the vendor's webhooks: makes the requests, and decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from fakes.openai.service import OpenAIService
from fakes.openai.webhooks import Delivery, Outcome


class WebhookPoster:
    """Makes the requests of a service's webhooks, each in a task of its own.

    `routes`: public hosts (`gw.example.test`, `gw.example.test:8443`) to base addresses (`http://127.0.0.1:8123`), for
    a receiver that listens somewhere else than its public URL says; the request keeps the Host header of that.
    """

    def __init__(self, service: OpenAIService, routes: Mapping[str, str] | None = None) -> None:
        self.routes = dict(routes or {})
        self._service = service
        self._http: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        service.webhooks.poster = self

    def post(self, delivery: Delivery) -> None:
        """See `Poster.post`."""
        task = asyncio.get_running_loop().create_task(self._post(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def close(self) -> None:
        """End what is still under way."""
        self._service.webhooks.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a webhook of the fake OpenAI failed", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    async def _post(self, delivery: Delivery) -> None:
        webhooks = self._service.webhooks
        async with self._service.ports.gates.delivery(delivery.point):
            webhooks.sent(delivery)
            webhooks.answered(delivery, await self._exchange(delivery))
            self._service.changed()

    async def _exchange(self, delivery: Delivery) -> Outcome:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept", "Accept-Encoding"),
            )
        url, headers = self._address(delivery)
        try:
            async with self._http.post(
                url,
                data=delivery.body.encode(),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=delivery.timeout),
                allow_redirects=False,
            ) as response:
                body = await response.read()
                return Outcome(response.status, tuple(response.headers.items()), body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Outcome(None, failure=str(error) or type(error).__name__)

    def _address(self, delivery: Delivery) -> tuple[URL, list[tuple[str, str]]]:
        """Where the public URL is really served, and the headers to send there."""
        parts = urlsplit(delivery.url)
        route = self.routes.get(parts.netloc) or self.routes.get(parts.hostname or "")
        if route is None:
            return URL(delivery.url, encoded=True), list(delivery.headers)
        target = route.rstrip("/") + (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return URL(target, encoded=True), [("Host", parts.netloc), *delivery.headers]
