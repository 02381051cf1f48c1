"""Azure OpenAI: the address, the dialect and the deployment; calls work there as they do at OpenAI."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from conformance.azure import RESOURCE
from conformance.azure_faults import call_fails, is_served, says, with_deployment
from conformance.invariants_azure import contacts, host_of, of_openai, upgrades
from harness.suite import Checks, case

ODD_NAME = "Voice_Agent.v2+eu"
PROXY = "llm-proxy.example.test"
ENDPOINT = f"https://{RESOURCE}.openai.azure.com"


@case(about="AZ-EP-015", claims=["phone.inbound"], vendor="azure")
async def test_a_call_through_azure(world: PhoneWorld, check: Checks) -> None:
    """Somebody calls, is greeted, asks two questions and is answered. The gateway has no OpenAI key."""
    caller = await world.incoming()
    with check.expects("AZ-AU-001"):
        await caller.hears("greeting", within=12)
    session = await world.session(1)
    await caller.says("what_time")
    with check.expects("AZ-EP-015"):
        await world.model_hears(session, "what_time", within=5)
        await caller.hears("its_noon", within=8)
        await caller.says("thanks")
        await caller.hears("anything_else", within=8)
    caller.hang_up()
    with check.expects("LIFE-001"):
        await world.session_ends(session, within=5)


@case(about="AZ-EP-017", claims=["phone.inbound", "tools"], vendor="azure")
async def test_a_tool_through_azure(world: PhoneWorld, check: Checks) -> None:
    """The caller asks for the weather; the deployment calls a tool, and the caller hears what came of it."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    await caller.says("weather")
    with check.expects("AZ-EP-017"):
        await world.sees("response.function_call_arguments.done", source="azure", within=8)
        await caller.hears("weather_sunny", within=12)


@case(about="AZ-EP-016", claims=["phone.inbound", "phone.barge_in"], vendor="azure")
async def test_an_interruption_through_azure(world: PhoneWorld, check: Checks) -> None:
    """The caller interrupts a long answer of a deployment that takes semantic_vad and does nothing about it."""
    caller = await world.incoming()
    await caller.hears("greeting", within=12)
    with check.expects("AZ-EP-016"):
        await caller.says("long_story")
        await caller.starts_hearing("long_answer", within=10)
        await world.passes(1)
        asked = world.wire[len(world.wire) - 1]
        caller.start_saying("what_time")
        await world.sees("input_audio_buffer.speech_started", source="azure", after=asked, within=5)
        await world.sees("clear", source="gateway", after=asked, within=3)
        await caller.hears("its_noon", within=10)


@case(about="AZ-EP-011", claims=["phone.inbound"], vendor="azure", settings={"azure.deployment": ODD_NAME})
async def test_a_deployment_with_a_name_of_its_own(world: PhoneWorld, check: Checks) -> None:
    """The name has capitals, a dot, an underscore and a plus sign."""
    with_deployment(world, ODD_NAME)
    await is_served(world, check, "AZ-EP-011")


@case(
    about="AZ-EP-012",
    claims=["phone.inbound"],
    vendor="azure",
    settings={"azure.endpoint": f"{ENDPOINT}/"},
    stages=["virtual", "enclosed"],
)
async def test_an_endpoint_that_ends_in_a_slash(world: PhoneWorld, check: Checks) -> None:
    """As the portal shows it."""
    await is_served(world, check, "AZ-EP-012")


@case(
    about="AZ-EP-013",
    claims=["phone.inbound"],
    vendor="azure",
    settings={"azure.endpoint": f"{ENDPOINT}/openai/v1"},
    stages=["virtual", "enclosed"],
    may_refuse=True,
)
async def test_an_endpoint_with_a_path(world: PhoneWorld, check: Checks) -> None:
    """As an SDK wants it for its base URL."""
    if world.started:
        await is_served(world, check, "AZ-EP-013")
    else:
        says(check, "AZ-EP-013", world.gateway.output(), "endpoint")


@case(
    about="AZ-EP-014",
    claims=["phone.inbound"],
    vendor="azure",
    settings={"azure.endpoint": f"https://{RESOURCE}.services.ai.azure.com"},
    stages=["virtual", "enclosed"],
)
async def test_the_endpoint_of_a_foundry_resource(world: PhoneWorld, check: Checks) -> None:
    """The resource is known as services.ai.azure.com."""
    await is_served_there(world, check)


@case(
    about="AZ-EP-014",
    claims=["phone.inbound"],
    vendor="azure",
    settings={"azure.endpoint": f"https://{RESOURCE}.cognitiveservices.azure.com"},
    stages=["virtual", "enclosed"],
)
async def test_the_endpoint_of_an_ai_services_resource(world: PhoneWorld, check: Checks) -> None:
    """The resource is known as cognitiveservices.azure.com."""
    await is_served_there(world, check)


async def is_served_there(world: PhoneWorld, check: Checks) -> None:
    """A caller is served, and it is by the host that is configured."""
    await is_served(world, check, "AZ-EP-014")
    host = host_of(world.values()["azure.endpoint"])
    elsewhere = [m for m in upgrades(world.wire) if host_of(str(m.meta.get("url", ""))) != host]
    check.none("AZ-EP-014", elsewhere, f"a session is asked for at another host than {host}")


@case(
    about="AZ-EP-020",
    claims=["phone.inbound"],
    vendor="azure",
    settings={"azure.endpoint": ENDPOINT.replace("https", "http")},
    stages=["virtual", "enclosed"],
    may_refuse=True,
)
async def test_an_endpoint_without_tls(world: PhoneWorld, check: Checks) -> None:
    """The endpoint begins with http: whatever comes of the call, nothing goes to port 80."""
    await call_fails(world, check)


@case(
    about="AZ-EP-018",
    claims=["phone.inbound"],
    settings={"openai.base_url": f"https://{PROXY}/v1", "openai.ws_url": f"wss://{PROXY}/v1"},
    hosts={"openai": [PROXY]},
    stages=["virtual", "enclosed"],
)
async def test_openai_behind_a_proxy(world: PhoneWorld, check: Checks) -> None:
    """Nothing is said of Azure, and the base URL is that of a proxy which speaks as OpenAI does."""
    await is_served(world, check, "AZ-EP-018")
    asked = [name for name, _ in contacts(world.wire, world.stage.looked_up())]
    elsewhere = [name for name in asked if of_openai(name) and name != "openai"]
    check("AZ-EP-018", not elsewhere, f"the gateway turns to {', '.join(elsewhere)} and not to the proxy only")


@case(about="AZ-EP-019", claims=["talk.webrtc"], dialect="ga")
async def test_openai_itself_over_webrtc(world: PhoneWorld, check: Checks) -> None:
    """Nothing is said of Azure: a browser gets a client secret and talks to OpenAI itself."""
    with check.expects("AZ-EP-019"):
        browser = await world.web.talks("webrtc")
        await browser.says("what_time")
        await browser.hears("its_noon", within=10, complete=None)
