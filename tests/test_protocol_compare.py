"""Revisions of the protocol: their schemas laid out as fields, and what is different between two of them."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from fakes.openai.protocol import check, event_types, validate
from fakes.openai.protocol import compare as module
from fakes.openai.protocol.compare import EventChange, FieldChange, compare, concerns, is_known, needed, renames
from fakes.openai.protocol.fields import Field, any_of, events, where
from fakes.openai.protocol.validation import REVISIONS

PAIRS = list(permutations(REVISIONS, 2))


def changes(old: str, new: str) -> dict[str, EventChange]:
    return {change.type: change for change in compare(old, new).changes if change.stays is None}


def inside(change: EventChange) -> dict[str, FieldChange]:
    return {each.path: each for each in change.fields}


# -- the revisions


def test_transcription_and_translation_are_revisions_of_their_own() -> None:
    assert REVISIONS == ("beta", "ga", "transcription", "translation")
    assert set(event_types("transcription", "server")) < set(event_types("ga", "server"))
    assert event_types("transcription", "client") == (
        "input_audio_buffer.append",
        "input_audio_buffer.clear",
        "input_audio_buffer.commit",
        "session.update",
    )
    assert event_types("translation", "client") == (
        "session.close",
        "session.input_audio_buffer.append",
        "session.update",
    )


def test_a_transcription_session_takes_only_its_own_settings() -> None:
    audio = {"input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "whisper-1"}}}
    update: dict[str, Any] = {"type": "session.update", "session": {"type": "transcription", "audio": audio}}
    assert validate("transcription", "client", update) is None
    update["session"]["instructions"] = "Be brief."
    assert "session.instructions is not a field" in str(validate("transcription", "client", update))
    update["session"] = {"type": "realtime"}
    assert validate("ga", "client", update) is None
    assert "session.type is 'realtime'" in str(validate("transcription", "client", update))
    assert check("transcription", "client", {"type": "response.create"}) is not None


def test_a_translation_session_has_another_append() -> None:
    assert validate("translation", "client", {"type": "session.input_audio_buffer.append", "audio": "AAAA"}) is None
    assert validate("translation", "client", {"type": "input_audio_buffer.append", "audio": "AAAA"}) is not None
    assert validate("ga", "client", {"type": "session.input_audio_buffer.append", "audio": "AAAA"}) is not None
    delta = {"type": "session.output_audio.delta", "event_id": "event_1", "delta": "AAAA", "elapsed_ms": None}
    assert validate("translation", "server", delta) is None
    assert validate("translation", "server", {**delta, "item_id": "item_1"}) is not None


# -- schemas as fields


def test_unions_are_laid_over_one_another() -> None:
    fields = events("ga")["conversation.item.create"].fields
    assert fields["item"] == Field(("object",), required=True)
    assert fields["item.type"].required
    assert {"message", "function_call", "mcp_call"} <= set(fields["item.type"].values)
    # Only a message has a role, and every message has one.
    assert fields["item.role"].when == fields["item.role"].only == ((("item.type", "message"),),)
    assert fields["item.role"].values == ("assistant", "system", "user")
    # What it is to a message is said of a message: its type need not be told again.
    assert fields["item.content[].text"].only == ()
    assert ((("item.role", "user"), ("item.content[].type", "input_text"))) in fields["item.content[].text"].when


def test_conditions_of_one_object_become_conditions_of_its_fields() -> None:
    fields = events("beta")["conversation.item.create"].fields
    assert fields["item.call_id"].when == ((("item.type", "function_call_output"),),)
    assert fields["item.call_id"].only == ()
    assert not fields["item.call_id"].required


def test_types_values_limits_and_null() -> None:
    ga, beta = events("ga"), events("beta")
    update = ga["session.update"].fields
    assert update["session.max_output_tokens"] == Field(
        types=("integer", "string"),
        values=("inf",),
        limits=(("maximum", 4096), ("minimum", 1)),
        only=((("session.type", "realtime"),),),
    )
    assert update["session.audio.input.turn_detection"].types == ("null", "object")
    assert update["event_id"].limits == (("maxLength", 512),)
    # Any string may be a voice, or an object: no list of values holds.
    assert update["session.audio.output.voice"].types == ("object", "string")
    assert update["session.audio.output.voice"].values == ()
    assert beta["session.update"].fields["session.modalities[]"].values == ("audio", "text")
    assert ga["response.create"].fields["response.input[].id"].when[0] == (("response.input[].type", "item_reference"),)


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_field_has_its_parent(revision: str) -> None:
    for event in events(revision).values():
        assert event.fields, event.type
        for path in event.fields:
            parent = path.removesuffix("[]") if path.endswith("[]") else path.rpartition(".")[0]
            assert not parent or parent in event.fields, (event.type, path)


def test_conditions_in_words() -> None:
    conditions = (("item.role", "user"), ("item.content[].type", "input_text"))
    assert where("item.content[].text", conditions) == "item.role=user and type=input_text"
    kinds = ((("item.type", "b"),), (("item.type", "a"),), conditions)
    assert any_of("item.x", kinds) == "type=a, b, or role=user and item.content[].type=input_text"
    assert where("a.b", (("a.type", "!x"),)) == "type≠x"
    assert needed("item.x", Field(("string",), when=((("item.type", "a"),),))) == "required if type=a"


# -- beta and GA


def test_nothing_is_different_between_a_revision_and_itself() -> None:
    for revision in REVISIONS:
        same = compare(revision, revision)
        assert same.changes == ()
        assert set(same.unchanged) == set(events(revision))


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_every_event_is_accounted_for(old: str, new: str) -> None:
    comparison = compare(old, new)
    before, after = set(events(old)), set(events(new))
    told_old = {change.old or change.type for change in comparison.changes if change.kind != "added"}
    told_new = {change.type for change in comparison.changes if change.kind != "removed"}
    assert told_old | set(comparison.unchanged) == before
    assert told_new | set(comparison.unchanged) == after
    for change in comparison.changes:
        match change.kind:
            case "added":
                assert change.type in after - before
            case "removed":
                assert change.type in before - after
            case "changed":
                assert change.type in before & after
                assert change.fields
            case "renamed":
                assert change.old in before


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_every_field_that_is_told_of_is_there_and_is_told_once(old: str, new: str) -> None:
    for change in compare(old, new).changes:
        before = events(old)[change.old or change.type].fields if change.kind != "added" else {}
        after = events(new)[change.type].fields if change.kind != "removed" else {}
        paths = [each.path for each in change.fields if each.kind != "removed"]
        assert len(paths) == len(set(paths)), change.type
        for each in change.fields:
            match each.kind:
                case "added":
                    assert each.path in after
                    assert each.path not in before
                case "removed":
                    assert each.path in before
                case "renamed":
                    assert each.old in before
                    assert each.path in after
                case "changed":
                    assert each.path in after
                    assert each.details


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_backwards_what_was_added_is_removed(old: str, new: str) -> None:
    forth, back = compare(old, new), compare(new, old)
    assert set(forth.unchanged) == set(back.unchanged)
    kinds = {"added": "removed", "removed": "added"}
    one = {(change.kind, change.type) for change in forth.changes if change.kind in kinds}
    other = {(kinds[change.kind], change.type) for change in back.changes if change.kind in kinds}
    assert one == other
    assert {(a.old, a.type) for a in forth.changes if a.kind == "renamed"} == {
        (b.type, b.old) for b in back.changes if b.kind == "renamed"
    }


def test_ga_renamed_the_events_of_the_answer() -> None:
    found = changes("beta", "ga")
    for old, new in (
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio_transcript.done", "response.output_audio_transcript.done"),
        ("response.text.delta", "response.output_text.delta"),
    ):
        assert (found[new].kind, found[new].old, found[new].fields) == ("renamed", old, ())
    # One event became two, and its old name lingers.
    for name in ("conversation.item.added", "conversation.item.done"):
        assert (found[name].kind, found[name].old) == ("renamed", "conversation.item.created")
        assert "the old name is still there" in found[name].note
    assert found["input_audio_buffer.timeout_triggered"].kind == "added"
    assert "input_audio_buffer.append" in compare("beta", "ga").unchanged


def test_ga_moved_the_settings_of_a_session() -> None:
    found = inside(changes("beta", "ga")["session.update"])
    assert found["session.audio.output.voice"].old == "session.voice"
    assert found["session.output_modalities"].old == "session.modalities"
    assert found["session.audio.input.format"].old == "session.input_audio_format"
    assert "object; was string" in found["session.audio.input.format"].details
    assert found["session.type"] == FieldChange("added", "session.type", None, ("required",))
    assert found["session.temperature"].kind == "removed"
    # What is in a field that moved is compared where it is now, and is not told when it is the same.
    assert found["session.audio.input.turn_detection.idle_timeout_ms"].kind == "added"
    assert "session.audio.input.turn_detection.threshold" not in found
    # Objects that only hold what moved are no news; nor is what is in a field that became an object.
    assert not {"session.audio", "session.audio.input", "session.audio.input.format.type"} & found.keys()
    # The fields of a new kind of tool are told with it.
    tools = found["session.tools[].type"]
    assert tools.details[0].startswith("also mcp, with allowed_callers, ")
    assert "server_label" in tools.details[0]
    assert "session.tools[].server_label" not in found


def test_what_was_always_required_is_not_news_in_a_revision_with_more_kinds() -> None:
    assert events("ga")["session.updated"].fields["session.instructions"].when == ((("session.type", "realtime"),),)
    found = inside(changes("beta", "ga")["session.updated"])
    assert "session.instructions" not in found
    assert "item.name" not in inside(changes("beta", "ga")["conversation.item.create"])
    assert found["session.prompt"].details == ("required; was optional",)
    assert inside(changes("beta", "ga")["response.function_call_arguments.done"])["name"].details == ("required",)


def test_backwards_the_settings_move_back() -> None:
    found = inside(changes("ga", "beta")["session.update"])
    assert found["session.voice"].old == "session.audio.output.voice"
    assert found["session.temperature"].kind == "added"
    assert found["session.type"].kind == "removed"
    assert "session.audio" not in found
    assert "no longer mcp" in found["session.tools[].type"].details[0]


def test_the_work_of_one_event_joins_that_of_another() -> None:
    (forth,) = [each for each in compare("beta", "ga").changes if each.old == "transcription_session.update"]
    assert (forth.type, forth.stays, forth.fields) == ("session.update", "session.update", ())
    (back,) = [each for each in compare("ga", "beta").changes if each.type == "transcription_session.update"]
    assert (back.old, back.stays, back.kind) == ("session.update", "session.update", "renamed")


def test_the_table_of_renames_is_of_things_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    module.check_renames()
    for table, message in (
        ({"events": {"response.audio.delta": "response.sound.delta"}}, "ga has no event response.sound.delta"),
        ({"joins": {"response.sound": "session.update"}}, "beta has no event response.sound"),
        ({"fields": {"session.voice": "session.audio.voice"}}, "no event of ga has session.audio.voice"),
        ({"kinds": {"session.type": "dictation"}}, "session.type is never 'dictation' in ga"),
        ({"notes": {"session.speed": "-"}}, "session.speed is not in"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, "_tables", lambda table=table: {"beta": {"ga": table}})
            renames.cache_clear()
            with pytest.raises(module.RenameError, match=message):
                module.check_renames()
    renames.cache_clear()


# -- who is concerned


@pytest.mark.parametrize(
    ("touch", "event", "field"),
    [
        ("response.output_audio.delta", True, False),
        ("response.audio.delta", True, False),
        ("response.output_audio.delta:delta", True, True),
        ("response.output_audio.delta:delta.x", True, True),
        ("response.output_audio.delta:item_id", True, False),
        ("response.output_audio.done", False, False),
        ("server", True, True),
        ("client", False, False),
    ],
)
def test_who_relies_on_a_renamed_event_is_concerned(touch: str, event: bool, field: bool) -> None:
    part = FieldChange("changed", "delta", None, ("string; was object",))
    change = EventChange("renamed", "server", "response.output_audio.delta", old="response.audio.delta", fields=(part,))
    assert concerns(touch, change) is event
    assert concerns(touch, change, part) is field


def test_a_changed_field_concerns_those_above_and_below_it() -> None:
    part = FieldChange("renamed", "session.audio.output.voice", "session.voice")
    change = EventChange("changed", "client", "session.update", fields=(part,))
    for path in ("session", "session.audio", "session.audio.output.voice", "session.audio.output.voice.id"):
        assert concerns(f"session.update:{path}", change, part), path
    assert concerns("session.update:session.voice", change, part)
    for path in ("session.audio.out", "session.audio.output.speed", "session.type"):
        assert not concerns(f"session.update:{path}", change, part), path
    # Who relies on the event alone is not concerned by what is in it.
    assert not concerns("session.update", change)
    assert not concerns("session.update", change, part)


def test_who_relies_on_an_event_that_another_joins_is_not_concerned() -> None:
    change = EventChange(
        "renamed", "client", "session.update", old="transcription_session.update", stays="session.update"
    )
    assert concerns("transcription_session.update", change)
    assert not concerns("session.update", change)


def test_what_may_be_relied_on() -> None:
    assert is_known("server", REVISIONS)
    assert is_known("session.update:session.temperature", REVISIONS)
    assert not is_known("session.update:session.temperature", ["ga"])
    assert not is_known("session.updat", REVISIONS)
