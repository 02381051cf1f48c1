"""Azure OpenAI: a dozen things that can be wrong. Nobody else takes Azure's place, and the cause is told."""

from __future__ import annotations

from conformance.assembly import PhoneWorld
from conformance.azure import PREVIEW, SECRET_OF_SOMEBODY_ELSE
from conformance.azure_faults import (
    BLOCKED,
    CLOSED,
    EXHAUSTED,
    NO_DEPLOYMENT,
    WRONG_KEY,
    call_fails,
    failing_call,
    names_azure,
    no_platform,
    says,
    says_why,
    shortened,
)
from conformance.invariants_azure import query_of, upgrades
from fakes.azure.entra import TokenPlan
from harness.suite import Checks, case

WRONG_VERSION = "2023-05-15"
NOWHERE = "https://contoso-vioce.openai.azure.com"


@case(about="AZ-ER-002", claims=["phone.inbound"], vendor="azure")
async def test_the_key_was_regenerated(world: PhoneWorld, check: Checks) -> None:
    """401: the key is no longer one of the resource's. Then it is put back."""
    await failing_call(world, check, WRONG_KEY)


@case(about="AZ-ER-002", claims=["phone.inbound"], vendor="azure")
async def test_the_deployment_does_not_exist(world: PhoneWorld, check: Checks) -> None:
    """404 DeploymentNotFound. Then it is made."""
    await failing_call(world, check, NO_DEPLOYMENT)


@case(about="AZ-ER-002", claims=["phone.inbound"], vendor="azure")
async def test_a_network_rule_keeps_the_gateway_out(world: PhoneWorld, check: Checks) -> None:
    """403: the resource takes requests from some networks only. Then the rule is changed."""
    await failing_call(world, check, CLOSED)


@case(about="AZ-ER-002", claims=["phone.inbound"], vendor="azure")
async def test_the_resource_is_blocked(world: PhoneWorld, check: Checks) -> None:
    """403: Azure has blocked the resource for a while."""
    await failing_call(world, check, BLOCKED)


@case(about="AZ-ER-018", claims=["phone.inbound"], vendor="azure")
async def test_the_quota_is_used_up(world: PhoneWorld, check: Checks) -> None:
    """429, with the time after which to try again."""
    await failing_call(world, check, EXHAUSTED)


@case(
    about="AZ-ER-002",
    claims=["phone.inbound"],
    vendor="azure",
    settings={"azure.endpoint": NOWHERE},
    stages=["virtual", "enclosed"],
)
async def test_the_resource_does_not_exist(world: PhoneWorld, check: Checks) -> None:
    """A letter of the endpoint is wrong: its name does not resolve."""
    text = await call_fails(world, check)
    _, endpoint = names_azure(world, text)
    check("AZ-ER-011", endpoint, f"the endpoint is not named; printed: {shortened(text)}")
    no_platform(check, "AZ-ER-007", text)


@case(
    about="AZ-ER-002",
    claims=["phone.inbound"],
    dialect="beta",
    vendor="azure",
    settings={"azure.api_version": WRONG_VERSION},
    may_refuse=True,
)
async def test_the_api_version_is_wrong(world: PhoneWorld, check: Checks) -> None:
    """404: the api-version is one that has no realtime sessions."""
    text = await call_fails(world, check)
    if world.started:
        says_why(world, check, text)
    check("AZ-ER-012", WRONG_VERSION in text, f"the api-version is not named; printed: {shortened(text)}")


@case(
    about="AZ-ER-002",
    claims=["phone.inbound"],
    dialect="beta",
    vendor="azure",
    knobs={"azure.preview_retired": "now"},
    may_refuse=True,
)
async def test_the_preview_is_retired(world: PhoneWorld, check: Checks) -> None:
    """404: the preview with that api-version is gone."""
    text = await call_fails(world, check)
    if world.started:
        says_why(world, check, text)
    check("AZ-ER-012", PREVIEW in text, f"the api-version is not named; printed: {shortened(text)}")


@case(
    about="AZ-ER-008",
    claims=["phone.inbound"],
    vendor="azure",
    settings={"azure.endpoint": None},
    may_refuse=True,
)
async def test_there_is_no_endpoint(world: PhoneWorld, check: Checks) -> None:
    """The gateway is told of a deployment and of a key, and not of an endpoint."""
    text = await call_fails(world, check)
    says(check, "AZ-ER-008", text, "endpoint")
    no_platform(check, "AZ-ER-007", text)


@case(
    about="AZ-ER-009",
    claims=["phone.inbound"],
    vendor="azure",
    settings={"azure.deployment": None},
    may_refuse=True,
)
async def test_there_is_no_deployment(world: PhoneWorld, check: Checks) -> None:
    """The gateway is told of an endpoint and of a key, and not of a deployment."""
    text = await call_fails(world, check)
    says(check, "AZ-ER-009", text, "deployment")
    invented = [m for m in upgrades(world.wire) if query_of(m).get("deployment") or query_of(m).get("model")]
    check.none("AZ-ER-009", invented, "the gateway asks for a deployment of its own invention")
    no_platform(check, "AZ-ER-007", text)


@case(
    about="AZ-ER-010",
    claims=["phone.inbound"],
    vendor="azure",
    settings={"azure.api_key": None},
    may_refuse=True,
)
async def test_there_is_no_credential(world: PhoneWorld, check: Checks) -> None:
    """The gateway is told of an endpoint and of a deployment, and of nothing to prove who it is."""
    text = await call_fails(world, check)
    says(check, "AZ-ER-010", text, "api.?key", "credential", "identity")
    check.none("AZ-ER-010", upgrades(world.wire), "the gateway asks for a session without any credential")
    no_platform(check, "AZ-ER-007", text)


@case(
    about="AZ-ER-014",
    claims=["phone.inbound", "azure.entra"],
    vendor="azure-entra",
    settings={"azure.client_secret": SECRET_OF_SOMEBODY_ELSE},
    stages=["virtual", "enclosed"],
)
async def test_entra_refuses_the_client_secret(world: PhoneWorld, check: Checks) -> None:
    """AADSTS7000215: the client secret is wrong."""
    text = await call_fails(world, check)
    says(check, "AZ-ER-014", text, "AADSTS7000215")
    no_platform(check, "AZ-ER-007", text)


@case(about="AZ-ER-015", claims=["phone.inbound", "azure.entra"], vendor="azure-entra", stages=["virtual", "enclosed"])
async def test_entra_does_not_answer(world: PhoneWorld, check: Checks) -> None:
    """Entra takes requests for tokens and answers none of them; later it does, and the next caller is served."""
    world.azure.entra.plans.extend([TokenPlan(delay_ms=600_000)] * 40)
    text = await call_fails(world, check)
    says(check, "AZ-ER-015", text, "entra", "token", "microsoftonline")
    no_platform(check, "AZ-ER-007", text)
