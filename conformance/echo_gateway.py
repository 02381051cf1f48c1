"""The least gateway there is, for `callproof bench`: it answers with a stream and sends back every frame."""

from __future__ import annotations

import sys

from aiohttp import WSMsgType, web

TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response><Connect><Stream url="{url}"/></Connect></Response>'


async def voice(request: web.Request) -> web.Response:
    """Answer with a stream to this server."""
    return web.Response(text=TWIML.format(url=f"ws://{request.host}/media"), content_type="text/xml")


async def media(request: web.Request) -> web.WebSocketResponse:
    """Send every media frame back."""
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    sid = ""
    async for message in ws:
        if message.type is not WSMsgType.TEXT:
            continue
        text = message.data
        if text.startswith('{"event":"media"'):
            payload = text.split('"payload":"', 1)[1].split('"', 1)[0]
            await ws.send_str(f'{{"event":"media","streamSid":"{sid}","media":{{"payload":"{payload}"}}}}')
        elif text.startswith('{"event":"start"'):
            sid = message.json()["streamSid"]
    return ws


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.post("/voice", voice), web.get("/media", media)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
