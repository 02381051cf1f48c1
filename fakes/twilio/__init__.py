"""A fake Twilio: Calls over REST, signed webhooks, TwiML, Media Streams.

`Twilio` is the core, a state machine without sockets; `fakes.twilio.server.TwilioServer` is its aiohttp shell.
"""

from fakes.twilio.boundary import PhoneNumber
from fakes.twilio.call import Call, CallStatus
from fakes.twilio.core import KNOBS, Twilio, default_knobs
from fakes.twilio.signature import signature
from fakes.twilio.stream import Stream

__all__ = ["KNOBS", "Call", "CallStatus", "PhoneNumber", "Stream", "Twilio", "default_knobs", "signature"]
