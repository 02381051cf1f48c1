"""Session objects in every shape that the vendor may give them: fields that say nothing left out, in another order.

A client that reads sessions must not depend on a field that is null or empty being there, nor on the order of fields.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

Wire = dict[str, Any]


def shaped(session: Mapping[str, Any], shape: int, allowed: Callable[[Wire], bool]) -> Wire:
    """`session` in one of 256 shapes; 0 is as it stands.

    Bits 0 to 6 of `shape` each leave out every seventh of the fields that are null or empty, counted through the whole
    object, where the object is still `allowed` without it; bit 7 reverses the order of all fields.
    """
    result: Wire = copy.deepcopy(dict(session))
    if not shape:
        return result
    for index, path in enumerate(_empty(result)):
        if shape >> (index % 7) & 1:
            owner = result
            for key in path[:-1]:
                owner = owner[key]
            place, value = list(owner), owner.pop(path[-1])
            if not allowed(result):
                owner[path[-1]] = value
                for key in place:
                    owner[key] = owner.pop(key)
    return _reversed(result) if shape & 128 else result


def _empty(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, item in value.items():
        if item is None or item == []:
            found.append((*path, key))
        elif isinstance(item, Mapping):
            found += _empty(item, (*path, key))
    return found


def _reversed(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: _reversed(value[key]) for key in reversed(list(value))}
