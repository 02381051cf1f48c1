"""Choices: where the values of a run come from, and what a trace keeps of them."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from harness.choices import (
    Choices,
    Domain,
    Drawn,
    Exhaustive,
    Replayed,
    Seeded,
    Source,
    Typical,
    describe,
    fraction,
)

ROOT = Path(__file__).parent.parent

domains = st.tuples(st.integers(-1000, 1000), st.integers(0, 1000), st.integers(0, 1000)).map(
    lambda parts: Domain(parts[0], parts[0] + parts[1], parts[0] + parts[1] + parts[2])
)


@pytest.mark.parametrize("bounds", [(1, 0, 2), (0, 3, 2), (2, 1, 0)])
def test_a_domain_holds_its_typical_value(bounds: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="low <= typical <= high"):
        Domain(*bounds)
    assert [value in Domain(1, 2, 3) for value in range(5)] == [False, True, True, True, False]


# -- sources


def test_typical_gives_the_typical_value_everywhere() -> None:
    choices = Choices(Typical())
    assert choices.delay("a", 10, 250, 9000) == 0.25
    assert choices.integer("b", 1, 2, 3) == 2
    assert choices.one_of("c", ["usual", "rare"]) == "usual"
    assert choices.flag("d", 0.99) is False
    assert choices.values() == {"a": 250, "b": 2, "c": 0, "d": 0}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**64), st.text(min_size=1), domains)
def test_seeded_values_lie_in_their_domain(seed: int, point: str, domain: Domain) -> None:
    assert Seeded(seed).choose(point, domain) in domain
    assert 0 <= fraction(seed, point) < 1


def test_the_greatest_fraction_is_below_1(monkeypatch: pytest.MonkeyPatch) -> None:
    class AllOnes:
        def __init__(self, *args: Any, **options: Any) -> None: ...

        def digest(self) -> bytes:
            return b"\xff" * 8

    monkeypatch.setattr("harness.choices.hashlib.blake2b", AllOnes)
    assert fraction(0, "x") < 1
    assert Seeded(0).choose("x", Domain(0, 0, 5)) == 5
    assert Seeded(0).choose("x", Domain(0, 0, 1, chance=0.999)) == 0


def test_seeded_values_reach_every_value_evenly() -> None:
    source = Seeded(3)
    counts = [0] * 6
    for number in range(6000):
        counts[source.choose(f"point#{number}", Domain(0, 0, 5))] += 1
    assert all(850 < count < 1150 for count in counts), counts


def test_seeded_flags_have_their_chance() -> None:
    choices = Choices(Seeded(1))
    assert 150 < sum(choices.flag(f"duplicate#{number}", 0.1) for number in range(2000)) < 250
    assert 1750 < sum(choices.flag(f"other#{number}", 0.9) for number in range(2000)) < 1850


POINTS = [f"twilio/call{c}/callback/{event}#1/delay" for c in (1, 2) for event in ("ringing", "answered", "completed")]


def test_seeded_values_do_not_depend_on_the_order_of_asking_nor_on_what_else_is_asked() -> None:
    def values(points: list[str]) -> dict[str, int]:
        choices = Choices(Seeded(42), seed=42)
        for point in points:
            choices.delay(point, 0, 50, 1_000_000)
        return choices.values()

    straight = values(POINTS)
    assert values(POINTS[::-1]) == straight
    assert values([POINTS[2]]) == {POINTS[2]: straight[POINTS[2]]}
    assert len(set(straight.values())) == len(POINTS)
    assert values(POINTS) != {p: Seeded(43).choose(p, Domain(0, 50, 1_000_000)) for p in POINTS}


def test_values_and_tokens_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "from harness.choices import Choices, Seeded\n"
        "choices = Choices(Seeded(7), seed=7)\n"
        f"print([choices.integer(point, 0, 0, 10**9) for point in {POINTS!r}], choices.token('call1/sid', 32))\n"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "12345")
    }
    choices = Choices(Seeded(7), seed=7)
    here = [choices.integer(point, 0, 0, 10**9) for point in POINTS]
    assert answers == {f"{here} {choices.token('call1/sid', 32)}\n"}


def test_drawn_values_span_the_domain_and_shrink_to_the_typical_one() -> None:
    domain = Domain(10, 50, 90)

    def run(draw: Any) -> dict[str, int]:
        choices = Choices(Drawn(lambda low, high: int(draw(st.integers(low, high)))))
        for name in "abc":
            choices.integer(name, domain.low, domain.typical, domain.high)
        return choices.values()

    runs = st.composite(run)()
    calm = settings(database=None, max_examples=2000)
    assert find(runs, lambda values: True, settings=calm) == {"a": 50, "b": 50, "c": 50}
    assert find(runs, lambda v: v["b"] >= 60, settings=calm) == {"a": 50, "b": 60, "c": 50}
    assert find(runs, lambda v: v["c"] <= 47, settings=calm) == {"a": 50, "b": 50, "c": 47}
    assert find(runs, lambda v: v["a"] == 10, settings=calm)["a"] == 10
    assert find(runs, lambda v: v["a"] == 90, settings=calm)["a"] == 90


def test_a_domain_of_one_value_is_not_drawn() -> None:
    def draw(low: int, high: int) -> int:
        raise AssertionError("nothing to draw")

    assert Choices(Drawn(draw)).integer("a", 4, 4, 4) == 4


def test_replayed_values_come_from_the_trace_and_what_is_missing_is_listed() -> None:
    source = Replayed({"a": 7, "b": 99, "unasked": 1})
    choices = Choices(source)
    assert choices.integer("a", 0, 1, 10) == 7
    assert choices.integer("b", 0, 1, 10) == 1, "99 is outside of the domain: the trace is of another version"
    assert choices.integer("c", 0, 1, 10) == 1
    assert source.missing == ["b", "c"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), domains), max_size=8), st.integers(0, 10**6))
def test_a_replay_makes_the_same_choices(asked: list[tuple[str, Domain]], seed: int) -> None:
    first = Choices(Seeded(seed), seed=seed)
    for point, domain in asked:
        first.pick(point, domain)
    source = Replayed(first.values())
    second = Choices(source, seed=seed)
    for point, domain in asked:
        second.pick(point, domain)
    assert (second.made, source.missing) == (first.made, [])


# -- exhaustive


def test_exhaustive_tries_exactly_the_product() -> None:
    source = Exhaustive()
    seen = []
    for run in source.runs():
        choices = Choices(run)
        seen.append(
            (
                choices.one_of("fruit", "xyz"),
                choices.flag("duplicate", 0.01),
                choices.integer("count", 0, 0, 2),
                choices.integer("fixed", 4, 4, 4),
            )
        )
    assert seen[0] == ("x", False, 0, 4), "the typical run comes first"
    assert len(seen) == len(set(seen))
    assert set(seen) == set(itertools.product("xyz", [False, True], [0, 1, 2], [4]))


@pytest.mark.parametrize(
    ("grain", "domain", "offered"),
    [
        (3, Domain(0, 40, 1000), [40, 0, 1000]),
        (5, Domain(0, 40, 1000), [40, 0, 1000, 250, 500]),
        (3, Domain(0, 0, 1000), [0, 1000, 500]),
        (4, Domain(1, 2, 4), [2, 1, 4, 3]),
        (2, Domain(0, 0, 9), [0, 9]),
        (1, Domain(0, 5, 9), [5]),
    ],
)
def test_a_domain_offers_as_many_values_as_the_grain(grain: int, domain: Domain, offered: list[int]) -> None:
    assert [Choices(run).pick("a", domain) for run in Exhaustive(grain).runs()] == offered


def test_exhaustive_follows_points_that_depend_on_earlier_ones() -> None:
    seen = []
    for run in Exhaustive().runs():
        choices = Choices(run)
        story = [choices.flag("busy", 0.5)]
        if story[0]:
            story.append(choices.one_of("retry", "ab"))
        else:
            story.append(choices.flag("greeting", 0.5))
            if story[1]:
                story.append(choices.one_of("voice", "mn"))
        seen.append(tuple(story))
    assert seen == [
        (False, False),
        (False, True, "m"),
        (False, True, "n"),
        (True, "a"),
        (True, "b"),
    ]


def test_a_world_that_asks_for_other_points_the_second_time_ends_all_the_same() -> None:
    seen = []
    for number, run in enumerate(Exhaustive().runs()):
        choices = Choices(run)
        names = "ab" if number == 0 else "acd"
        seen.append("".join(name + str(int(choices.flag(name, 0.5))) for name in names))
    assert seen == ["a0b0", *[f"a{a}c{c}d{d}" for a in (0, 1) for c in (0, 1) for d in (0, 1)]]


def test_a_run_that_asks_for_nothing_is_the_only_one() -> None:
    assert len(list(Exhaustive().runs())) == 1


def test_exhaustive_stops_at_its_limit_and_says_what_to_do() -> None:
    def count(limit: int) -> int:
        runs = 0
        for run in Exhaustive(limit=limit).runs():
            runs += 1
            for name in "abc":
                Choices(run).flag(name, 0.5)
        return runs

    assert count(8) == 8
    with pytest.raises(OverflowError, match="more than 7 combinations: fix some points"):
        count(7)


def test_exhaustive_survives_a_world_that_breaks_off() -> None:
    source = Exhaustive()
    runs = 0
    for run in source.runs():
        runs += 1
        choices = Choices(run)
        try:
            if choices.flag("crash", 0.5):
                raise LookupError
            choices.flag("other", 0.5)
        except LookupError:
            continue
    assert runs == 3


# -- choices


@pytest.mark.parametrize("source", [Typical(), Seeded(1), Drawn(lambda low, high: high), Replayed({}), Exhaustive()])
def test_a_point_is_decided_once_in_a_run(source: Source) -> None:
    choices = Choices(source)
    assert choices.integer("a", 0, 1, 9) == choices.integer("a", 0, 1, 9)
    assert list(choices.made) == ["a"]
    assert isinstance(source.name, str)


def test_fixed_points_and_globs() -> None:
    choices = Choices(
        Typical(),
        fixed={"twilio/*/delay": 3, "twilio/call1/ring/delay": 5, "twilio/*": 9, "openai/[x]/*": 1, "plain": 2},
    )
    assert choices.delay("twilio/call1/ring/delay", 0, 1, 10) == 0.005, "the point itself comes before a glob"
    assert choices.delay("twilio/call2/a/b/delay", 0, 1, 10) == 0.003, "then the first glob that matches"
    assert choices.integer("twilio/call2/count", 0, 1, 10) == 9
    assert choices.integer("not/twilio/call2/count", 0, 1, 10) == 1, "a glob matches the whole of a point"
    assert choices.integer("plain", 0, 1, 10) == 2
    assert choices.integer("plainer", 0, 1, 10) == 1
    assert choices.unused() == ["openai/[x]/*"], "as the case wrote it"


def test_fixed_values_win_over_every_source_and_are_part_of_the_trace() -> None:
    for source in (Seeded(1), Drawn(lambda low, high: high), Replayed({"a": 1}), Exhaustive()):
        choices = Choices(source, fixed={"a": 4})
        assert choices.integer("a", 0, 0, 9) == 4
        assert choices.values() == {"a": 4}


def test_points_that_were_fixed_and_never_asked_for_are_told() -> None:
    choices = Choices(Typical(), fixed={"asked": 1, "unasked": 1, "a/*": 1, "b/*": 1})
    choices.integer("asked", 0, 0, 1)
    choices.integer("a/1", 0, 0, 1)
    assert choices.unused() == ["unasked", "b/*"]


def test_one_of_fixed_to_an_option_that_is_not_there() -> None:
    choices = Choices(Typical(), fixed={"brain": 3, "ear": -1})
    with pytest.raises(ValueError, match=r"brain is fixed to option 3; there are 0 to 2: \['a', 'b', 'c'\]"):
        choices.one_of("brain", ["a", "b", "c"])
    with pytest.raises(ValueError, match="ear is fixed to option -1"):
        choices.one_of("ear", ["a", "b"])


def test_flags_without_a_chance_are_no_choice() -> None:
    for fixed in ({}, {"other/*": 1}):
        choices = Choices(Drawn(lambda low, high: high), fixed=fixed)
        assert choices.flag("never", 0) is False
        assert choices.flag("always", 1) is True
        assert choices.made == {}


def test_a_fixed_flag_is_what_it_is_fixed_to() -> None:
    choices = Choices(Typical(), fixed={"on": 1, "off": 0, "g/*/on": 1, "maybe": 1})
    assert choices.flag("on", 0) is True
    assert choices.flag("off", 1) is False
    assert choices.flag("g/1/on", 0) is True
    assert choices.flag("maybe", 0.5) is True
    assert choices.unused() == []
    again = Choices(Replayed(choices.values()), fixed=choices.fixed)
    assert [again.flag("on", 0), again.flag("off", 1)] == [True, False]


def test_delays_are_whole_milliseconds_in_seconds() -> None:
    choices = Choices(Seeded(5))
    for number in range(50):
        delay = choices.delay(f"d{number}", 20, 100, 30_000)
        assert 0.02 <= delay <= 30
        assert delay * 1000 == pytest.approx(choices.values()[f"d{number}"])


def test_tokens_follow_from_the_seed_and_the_point_and_are_no_choice() -> None:
    choices = Choices(Seeded(1), seed=1)
    token = choices.token("call1/sid", 32)
    assert token == choices.token("call1/sid", 32) == Choices(Typical(), seed=1).token("call1/sid", 32)
    assert token != choices.token("call2/sid", 32)
    assert token != Choices(Typical(), seed=2).token("call1/sid", 32)
    assert token == "2040f38065306afddc54dffd0066446c", "traces of today must mean the same ids tomorrow"
    assert [len(choices.token("x", length)) for length in (1, 7, 8, 33)] == [1, 7, 8, 33]
    assert choices.made == {}


def test_choices_leave_the_global_generator_alone() -> None:
    state = random.getstate()
    choices = Choices(Seeded(1))
    choices.flag("a", 0.5)
    choices.token("a", 4)
    assert random.getstate() == state


def test_describe_keeps_the_order_and_the_domain() -> None:
    choices = Choices(Typical())
    choices.integer("z", 1, 2, 3)
    choices.flag("a", 0.5)
    assert describe(choices.made) == [
        {"point": "z", "value": 2, "domain": [1, 2, 3]},
        {"point": "a", "value": 0, "domain": [0, 0, 1]},
    ]
