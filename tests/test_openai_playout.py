"""The output audio buffer of a call: what is played when, and what is told of it."""

from __future__ import annotations

import pytest
from openai_world import ManualClock

from fakes.openai.playout import BYTES_PER_MS, FRAME_BYTES, Heard, Playout


class Room:
    """Hears what is played; notes when."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.frames: list[tuple[float, bytes]] = []
        self.told: list[tuple[float, str, str]] = []
        self.buffer = Playout(self.clock, self)

    def play(self, frame: bytes) -> None:
        self.frames.append((round(self.clock.now(), 6), frame))

    def buffer_event(self, what: str, response_id: str) -> None:
        self.told.append((round(self.clock.now(), 6), what, response_id))

    def add(self, ms: float, *, response: str = "resp", item: str = "item", value: int = 1, index: int = 0) -> None:
        self.buffer.add(response, item, index, bytes([value, 0]) * int(ms * BYTES_PER_MS // 2))

    @property
    def sound(self) -> bytes:
        return b"".join(frame for _, frame in self.frames)


def test_sound_is_played_at_real_time_and_the_last_frame_is_filled_up() -> None:
    room = Room()
    room.add(50)
    room.buffer.finish("resp")
    assert room.frames == []  # not before what has been said already is on the wire
    room.clock.advance(0)
    assert room.told == [(0, "started", "resp")]
    room.clock.advance(10)
    assert [at for at, _ in room.frames] == [0, 0.02, 0.04]
    assert {len(frame) for _, frame in room.frames} == {FRAME_BYTES}
    assert room.sound == b"\1\0" * (50 * 24) + bytes(10 * BYTES_PER_MS)
    assert room.told == [(0, "started", "resp"), (0.06, "stopped", "resp")]
    assert (room.clock.pending, room.buffer.playing, room.buffer.busy) == (0, False, False)


def test_there_is_one_timer_while_it_plays_and_none_otherwise() -> None:
    room = Room()
    assert room.clock.pending == 0
    for _ in range(50):
        room.add(20)
    assert room.clock.pending == 1
    room.clock.advance(0.5)
    assert room.clock.pending == 1
    assert room.buffer.buffered_ms == 1000 - 26 * 20
    room.clock.advance(5)
    assert (room.clock.pending, room.buffer.busy) == (0, True)  # it waits for more, or for the end
    assert room.told == [(0, "started", "resp")]


def test_stopped_comes_after_the_response_is_done_and_after_the_last_sound() -> None:
    room = Room()
    room.add(40)
    room.clock.advance(1)
    assert [what for _, what, _ in room.told] == ["started"]
    room.buffer.finish("resp")
    assert [what for _, what, _ in room.told] == ["started"]  # response.done goes out first
    room.clock.advance(0)
    assert room.told[1:] == [(1, "stopped", "resp")]


def test_a_response_whose_sound_is_slow_is_waited_for() -> None:
    room = Room()
    room.add(30)
    room.clock.advance(1)
    assert [at for at, _ in room.frames] == [0]  # the other 10 ms are no frame
    room.add(30)
    room.add(20, response="next", item="other")
    room.clock.advance(1)
    assert [at for at, _ in room.frames] == [0, 1, 1.02]
    room.buffer.finish("resp")
    room.buffer.finish("next")
    room.clock.advance(1)
    assert room.sound == b"\1\0" * (80 * 24)
    assert room.told == [
        (0, "started", "resp"),
        (2, "stopped", "resp"),
        (2, "started", "next"),
        (2.02, "stopped", "next"),
    ]


def test_responses_are_played_one_after_the_other() -> None:
    room = Room()
    room.add(40, response="a", item="a1", value=1)
    room.add(20, response="b", item="b1", value=2)
    room.add(20, response="a", item="a2", value=3)
    room.buffer.finish("b")
    room.buffer.finish("a")
    room.clock.advance(1)
    assert [frame[0] for _, frame in room.frames] == [1, 1, 3, 2]
    assert [at for at, _ in room.frames] == [0, 0.02, 0.04, 0.06]
    assert room.told == [(0, "started", "a"), (0.06, "stopped", "a"), (0.06, "started", "b"), (0.08, "stopped", "b")]


def test_clear_tells_how_much_of_each_item_was_played() -> None:
    room = Room()
    room.add(60, item="one")
    room.add(60, item="two")
    room.add(60, response="later", item="three")
    room.buffer.finish("resp")
    room.buffer.finish("later")
    room.clock.advance(0.09)  # frames at 0, 20, 40, 60, 80 ms
    assert room.buffer.clear() == [Heard("two", 0, 40), Heard("three", 0, 0)]
    assert room.told == [(0, "started", "resp"), (0.09, "cleared", "resp")]
    assert (room.clock.pending, room.buffer.busy) == (0, False)
    room.clock.advance(1)
    assert len(room.frames) == 5


def test_a_cleared_response_is_heard_no_more_and_the_next_one_is() -> None:
    room = Room()
    room.add(20)
    room.clock.advance(0.5)
    assert room.buffer.clear() == [Heard("item", 0, 20)]  # it had more to say
    room.add(100)
    room.buffer.finish("resp")
    room.add(20, response="next", item="other", value=7)
    room.buffer.finish("next")
    room.clock.advance(1)
    assert [frame[0] for _, frame in room.frames] == [1, 7]
    assert [(what, response) for _, what, response in room.told] == [
        ("started", "resp"),
        ("cleared", "resp"),
        ("started", "next"),
        ("stopped", "next"),
    ]


def test_clear_of_nothing_says_nothing() -> None:
    room = Room()
    assert room.buffer.clear() == []
    room.buffer.finish("resp")
    room.add(0)
    room.clock.advance(1)
    assert (room.told, room.frames, room.clock.pending) == ([], [], 0)


def test_clear_before_the_first_frame_is_not_told() -> None:
    room = Room()
    room.add(100)
    assert room.buffer.clear() == [Heard("item", 0, 0)]
    room.clock.advance(1)
    assert (room.told, room.frames) == ([], [])


@pytest.mark.parametrize("late", [0.005, 0.05])
def test_a_late_timer_does_not_let_the_sound_fall_behind(late: float) -> None:
    room = Room()
    room.add(200)
    room.buffer.finish("resp")
    room.clock.advance(0.03)

    # The clock of a live stage is not exact: its callbacks may come late.
    now = room.clock.now
    room.clock.now = lambda: now() + late  # type: ignore[method-assign]
    room.clock.advance(0.02)
    room.clock.now = now  # type: ignore[method-assign]
    expected = 3 if late < 0.02 else 5
    assert len(room.frames) == expected
    room.clock.advance(1)
    assert len(room.frames) == 10
    assert room.told[-1] == (0.2, "stopped", "resp")


def test_after_the_call_nothing_is_played() -> None:
    room = Room()
    room.add(100)
    room.clock.advance(0.05)
    room.buffer.stop()
    room.add(100, response="next")
    room.buffer.finish("resp")
    room.clock.advance(1)
    assert (len(room.frames), room.clock.pending) == (3, 0)
    assert [what for _, what, _ in room.told] == ["started"]
