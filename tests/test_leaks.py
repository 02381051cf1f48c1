"""Credentials are found in every spelling and every place, told apart from what is allowed, and never told."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hand import ACCOUNT, KEY, TOKEN, ULAW, Hand
from hypothesis import given
from hypothesis import strategies as st

from conformance.assembly import registry
from conformance.credentials import FILE, named, table
from conformance.evidence import Evidence
from conformance.invariants_leaks import (
    credentials_stay_where_they_belong,
    only_hosts_of_the_settings_are_contacted,
)
from harness.leaks import MASK, Credential, Leak, masked, needles, search
from harness.profile import VOCABULARY
from harness.report.model import Verdict
from harness.suite import Checks
from harness.wire import Wire

SECRET = 'p"ss/w+rd &<Ωmega>~2049-long'
ODD = Credential("odd.secret", SECRET, user="someone")
PLAIN = Credential("a.key", "Kq7ZtW3mXv9RbN5cYd2LhJ8s")
OTHER = Credential("b.key", "u4EfGp6TnVa1QwSx0zOiMkBj")
HOMES = {"a.key": {"vendor": ["header api-key", "subprotocol", "body key", "query key"], "page": ["anywhere"]}}


class Said:
    """A wire on which the gateway says things."""

    def __init__(self) -> None:
        self.wire = Wire(lambda: 0.0)

    def __call__(
        self, body: str | bytes | None = None, *, to: str = "vendor", kind: str = "request", **meta: Any
    ) -> Said:
        self.wire.record("gateway", to, "x", kind, body, connection="x#1", meta=meta)
        return self

    def leaks(self, *credentials: Credential, output: str = "", **more: Any) -> list[Leak]:
        return search(self.wire, output, credentials or (PLAIN,), homes=HOMES, **more)


def found(text: str, credential: Credential = PLAIN) -> list[str]:
    """The forms in which a credential is found in a text that is sent, and again in one that is printed."""
    sent = [leak.form for leak in Said()(text).leaks(credential)]
    assert [leak.form for leak in Said().leaks(credential, output=text)] == sent
    return sent


# -- spellings


@pytest.mark.parametrize(
    ("form", "spelled"),
    [
        ("plain", SECRET),
        ("URL-encoded", quote(SECRET, safe="")),
        ("URL-encoded", urlencode({"key": SECRET})),
        ("URL-encoded", quote(SECRET, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3C", "%3c")
         .replace("%3E", "%3e").replace("%CE%A9", "%ce%a9")),
        ("URL-encoded twice", quote(quote(SECRET, safe=""))),
        ("JSON-escaped", json.dumps({"key": SECRET})),
        ("JSON-escaped", json.dumps({"key": SECRET}, ensure_ascii=False)),
        ("JSON-escaped", json.dumps({"key": SECRET}).replace("/", "\\/")),
        ("JSON-escaped twice", json.dumps(json.dumps(SECRET))),
        ("HTML-escaped", html.escape(SECRET)),
        ("base64 of user:password", base64.b64encode(f"someone:{SECRET}".encode()).decode()),
        ("base64", base64.b64encode(SECRET.encode()).decode()),
        ("base64", base64.b64encode(f"x{SECRET}y".encode()).decode()),
        ("base64", base64.b64encode(f"xx{SECRET}".encode()).decode()),
        ("base64", base64.urlsafe_b64encode(SECRET.encode()).decode()),
        ("base64", quote(base64.b64encode(f"..{SECRET}".encode()).decode(), safe="")),
        ("hex", SECRET.encode().hex()),
        ("hex", SECRET.encode().hex().upper()),
        ("first half", SECRET[:17]),
        ("second half", SECRET[10:]),
    ],
)  # fmt: skip
def test_every_spelling_is_found(form: str, spelled: str) -> None:
    assert spelled == SECRET or SECRET not in spelled
    assert found(f"before {spelled} after", ODD) == [form]


def test_a_field_tells_the_credential_as_it_is_when_decoded() -> None:
    body = json.dumps({"key": SECRET})
    for said in (
        Said()(body),
        Said()(urlencode({"key": SECRET})),
        Said()(url=f"https://x/?{urlencode({'key': SECRET})}"),
    ):
        (leak,) = said.leaks(ODD)
        assert leak.form == "plain"
        assert leak.place.endswith(" key")


@given(
    value=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), min_size=12, max_size=60),
    before=st.binary(max_size=4),
    after=st.binary(max_size=4),
)
def test_base64_is_found_at_every_alignment(value: str, before: bytes, after: bytes) -> None:
    text = base64.b64encode(before + value.encode() + after).decode()
    assert any(needle.text in text for needle in needles(Credential("any", value)))


def test_less_than_a_half_is_not_found() -> None:
    assert found(PLAIN.value[:11]) == []
    assert found(PLAIN.value[1:12] + " " + PLAIN.value[13:]) == []
    assert found(f"{PLAIN.value[:4]}...{PLAIN.value[-4:]}") == []


def test_halves_of_a_short_credential_are_too_short_to_tell() -> None:
    short = Credential("short", "abcdefghijklmnopqrstuvw")
    assert {needle.form for needle in needles(short)} == {"plain", "base64", "hex"}


def test_what_is_too_short_cannot_be_searched_for() -> None:
    with pytest.raises(ValueError, match=r"pin has 4 characters: plant one of at least 12"):
        Credential("pin", "1234")


# -- places


@pytest.mark.parametrize(
    ("place", "say"),
    [
        ("header x-debug", lambda s: s(headers=[("x-debug", f"key={PLAIN.value}")])),
        ("header authorization", lambda s: s(headers=[("authorization", f"Bearer {PLAIN.value}")])),
        ("query token", lambda s: s(url=f"https://x/v1?model=m&token={PLAIN.value}")),
        ("url", lambda s: s(url=f"https://{PLAIN.value}@x/v1")),
        ("reason", lambda s: s(kind="close", code=1008, reason=f"not {PLAIN.value}")),
        ("body session.tools[1].url", lambda s: s(json.dumps({"session": {"tools": [{}, {"url": PLAIN.value}]}}))),
        ("body Url", lambda s: s(urlencode({"To": "+1", "Url": f"https://x/?k={PLAIN.value}"}))),
        ("body", lambda s: s(f"<Parameter value='{PLAIN.value}'/>")),
        ("body", lambda s: s(json.dumps({PLAIN.value: 1}))),
        ("body", lambda s: s(f"<p>{PLAIN.value}</p>".encode())),
        ("body message", lambda s: s(json.dumps({"message": json.dumps({"key": PLAIN.value})}))),
        ("subprotocol", lambda s: s(to="other", subprotocols=["realtime", f"key.{PLAIN.value}"])),
    ],
)  # fmt: skip
def test_the_place_is_told(place: str, say: Callable[[Said], Said]) -> None:
    (leak,) = say(Said()).leaks()
    assert (leak.credential, leak.place) == ("a.key", place)
    assert leak.message is not None
    assert leak.message.seq == 0


def test_a_credential_at_home_is_no_leak() -> None:
    said = Said()
    said(json.dumps({"key": PLAIN.value}), headers=[("Api-Key", PLAIN.value)], subprotocols=[PLAIN.value])
    said(f"<p>{PLAIN.value}</p>", to="page", reason=PLAIN.value)
    assert said.leaks() == []


def test_a_credential_at_home_and_elsewhere_in_one_message() -> None:
    body = json.dumps({"key": PLAIN.value, "note": PLAIN.value})
    (leak,) = Said()(body, headers=[("api-key", PLAIN.value)]).leaks()
    assert leak.place == "body note"


def test_a_credential_at_home_in_the_query_and_astray_in_the_path() -> None:
    assert Said()(url=f"https://x/v1?key={PLAIN.value}").leaks() == []
    (leak,) = Said()(url=f"https://x/{PLAIN.value}?key={PLAIN.value}").leaks()
    assert leak.place == "url"


def test_the_home_of_one_credential_is_none_of_another() -> None:
    (leak,) = Said()(headers=[("api-key", f"{PLAIN.value} {OTHER.value}")]).leaks(PLAIN, OTHER)
    assert (leak.credential, leak.place) == ("b.key", "header api-key")


def test_a_home_at_the_wrong_host_is_none() -> None:
    headers = [("api-key", PLAIN.value)]
    said = Said()(url="https://right.example/v1", headers=headers)(url="wss://wrong.example/v1", headers=headers)
    (leak,) = said.leaks(hosts={"vendor": ["right.example"]})
    assert (leak.host, leak.message) == ("wrong.example", said.wire[1])
    assert str(leak).startswith(
        "a.key is in header api-key of the request from gateway to vendor on x, at the host wrong"
    )
    assert said.leaks(hosts={"somebody else": ["right.example"]}) == []


def test_what_others_say_is_not_held_against_the_gateway() -> None:
    said = Said()
    said.wire.record("vendor", "gateway", "x", "error", f"bad key {PLAIN.value}")
    said("{}", kind="response", url=f"https://gw.example.test/hook?key={PLAIN.value}")  # the URL that was asked for
    assert said.leaks() == []


def test_one_message_with_two_credentials_is_two_leaks() -> None:
    leaks = Said()(f"{PLAIN.value} {OTHER.value}").leaks(PLAIN, OTHER)
    assert [leak.credential for leak in leaks] == ["a.key", "b.key"]


# -- audio


SOUND = frozenset({"media"})


def frame(payload: str = "A" * 216, **more: str) -> str:
    return json.dumps({"event": "media", "media": {"payload": payload}, **more})


def test_around_the_audio_is_searched() -> None:
    said = Said()
    for index in range(20):
        said(frame(chr(65 + index) * 216), kind="media")
    said(frame(note=PLAIN.value), kind="media")
    said(frame(), kind="media")
    (leak,) = said.leaks(sound=SOUND)
    assert leak.place == "body note"
    assert leak.message is said.wire[20]


def test_a_frame_that_has_the_length_of_others_is_searched() -> None:
    said = Said()(frame(note="-" * len(PLAIN.value)), kind="media")(frame(note=PLAIN.value), kind="media")
    assert [leak.message for leak in said.leaks(sound=SOUND)] == [said.wire[1]]


def test_a_credential_in_place_of_audio_is_found() -> None:
    assert len(Said()(frame(PLAIN.value), kind="media").leaks(sound=SOUND)) == 1


def test_an_hour_of_audio_takes_no_time_to_speak_of() -> None:
    """Less than 3 µs a frame: a call of a minute is 3,000 frames of the gateway, and takes about 100 ms in all."""
    said = Said()
    frames = [frame(base64.b64encode(bytes([index]) * 160).decode()) for index in range(50)]
    for index in range(20_000):
        said(frames[index % 50], kind="media")
    took = []
    for _ in range(3):
        began = time.perf_counter()
        assert said.leaks(PLAIN, OTHER, ODD, sound=SOUND) == []
        took.append(time.perf_counter() - began)
    assert min(took) < 20_000 * 3e-6


# -- output


def test_the_line_is_told() -> None:
    (leak,) = Said().leaks(output=f"ready\nkey: {PLAIN.value}\nbye\n")
    assert leak.message is None
    assert str(leak) == f"a.key is in line 2 of what the gateway prints: …key: {MASK}"


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\n    ", "\\n"])
def test_a_credential_that_is_wrapped_is_found(break_: str) -> None:
    encoded = base64.b64encode(b"account-number-one:" + PLAIN.value.encode()).decode()
    lines = break_.join(encoded[start : start + 10] for start in range(0, len(encoded), 10))
    (leak,) = Said().leaks(output=f"Authorization:\n{lines}\n")
    assert leak.form == "base64, wrapped"


# -- nothing is told


@pytest.mark.parametrize("needle", needles(ODD), ids=lambda needle: needle.form)
def test_no_leak_tells_a_credential(needle: Any) -> None:
    text = f"{OTHER.value}, {SECRET[:13]}… {needle.text}; {PLAIN.value}"
    told = [str(leak) for leak in Said()(text).leaks(ODD, PLAIN, OTHER, output=text)]
    assert len(told) == 6
    for line in told:
        for credential in (ODD, PLAIN, OTHER):
            assert not any(each.text in line for each in needles(credential))
            assert credential.value not in repr(credential)


def test_what_stands_before_a_second_half_is_not_told() -> None:
    (leak,) = Said()(f"ends with {PLAIN.value[5:]}").leaks()
    assert leak.form == "second half"
    assert leak.around == f"ends with {MASK}"


def test_masked() -> None:
    encoded = base64.b64encode(PLAIN.value.encode()).decode()
    assert masked(f"{PLAIN.value} {encoded}", [PLAIN, OTHER]) == f"{MASK} {MASK}"


# -- what follows for a gateway


SETTINGS = {
    "public_url": "https://gw.example.test",
    "openai.api_key": KEY,
    "openai.base_url": "https://api.openai.com/v1",
    "twilio.auth_token": TOKEN,
    "twilio.base_url": "https://api.twilio.com",
}
AZURE = {
    **SETTINGS,
    "openai.provider": "azure-openai",
    "azure.endpoint": "https://contoso.openai.azure.com",
    "azure.api_key": "0f9e8d7c6b5a49382716054321fedcba",
    "azure.authority_host": "https://login.microsoftonline.com",
}


def evidence(hand: Hand, settings: Mapping[str, str] | None = None, names: Sequence[str] | None = None) -> Evidence:
    planted = {**hand.evidence().planted, "azure.api_key": AZURE["azure.api_key"]}
    looked_up = None if names is None else frozenset(names)
    return replace(hand.evidence(), planted=planted, settings=settings, looked_up=looked_up)


def contacts(settings: Mapping[str, str], names: Sequence[str] | None, hand: Hand | None = None) -> dict[str, Verdict]:
    check = Checks(registry())
    only_hosts_of_the_settings_are_contacted(evidence(hand or Hand(), settings, names), check)
    return {finding.requirement: finding.verdict for finding in check.merged()}


GOOD = {"SEC-012": Verdict.PASS, "SEC-013": Verdict.PASS}
FOREIGN_VENDOR = {**GOOD, "SEC-012": Verdict.FAIL}
UNKNOWN_HOST = {**GOOD, "SEC-013": Verdict.WARN}
ENTRA = "login.microsoftonline.com"
METADATA = "169.254.169.254"


@pytest.mark.parametrize(
    ("expected", "settings", "names"),
    [
        (GOOD, SETTINGS, ["api.openai.com", "api.twilio.com", "gw.example.test"]),
        (UNKNOWN_HOST, SETTINGS, ["api.openai.com", "telemetry.example.org"]),
        (FOREIGN_VENDOR, SETTINGS, ["contoso.openai.azure.com"]),
        (FOREIGN_VENDOR, SETTINGS, [ENTRA]),
        (FOREIGN_VENDOR, SETTINGS, ["voice.twilio.com"]),
        (GOOD, AZURE, ["contoso.openai.azure.com", "api.twilio.com"]),
        (FOREIGN_VENDOR, AZURE, ["api.openai.com"]),
        (FOREIGN_VENDOR, {**SETTINGS, "azure.deployment": "voice"}, ["api.openai.com"]),
        (FOREIGN_VENDOR, {**AZURE, "azure.endpoint": ""}, ["contoso.openai.azure.com"]),
        (GOOD, {**AZURE, "openai.provider": ""}, ["contoso.openai.azure.com"]),
        (FOREIGN_VENDOR, AZURE, ["other.openai.azure.com"]),
        (FOREIGN_VENDOR, AZURE, [ENTRA]),
        (GOOD, {**AZURE, "azure.client_secret": "x"}, [ENTRA]),
        (GOOD, {**AZURE, "azure.api_key": ""}, [ENTRA, METADATA]),
        (GOOD, {**SETTINGS, "openai.base_url": "https://models.example/v1"}, ["models.example"]),
        (FOREIGN_VENDOR, {**SETTINGS, "openai.base_url": "https://models.example/v1"}, ["api.openai.com"]),
        (UNKNOWN_HOST, {**SETTINGS, "openai.base_url": "http://127.0.0.1:8123/v1"}, ["models.example"]),
    ],
)
def test_names_that_are_looked_up(
    expected: Mapping[str, Verdict], settings: Mapping[str, str], names: Sequence[str]
) -> None:
    assert contacts(settings, names) == expected
    refused = Hand()
    for name in names:
        refused.put("gateway", name.upper() + ".", "network", "lookup.refused")
    bad = {rule: verdict for rule, verdict in expected.items() if verdict is not Verdict.PASS}
    assert contacts(settings, None, refused) == bad


@pytest.mark.parametrize(
    ("expected", "target"),
    [
        ({}, "openai:443"),
        ({}, "gateway:6379"),
        ({}, "front:gw.example.test:8443"),
        ({"SEC-012": Verdict.FAIL}, "azure:443"),
        ({"SEC-013": Verdict.WARN}, "203.0.113.7:443"),
        ({"SEC-013": Verdict.WARN}, "caller:80"),
    ],
)
def test_addresses_that_refuse(expected: Mapping[str, Verdict], target: str) -> None:
    hand = Hand()
    hand.put("gateway", target, "network", "connect.refused")
    assert contacts(SETTINGS, None, hand) == expected


def test_requests_to_a_vendor_that_the_settings_do_not_call_for() -> None:
    hand = Hand()
    hand.to_model("upgrade", url="wss://api.openai.com/v1/realtime")
    assert contacts(SETTINGS, None, hand) == {}
    check = Checks(registry())
    only_hosts_of_the_settings_are_contacted(evidence(hand, AZURE), check)
    (finding,) = check.findings
    assert (finding.requirement, finding.verdict, finding.seq) == ("SEC-012", Verdict.FAIL, 0)
    assert finding.message == "the gateway contacts api.openai.com, which its settings do not call for"


def test_nothing_is_said_where_the_settings_are_not_known() -> None:
    check = Checks(registry())
    only_hosts_of_the_settings_are_contacted(evidence(Hand(), None, ["telemetry.example.org"]), check)
    assert not check.findings


def leaked(say: Callable[[Hand], object], output: str = "") -> dict[str, tuple[str, int | None]]:
    hand = Hand(output=output)
    say(hand)
    check = Checks(registry())
    credentials_stay_where_they_belong(evidence(hand, AZURE), check)
    bad = [finding for finding in check.merged() if finding.verdict is Verdict.FAIL]
    return {finding.requirement: (finding.message, finding.seq) for finding in bad}


def test_a_key_of_azure_has_one_home() -> None:
    key = AZURE["azure.api_key"]

    def goes(party: str, host: str, header: str) -> Callable[[Hand], object]:
        return lambda h: h.put(
            "gateway", party, f"{party}.http", "request", url=f"https://{host}/v1", headers={header: f"Bearer {key}"}
        )

    assert leaked(goes("azure", "contoso.openai.azure.com", "api-key")) == {}
    assert leaked(goes("azure", "contoso.openai.azure.com", "Authorization")) == {}
    for astray in (
        goes("openai", "api.openai.com", "Authorization"),
        goes("azure", "other.openai.azure.com", "api-key"),
        goes("azure", "contoso.openai.azure.com", "x-key"),
    ):
        ((rule, (message, seq)),) = leaked(astray).items()
        assert (rule, seq) == ("SEC-008", 0)
        assert message.startswith("azure.api_key is in header ")


def test_several_credentials_are_all_told() -> None:
    found = leaked(
        lambda h: h.put("gateway", "operator", "gateway.http", "response", f"{KEY} {TOKEN}"), f"{ACCOUNT}:{KEY}"
    )
    ((rule, (message, seq)),) = found.items()
    assert (rule, seq) == ("SEC-007", 0)
    assert "openai.api_key is in body of the response" in message
    assert "; twilio.auth_token is in body of the response" in message
    assert message.endswith(" (3 times)")


def test_the_audio_of_a_stream_is_no_haystack() -> None:
    assert leaked(lambda h: h.to_stream("media", {"media": {"payload": ULAW}})) == {}
    assert "SEC-008" in leaked(lambda h: h.to_stream("media", {"media": {"payload": ULAW}, "note": TOKEN}))


def test_a_credential_in_a_name_is_found_and_not_told() -> None:
    name = f"{KEY}.telemetry.example.org"
    found = leaked(lambda h: h.put("gateway", name, "network", "lookup.refused"))
    ((rule, (message, _)),) = found.items()
    assert (rule, message) == ("SEC-008", f"openai.api_key is in the name of a host that is looked up: …{MASK}")
    hand, check = Hand(), Checks(registry())
    hand.put("gateway", name, "network", "lookup.refused")
    only_hosts_of_the_settings_are_contacted(evidence(hand, SETTINGS), check)
    assert not any(KEY in finding.message for finding in check.findings)


def test_a_field_that_is_called_like_a_credential_is_not_told() -> None:
    (leak,) = Said()(json.dumps({PLAIN.value: {"key": PLAIN.value}})).leaks()
    assert leak.place == f"body {MASK}.key"


def test_what_was_handed_out_is_searched_for_too() -> None:
    token = "eyJhbGciOiJSUzI1NiJ9." + "Zm9vYmFy" * 20
    hand = Hand(output=f"token={token}")
    made = replace(hand.evidence(), issued={"azure.token": [token, token]})
    assert [leak.credential for leak in made.leaks] == ["azure.token"]


# -- the table


def test_the_table_speaks_of_settings_and_parties_that_there_are() -> None:
    known = table()
    issued = {"azure.token", "azure.federated_token"}
    settings = {*known.public, *known.credentials} - issued
    settings |= {secret.user for secret in known.credentials.values() if secret.user}
    for vendor in known.vendors.values():
        settings |= {*vendor.at, *vendor.when, *vendor.given, *vendor.lacking}
    assert settings <= set(VOCABULARY), FILE
    parties = {party for secret in known.credentials.values() for party in secret.homes}
    assert parties <= {*known.vendors, "browser"}
    places = {place for secret in known.credentials.values() for home in secret.homes.values() for place in home}
    assert all(place == place.lower() for place in places)


def test_hosts_that_settings_name() -> None:
    assert {"gw.example.test", "api.twilio.com", "localhost"} <= named(SETTINGS)
    assert table().vendor_of("contoso.openai.azure.com") == "azure"
    assert table().vendor_of("openai.azure.com.example.org") == ""
