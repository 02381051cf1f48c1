"""The words of profiles: the settings that a world has, and the features that a gateway may claim."""

from __future__ import annotations

VOCABULARY = {
    "listen.host": "the address that the gateway binds to",
    "listen.port": "the port that it listens at",
    "listen.second_port": "another port, for gateways that listen at two",
    "public_url": "the URL under which Twilio reaches it, such as https://gw.example.test",
    "public_host": "the host of public_url",
    "openai.provider": "whose models it uses: openai or azure-openai",
    "openai.api_key": "the OpenAI API key",
    "openai.base_url": "where the OpenAI API is, such as https://api.openai.com/v1",
    "openai.ws_url": "the same with ws or wss",
    "openai.model": "the realtime model",
    "azure.endpoint": "the Azure OpenAI resource, such as https://contoso.openai.azure.com",
    "azure.deployment": "the name of the deployment in that resource",
    "azure.api_version": "the api-version of the preview API; not set where the v1 API is used",
    "azure.api_key": "a key of that resource",
    "azure.api_key_file": "a file with such a key in it, which may be exchanged at any time",
    "azure.tenant_id": "the tenant of Microsoft Entra ID",
    "azure.client_id": "the application, or the managed identity",
    "azure.client_secret": "the secret of the application",
    "azure.authority_host": "where Entra ID is, such as https://login.microsoftonline.com",
    "azure.federated_token_file": "the file with the token of a workload identity",
    "azure.identity_endpoint": "where App Service hands out tokens of a managed identity",
    "azure.identity_header": "the secret that this endpoint wants",
    "twilio.account_sid": "the Twilio account",
    "twilio.auth_token": "its auth token",
    "twilio.base_url": "where the Twilio API is, such as https://api.twilio.com",
    "twilio.number": "the gateway's own telephone number",
    "operator.token": "the bearer token of the gateway's own API",
    "talk.token": "the token by which a browser may talk",
    "call.max_seconds": "how long a call may last, in seconds; set where a case has a longer one",
}
"""The settings that a world has. A profile maps those that its gateway can be told."""

PLACES = {
    "python": "the Python that runs callproof",
    "profile": "the folder of the profile",
    "cache": "where `setup` installs, one folder for each version of the gateway and of its installation",
    "home": "a new, empty folder for every start of the gateway",
    "version": "the version of the gateway that is tried",
}
"""What placeholders can stand for besides settings."""

CLAIMS = {
    "phone.inbound": "answers inbound calls",
    "phone.outbound": "places outbound calls",
    "phone.signature": "checks Twilio's signature on webhooks",
    "phone.stream_token": "protects the media stream by a token or a signature of its own",
    "phone.status_callbacks": "takes status callbacks",
    "phone.dtmf": "passes pressed keys to the model",
    "phone.barge_in": "stops speaking when the caller interrupts",
    "phone.greeting": "speaks first",
    "tools": "has function tools that the model can call",
    "tools.end_call": "has a tool by which the model ends the call",
    "openai.ga": "speaks the GA dialect",
    "openai.beta": "speaks the beta dialect to the models that want it",
    "talk.webrtc": "gives browsers a client secret with which they talk to OpenAI themselves",
    "talk.relay": "relays between a browser's WebSocket and OpenAI",
    "talk.page": "serves a page to talk from",
    "talk.browser": "has a page that can be used in a real browser",
    "talk.token": "lets nobody talk who has no token",
    "talk.explain": "turns OpenAI's refusal of a browser's call into words for the person",
    "talk.tools": "runs function tools for browsers that talk to OpenAI themselves",
    "azure.ga": "speaks the v1 API of Azure OpenAI",
    "azure.beta": "speaks the preview API of Azure OpenAI, with an api-version",
    "azure.entra": "gets its access to Azure OpenAI from Microsoft Entra ID",
    "azure.key_file": "reads its key of Azure OpenAI from a file, and again when it was exchanged there",
    "azure.relay": "relays between browsers and Azure OpenAI",
    "doctor": "can be asked what is wrong with its settings",
    "operator.hangup": "can be told to end a call",
    "health": "answers a health request",
}
"""Features that a gateway may claim. Cases of a feature that is not claimed are unsupported."""

OPERATIONS = {
    "call": "places an outbound call to {to}",
    "hangup": "ends the call {call_sid}",
    "health": "says whether the gateway is well",
    "doctor": "says what is wrong with the gateway's settings",
}
"""What an operator can do with a gateway."""
