"""Session objects in every shape that the vendor may give them: fields that say nothing left out, in another order.

A client that reads sessions must not depend on a field that is null or empty being there, nor on the order of fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Wire = dict[str, Any]


def shaped(session: Mapping[str, Any], shape: int) -> Wire:
    """`session` in one of 256 shapes; 0 is as it stands.

    Bits 0 to 6 of `shape` each leave out every seventh of the fields that are null or empty, counted through the whole
    object; bit 7 reverses the order of all fields.
    """
    if not shape:
        return dict(session)
    counter = iter(range(1_000_000))

    def visit(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        kept = [
            (key, visit(item))
            for key, item in value.items()
            if not (item is None or item == []) or not shape >> (next(counter) % 7) & 1
        ]
        return dict(reversed(kept) if shape & 128 else kept)

    result: Wire = visit(session)
    return result
