"""`fakes.twilio.twiml`: what parses, what is refused (12100), what is only warned about (12200)."""

from __future__ import annotations

import pytest

from fakes.twilio.twiml import TwimlError, decode, parse


def test_tree() -> None:
    document = parse(
        '<?xml version="1.0" encoding="UTF-8"?><Response><Say voice="alice">Hi &amp; hello</Say><Connect action="/a">'
        '<Stream url="wss://gw.example.test/m"><Parameter name="a" value="b"/></Stream></Connect></Response>'
    )
    say, connect = document.verbs
    assert (say.name, say.text, say.get("voice")) == ("Say", "Hi & hello", "alice")
    stream = connect.children[0]
    assert stream.get("url") == "wss://gw.example.test/m"
    assert stream.children[0].attributes == {"name": "a", "value": "b"}
    assert document.warnings == ()


def test_text_of_speech_markup_belongs_to_the_verb() -> None:
    document = parse('<Response><Say>One <emphasis level="strong">big</emphasis> word</Say></Response>')
    assert document.verbs[0].text == "One big word"
    assert document.warnings == ()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no element found"),
        ("hello", "syntax error"),
        (' <?xml version="1.0"?><Response/>', "XML or text declaration not at start"),
        ("<Response><Say>a</Response>", "mismatched tag"),
        ("<Response><Say>a & b</Say></Response>", "not well-formed"),
        ("<Response>", "no element found"),
        ("<Response/><Response/>", "junk after document element"),
        ("<response/>", "root element is <response>"),
        ("<Say>a</Say>", "expected <Response>"),
        ('<!DOCTYPE r [<!ENTITY a "b">]><Response><Say>&a;</Say></Response>', "document type declaration"),
        ('<!DOCTYPE r SYSTEM "file:///etc/passwd"><Response/>', "document type declaration"),
        ("<Response><Say>&a;</Say></Response>", "undefined entity"),
    ],
)
def test_fatal(text: str, part: str) -> None:
    with pytest.raises(TwimlError, match=part):
        parse(text)


def test_bytes_that_are_no_document() -> None:
    with pytest.raises(TwimlError, match="byte order mark"):
        decode(b"\xef\xbb\xbf<Response/>")
    with pytest.raises(TwimlError, match="not utf-8"):
        decode(b"<Response>\xff</Response>")
    with pytest.raises(TwimlError, match="not klingon"):
        decode(b"<Response/>", "klingon")
    assert decode("<Response>ä</Response>".encode("latin-1"), "latin-1") == "<Response>ä</Response>"


@pytest.mark.parametrize(
    ("text", "part", "verbs"),
    [
        ("<Response><say>a</say><Hangup/></Response>", "case-sensitive: <Say>", ["Hangup"]),
        ("<Response><Speak>a</Speak></Response>", "<Speak> is no verb", []),
        ("<Response><Stream url='wss://a.test'/></Response>", "<Stream> is no verb", []),
        ("<Response><Say volume='9'>a</Say></Response>", "no attribute 'volume'", ["Say"]),
        ("<Response><Gather><Hangup/></Gather></Response>", "<Gather> must not hold <Hangup>", ["Gather"]),
        ("<Response><Pause>a</Pause></Response>", "<Pause> holds text", ["Pause"]),
        ("<Response>hello</Response>", "<Response> holds text", []),
        (
            "<Response><Connect><Stream url='wss://a.test'><Parameter name='a'/></Stream></Connect></Response>",
            "needs a name and a value",
            ["Connect"],
        ),
        (
            f"<Response><Connect><Stream url='wss://a.test'><Parameter name='a' value='{'x' * 499}'/></Stream>"
            "</Connect></Response>",
            "500 characters, fewer than 500 fit",
            ["Connect"],
        ),
    ],
)
def test_warnings(text: str, part: str, verbs: list[str]) -> None:
    document = parse(text)
    assert len(document.warnings) == 1
    assert part in document.warnings[0]
    assert [verb.name for verb in document.verbs] == verbs


def test_offending_parts_are_dropped() -> None:
    document = parse("<Response><Gather wild='1'><Hangup/><Say>a</Say></Gather></Response>")
    gather = document.verbs[0]
    assert [child.name for child in gather.children] == ["Say"]
    assert gather.attributes == {}


def test_longest_parameter() -> None:
    document = parse(
        f"<Response><Connect><Stream url='wss://a.test'><Parameter name='a' value='{'x' * 498}'/></Stream></Connect>"
        "</Response>"
    )
    assert document.warnings == ()
    assert len(document.verbs[0].children[0].children) == 1


def test_verbs_that_the_fake_does_not_run() -> None:
    document = parse("<Response><Dial><Number>+1555</Number></Dial><Hangup/></Response>")
    assert document.not_run == ("Dial",)
    assert document.warnings == ()
    assert [verb.name for verb in document.verbs] == ["Hangup"]
