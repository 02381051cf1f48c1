"""Faithful fake vendors: OpenAI Realtime, Azure OpenAI, Entra, Twilio, and the people on the phone.

A fake is a plain state machine (messages and the time in, messages and timers out) with one thin aiohttp shell around
it. It knows nothing of the harness: what it needs from its surroundings is in `fakes.ports`.
"""
