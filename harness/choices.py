"""Choices: the single source of every value that a run may vary.

`Choices.pick(point, domain)` asks a source for a whole number; everything else (delays, options, flags) is built on it,
and every answer is written down, so that a run can be told again by its trace. Tokens for ids do not vary a run: they
follow from the seed and the point alone.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Domain:
    """The whole numbers from `low` to `high` inclusive, of which `typical` is the everyday one.

    `chance`: for a yes/no domain the probability of yes in a random run.
    """

    low: int
    typical: int
    high: int
    chance: float | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.typical <= self.high:
            raise ValueError(f"a domain wants low <= typical <= high, not {self.low}, {self.typical}, {self.high}")

    def __contains__(self, value: int) -> bool:
        return self.low <= value <= self.high


class Source(Protocol):
    """Where the values of a run come from."""

    name: str

    def choose(self, point: str, domain: Domain) -> int:
        """A value of `domain` for `point`."""
        ...


def fraction(seed: int, point: str) -> float:
    """A number from 0 up to but not including 1 that follows from the seed and the point, and from nothing else."""
    digest = hashlib.blake2b(point.encode(), digest_size=8, key=str(seed).encode()).digest()
    # The 53 bits that a float holds exactly: all 64 could round up to 1.
    return (int.from_bytes(digest) >> 11) / 2**53


class Typical:
    """The typical value everywhere: the run that a vendor's customers see every day."""

    name = "typical"

    def choose(self, point: str, domain: Domain) -> int:
        return domain.typical


class Seeded:
    """Values spread evenly over each domain, each one following from the seed and its point.

    Whether another point was asked for before makes no difference: a small change of the program keeps most of a run.
    """

    name = "seeded"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def choose(self, point: str, domain: Domain) -> int:
        part = fraction(self.seed, point)
        if domain.chance is not None:
            return int(part < domain.chance)
        return domain.low + int(part * (domain.high - domain.low + 1))


class Drawn:
    """Hypothesis owns the values: it searches, and shrinks towards the typical ones."""

    name = "drawn"

    def __init__(self, draw_integer: Callable[[int, int], int]) -> None:
        """`draw_integer(low, high)` draws a whole number and shrinks towards 0."""
        self._draw = draw_integer

    def choose(self, point: str, domain: Domain) -> int:
        if domain.low == domain.high:
            return domain.low
        return domain.typical + self._draw(domain.low - domain.typical, domain.high - domain.typical)


class Replayed:
    """The values of a trace. A point that the trace does not know gets its typical value and is listed in `missing`."""

    name = "replayed"

    def __init__(self, values: Mapping[str, int]) -> None:
        self._values = dict(values)
        self.missing: list[str] = []

    def choose(self, point: str, domain: Domain) -> int:
        value = self._values.get(point)
        if value is None or value not in domain:
            self.missing.append(point)
            return domain.typical
        return value


class Exhaustive:
    """Every combination of a few values per domain, one run after the other.

    Use: `for source in Exhaustive().runs(): ...run a world with it...`. A domain of at most `grain` values offers all
    of them; a larger one its typical value, its ends, and values spread evenly between them. Depth first: the last
    point that was asked for moves first.
    """

    name = "exhaustive"

    def __init__(self, grain: int = 3, limit: int = 100_000) -> None:
        self.grain = grain
        self.limit = limit
        self._path: list[tuple[str, list[int], int]] = []
        self._depth = 0

    def runs(self) -> Iterator[Exhaustive]:
        """This source once for each combination; stops by itself, or raises `OverflowError` after `limit` runs."""
        for count in range(self.limit + 1):
            if count == self.limit:
                raise OverflowError(f"more than {self.limit} combinations: fix some points or take a smaller grain")
            self._depth = 0
            yield self
            del self._path[self._depth :]
            while self._path and self._path[-1][2] + 1 >= len(self._path[-1][1]):
                self._path.pop()
            if not self._path:
                return
            point, values, index = self._path[-1]
            self._path[-1] = (point, values, index + 1)

    def choose(self, point: str, domain: Domain) -> int:
        if self._depth < len(self._path) and self._path[self._depth][0] == point:
            _, values, index = self._path[self._depth]
        else:
            values, index = self._offered(domain), 0
            del self._path[self._depth :]
            self._path.append((point, values, index))
        self._depth += 1
        return values[index]

    def _offered(self, domain: Domain) -> list[int]:
        steps = max(self.grain - 1, 1)
        if domain.high - domain.low < self.grain:
            spread = list(range(domain.low, domain.high + 1))
        else:
            spread = [domain.low + (domain.high - domain.low) * step // steps for step in range(1, steps)]
        return list(dict.fromkeys((domain.typical, domain.low, domain.high, *spread)))[: self.grain]


@dataclass(slots=True)
class Made:
    """One choice that was made."""

    domain: Domain
    value: int


PLANTED = "plant/"
"""How the points begin of what a world plants in a gateway's settings: keys, tokens, secrets."""


@dataclass(slots=True)
class Choices:
    """The choices of one run. `fixed` maps points (or globs such as `twilio/*/callback/*/delay`) to values.

    `salt`: what makes tokens differ from those of another world with this seed, for a gateway that sees both.
    """

    source: Source
    seed: int = 0
    fixed: Mapping[str, int] = field(default_factory=dict)
    made: dict[str, Made] = field(default_factory=dict)
    salt: str = ""
    _globs: dict[str, re.Pattern[str]] = field(init=False)

    def __post_init__(self) -> None:
        self._globs = {point: re.compile(fnmatch.translate(point)) for point in self.fixed if "*" in point}

    def pick(self, point: str, domain: Domain) -> int:
        """The value at `point`: made once in a run, and remembered."""
        made = self.made.get(point)
        if made is None:
            value = self._fixed_value(point)
            if value is None:
                value = self.source.choose(point, domain)
            made = self.made[point] = Made(domain, value)
        return made.value

    def _fixed_value(self, point: str) -> int | None:
        if point in self.fixed:
            return self.fixed[point]
        for glob, pattern in self._globs.items():
            if pattern.match(point):
                return self.fixed[glob]
        return None

    def unused(self) -> list[str]:
        """Fixed points that the run never asked for: a case that fixes them does not do what it says."""
        names = [point for point in self.fixed if point not in self._globs and point not in self.made]
        return names + [glob for glob, p in self._globs.items() if not any(p.match(point) for point in self.made)]

    def values(self) -> dict[str, int]:
        """Point to value, in the order in which they were asked for."""
        return {point: made.value for point, made in self.made.items()}

    # -- what fakes ask for (fakes.ports.Choices)

    def delay(self, point: str, low_ms: int, typical_ms: int, high_ms: int) -> float:
        """A duration in seconds, a whole number of milliseconds."""
        return self.pick(point, Domain(low_ms, typical_ms, high_ms)) / 1000

    def integer(self, point: str, low: int, typical: int, high: int) -> int:
        """A whole number."""
        return self.pick(point, Domain(low, typical, high))

    def one_of(self, point: str, options: Sequence[T]) -> T:
        """One of `options`, the first being the typical one. Raises `ValueError` for a fixed one that is not there."""
        domain = Domain(0, 0, len(options) - 1)
        value = self.pick(point, domain)
        if value not in domain:
            raise ValueError(f"{point} is fixed to option {value}; there are 0 to {domain.high}: {list(options)}")
        return options[value]

    def flag(self, point: str, chance: float) -> bool:
        """Yes or no; with a chance of 0 or 1 there is nothing to choose, unless the point is fixed."""
        if (chance <= 0 or chance >= 1) and self._fixed_value(point) is None:
            return chance >= 1
        return bool(self.pick(point, Domain(0, 0, 1, chance)))

    def token(self, point: str, length: int) -> str:
        """Hex digits that follow from the seed and the point; no choice, so not part of a trace.

        What is planted in a gateway's settings is the same in every world: the gateway may be as well.
        """
        salt = "" if point.startswith(PLANTED) else self.salt
        return hashlib.shake_128(f"{self.seed}/{salt}{point}".encode()).hexdigest((length + 1) // 2)[:length]


def describe(values: Mapping[str, Made]) -> list[dict[str, Any]]:
    """The choices as a trace keeps them: point, domain, value."""
    return [
        {"point": point, "value": made.value, "domain": [made.domain.low, made.domain.typical, made.domain.high]}
        for point, made in values.items()
    ]
