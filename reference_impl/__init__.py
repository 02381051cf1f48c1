"""A compact, correct voice gateway: Twilio Media Streams or a browser on one side, OpenAI or Azure OpenAI Realtime on
the other.

It is a model of how to do it, and the gateway that the conformance suite is proven with. `app.main` serves it; it is
built from pieces that can be replaced one by one (`gateway.Gateway` names them as class attributes).
"""
