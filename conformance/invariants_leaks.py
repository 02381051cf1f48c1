"""Rules that hold in every world, as those in `conformance.invariants`: where credentials go, and who is contacted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from conformance.credentials import named, table
from conformance.evidence import Evidence, Invariant
from harness.leaks import Leak, masked
from harness.suite import Checks
from harness.wire import Message


def credentials_stay_where_they_belong(evidence: Evidence, check: Checks) -> None:
    """SEC-007, SEC-008: what is printed or served, and what is sent to vendors."""
    vendors = table().vendors
    served: list[Leak] = []
    sent: list[Leak] = []
    for leak in evidence.leaks:
        message = leak.message
        answered = message is None or message.kind == "response"
        outside = message is not None and (message.target in vendors or message.channel == "network")
        (sent if outside and not answered else served).append(leak)
    leaks_none("SEC-007", served, check)
    leaks_none("SEC-008", sent, check)


def leaks_none(rule: str, leaks: Sequence[Leak], check: Checks) -> None:
    """Check that there is no leak; of several, one for each credential is told, and the first message is marked."""
    first: dict[str, Leak] = {}
    for leak in leaks:
        first.setdefault(leak.credential, leak)
    different = list(first.values())
    more = f" ({len(leaks)} times)" if len(leaks) > len(different) else ""
    at = next((leak.message for leak in different if leak.message is not None), None)
    check(rule, not leaks, "; ".join(map(str, different)) + more, at=at)


def only_hosts_of_the_settings_are_contacted(evidence: Evidence, check: Checks) -> None:
    """SEC-012, SEC-013. A pass needs a stage that sees every name that is looked up."""
    settings = evidence.settings
    if settings is None:
        return
    vendors = table().vendors
    allowed = named(settings)
    known: list[tuple[str, Message | None]] = []
    unknown: list[tuple[str, Message | None]] = []
    for host, party, message in _contacts(evidence):
        vendor = vendors.get(party or table().vendor_of(host))
        if vendor is None:
            if host not in allowed:
                unknown.append((host, message))
        elif not vendor.called_for(settings) or (host and host not in vendor.places(settings)):
            known.append((host or party, message))
    for rule, found in (("SEC-012", known), ("SEC-013", unknown)):
        if found or evidence.looked_up:
            hosts = ", ".join(dict.fromkeys(masked(host, evidence.credentials) for host, _ in found))
            at = next((message for _, message in found if message is not None), None)
            check(rule, not found, f"the gateway contacts {hosts}, which its settings do not call for", at=at)


def _contacts(evidence: Evidence) -> Iterator[tuple[str, str, Message | None]]:
    """Whom the gateway turned to: host and party, one of them empty where it is not known, and what shows it."""
    for message in evidence.wire.all(source="gateway"):
        if message.channel == "network":
            name = message.target if message.kind == "lookup.refused" else message.target.rpartition(":")[0]
            name = name.removeprefix("front:").lower().rstrip(".")
            # An address that is somebody's is told by the name of the party, and not by that of the host.
            if name in table().vendors:
                yield "", name, message
            elif name != message.source:
                yield name, "", message
        elif message.kind in ("request", "upgrade") and message.target in table().vendors:
            yield urlsplit(str(message.meta.get("url", ""))).hostname or "", message.target, message
    for name in sorted(evidence.looked_up or ()):
        yield name, "", None


LEAK_INVARIANTS: tuple[Invariant, ...] = (
    credentials_stay_where_they_belong,
    only_hosts_of_the_settings_are_contacted,
)
