"""`fakes.twilio.signature`: vectors made with the vendor's library, and the library's own validator."""

from __future__ import annotations

import pytest
from twilio.request_validator import RequestValidator

from fakes.twilio import default_knobs
from fakes.twilio.signature import signature, signed_url

TOKEN = "0123456789abcdef0123456789abcdef"
VOICE = [
    ("CallSid", "CA" + "0" * 31 + "1"),
    ("CallStatus", "in-progress"),
    ("From", "+15005550006"),
    ("To", "+15005550010"),
]
DOCS = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675310"),
    ("Digits", "1234"),
    ("From", "+14158675310"),
    ("To", "+18005551212"),
]


@pytest.mark.parametrize(
    ("token", "url", "params", "expected"),
    [
        (TOKEN, "https://gw.example.test/voice?callId=7", VOICE, "EjzsM8CpWBc9UoCpz4oHe+T9ffE="),
        (TOKEN, "wss://gw.example.test/media", [], "/hNE+acmz3jEiQu9IIj34nqKQio="),
        (TOKEN, "wss://gw.example.test/media/", [], "rYe8aZtQ/EGRGDYibGns5yldruE="),
        (
            TOKEN,
            "https://gw.example.test/json?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862",
            [],
            "s2CUzqgkR9dC5cFdZHNJU8yPokc=",
        ),
        (TOKEN, "https://gw.example.test/x", [("A", "2"), ("A", "1"), ("A", "2"), ("B", "")], None),
        ("12345", "https://example.com/myapp.php?foo=1&bar=2", DOCS, "L/OH5YylLD5NRKLltdqwSvS0BnU="),
    ],
)
def test_vectors(token: str, url: str, params: list[tuple[str, str]], expected: str | None) -> None:
    assert signature(token, url, params) == (expected or "NpHGMXtP/dFEIGTLusm89f6UYow=")
    assert signature(token, url, reversed(params)) == signature(token, url, params)


def test_values_are_signed_untrimmed() -> None:
    assert signature(TOKEN, "https://a.test/", [("A", " x ")]) != signature(TOKEN, "https://a.test/", [("A", "x")])


def test_library_accepts_what_we_sign() -> None:
    validator = RequestValidator(TOKEN)
    params = dict(VOICE)
    assert validator.validate(
        "https://gw.example.test/voice", params, signature(TOKEN, "https://gw.example.test/voice", VOICE)
    )
    assert not validator.validate(
        "https://gw.example.test/other", params, signature(TOKEN, "https://gw.example.test/voice", VOICE)
    )


@pytest.mark.parametrize(
    ("url", "knobs", "expected"),
    [
        ("https://gw.example.test/voice?a=1", {}, "https://gw.example.test/voice?a=1"),
        ("https://gw.example.test:8443/voice", {}, "https://gw.example.test/voice"),
        ("http://gw.example.test:8080/voice", {}, "http://gw.example.test:8080/voice"),
        ("https://user:secret@gw.example.test/voice", {}, "https://gw.example.test/voice"),
        ("https://gw.example.test/voice#rc=3", {}, "https://gw.example.test/voice"),
        ("wss://gw.example.test", {}, "wss://gw.example.test/"),
        ("wss://gw.example.test", {"slash": "never"}, "wss://gw.example.test"),
        ("wss://gw.example.test/media", {"slash": "always"}, "wss://gw.example.test/media/"),
        ("wss://gw.example.test:8443/media", {}, "wss://gw.example.test/media"),
        ("wss://gw.example.test:8443/media", {"port": "kept"}, "wss://gw.example.test:8443/media"),
    ],
)
def test_url_that_is_signed(url: str, knobs: dict[str, str], expected: str) -> None:
    settings = default_knobs()
    for name, value in knobs.items():
        settings.set(f"twilio.signature_wss_{name}", value)
    assert signed_url(url, settings) == expected
