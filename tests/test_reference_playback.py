"""The reference gateway's ledger of what the caller has heard. 8 bytes are 1 ms."""

from reference_impl.playback import Playback


def ledger(*chunks: tuple[str, int], now: float = 10.0) -> Playback:
    playback = Playback()
    for item_id, size in chunks:
        playback.add(item_id, 0, size, now)
    return playback


def played(playback: Playback, now: float) -> list[tuple[str, int]]:
    return [(item.item_id, playback.played_ms(item, now)) for item in playback.items]


def test_nothing_sent_is_idle() -> None:
    assert Playback().idle
    assert not Playback().unmarked


def test_clock_runs_from_the_first_audio_however_early_it_was_sent() -> None:
    playback = ledger(("a", 8000))
    assert not playback.idle
    assert played(playback, 10.0) == [("a", 0)]
    assert played(playback, 10.25) == [("a", 250)]
    assert played(playback, 99.0) == [("a", 1000)]  # never more than was sent


def test_echo_of_a_mark_sets_the_clock_right() -> None:
    playback = ledger(("a", 1600))
    first = playback.next_mark()
    playback.add("a", 0, 1600, 10.0)
    second = playback.next_mark()
    assert played(playback, 10.3) == [("a", 200)]  # not past a mark that has not come back
    assert playback.echoed(first, 10.3)
    assert played(playback, 10.35) == [("a", 250)]
    assert playback.echoed(second, 10.6)
    assert playback.idle
    assert not playback.items


def test_echo_covers_the_marks_before_it_and_counts_once() -> None:
    playback = ledger(("a", 1600))
    first = playback.next_mark()
    playback.add("a", 0, 1600, 10.0)
    second = playback.next_mark()
    assert playback.echoed(second, 10.4)
    assert not playback.echoed(first, 10.4)
    assert not playback.echoed(second, 10.4)
    assert not playback.echoed("somebody else's", 10.4)


def test_items_play_one_after_the_other() -> None:
    playback = ledger(("a", 800), ("b", 800))
    assert played(playback, 10.05) == [("a", 50), ("b", 0)]
    assert played(playback, 10.15) == [("a", 100), ("b", 50)]
    assert playback.remaining(10.15) == 0.05


def test_marks_echoed_by_clear_are_not_heard_audio() -> None:
    playback = ledger(("a", 8000))
    name = playback.next_mark()
    playback.cleared(10.2)
    assert playback.idle
    assert not playback.echoed(name, 10.2)
    playback.add("b", 0, 800, 11.0)
    assert played(playback, 11.05) == [("b", 50)]


def test_audio_after_a_gap_plays_at_once() -> None:
    playback = ledger(("a", 800))
    playback.add("a", 0, 800, 20.0)
    (item,) = playback.items
    assert playback.played_ms(item, 20.05) == 150


def test_marks_are_due_every_200_ms() -> None:
    playback = ledger(("a", 1599))
    assert not playback.mark_due
    playback.add("a", 0, 1, 10.0)
    assert playback.mark_due
    playback.next_mark()
    assert not playback.mark_due
    assert not playback.unmarked
