"""Talk in a profile: what is read, what is refused, and what the frames of a relay mean."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest

from harness.profile import ProfileError, load_profile
from harness.talk import BadFrame, RelayCodec, RelayTable, fill, find

RELAY = {
    "url": "url",
    "request": "POST /session",
    "audio": {"type": "audio", "audio": "{audio}"},
    "heard": {"where": {"type": "audio"}, "audio": "data.audio", "item": "data.item"},
    "cleared": {"where": {"type": "control", "control.name": "clear"}},
    "error": {"where": {"type": "error"}, "code": "error.code", "message": "error.message"},
    "interrupted": {"type": "cut", "item": "{item}", "ms": "{played_ms}"},
}


def codec(**changes: object) -> RelayCodec:
    return RelayCodec(msgspec.convert({**RELAY, **changes}, RelayTable))


def test_audio_goes_out_by_the_template() -> None:
    frame = codec().audio(b"\x01\x00\x02\x00")
    assert json.loads(frame) == {"type": "audio", "audio": base64.b64encode(b"\x01\x00\x02\x00").decode()}


def test_binary_audio_goes_out_as_it_is_and_comes_in_as_it_is() -> None:
    binary = codec(audio="binary", heard="binary")
    assert binary.audio(b"ab") == b"ab"
    assert binary.read(b"cd").kind == "heard"
    assert binary.read(b"cd").audio == b"cd"


def test_numbers_of_a_template_stay_numbers() -> None:
    assert json.loads(codec().interrupted("item_1", 840) or "") == {"type": "cut", "item": "item_1", "ms": 840}


def test_a_relay_without_the_frame_says_so() -> None:
    assert codec(interrupted=None).interrupted("item_1", 840) is None
    assert codec().end() is None
    with pytest.raises(ValueError, match=r"talk\.relay\.text"):
        codec().text("hello")


def test_what_comes_is_told_apart_by_all_of_where() -> None:
    read = codec()
    heard = read.read(json.dumps({"type": "audio", "data": {"audio": "AAAA", "item": "i1"}}))
    assert (heard.kind, heard.audio, heard.values) == ("heard", b"\0\0\0", {"item": "i1"})
    assert read.read(json.dumps({"type": "control", "control": {"name": "clear"}})).kind == "cleared"
    assert read.read(json.dumps({"type": "control", "control": {"name": "pause"}})).kind == "other"
    error = read.read(json.dumps({"type": "error", "error": {"code": "model_not_found"}}))
    assert (error.kind, error.values) == ("error", {"code": "model_not_found", "message": None})


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ("{", "no JSON"),
        (b"\0\0", "binary frame of 2 bytes"),
        ('{"type":"audio","data":{"audio":"*"}}', "no base64 at data.audio"),
        ('{"type":"audio"}', "no base64 at data.audio"),
    ],
)
def test_a_frame_that_is_not_what_the_profile_says_is_told(frame: str | bytes, told: str) -> None:
    with pytest.raises(BadFrame, match=told):
        codec().read(frame)


def test_a_path_goes_through_objects_and_lists() -> None:
    assert find({"a": [{"b": 1}]}, "a.0.b") == 1
    assert find({"a": [{"b": 1}]}, "a.1.b") is None
    assert find("text", "a") is None


def test_a_template_fills_what_is_nested() -> None:
    assert fill({"a": ["{x}", "n{x}"], "b": 2}, {"x": 7}) == {"a": [7, "n7"], "b": 2}


HEAD = '[gateway]\nname = "mine"\ncommand = ["true"]\n'


def refused(tmp_path: Path, text: str) -> str:
    (tmp_path / "profile.toml").write_text(HEAD + text)
    with pytest.raises(ProfileError) as caught:
        load_profile(tmp_path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[talk]\npages = "/x"\n', "talk.pages: no such key; did you mean 'page'?"),
        ('[talk.webrtc]\nrequest = "POST /x"\nsecrets = "s"\n', "talk.webrtc.secrets: no such key"),
        ('[talk.webrtc]\nrequest = "/x"\nsecret = "s"\n', "talk.webrtc.request: write a method and a path"),
        ('[talk]\npage = "talk"\n', 'talk.page: write a path that begins with "/"'),
        (
            '[talk.relay]\nurl = "url"\naudio = "binary"\nheard = "binary"\n',
            "talk.relay.url: without a `request` it is the path",
        ),
        (
            '[talk.relay]\nurl = "/w"\naudio = "binary"\nheard = "binary"\nrate = 44100\n',
            "talk.relay.rate: one of 8000, 16000, 24000, 48000, not 44100",
        ),
        ('[claims]\nfeatures = ["talk.webrtc"]\n', "so [talk.webrtc] has to say how to do it"),
        ('[claims]\nfeatures = ["talk.page"]\n', "so talk.page has to say how to do it"),
        (
            '[talk.relay]\nurl = "/w"\naudio = "binary"\nheard = { wher = {}, audio = "a" }\n',
            "talk.relay.heard",
        ),
    ],
)
def test_a_wrong_table_is_refused_with_what_to_write(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(tmp_path, text)


def test_a_relay_needs_no_session_call(tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text(HEAD + '[talk.relay]\nurl = "/w"\naudio = "binary"\nheard = "binary"\n')
    relay = load_profile(tmp_path).talk.relay
    assert relay is not None
    assert (relay.url, relay.rate) == ("/w", 24000)
