"""Versions of a gateway: `NAME@VERSION`, and the overlays below `[versions."VERSION"]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.profiles.errors import ProfileError, nearest
from harness.profiles.ways import KINDS

Fault = Callable[[Sequence[str | int], str], ProfileError]
"""Makes an error of a path in the file and of what is to be said about it."""

REQUEST_ONLY = ("headers", "json", "form")


def split_version(name: str) -> tuple[str, str | None]:
    """`openclaw@2026.4.15` as the gateway and its version, None for no version."""
    gateway, at, version = name.rpartition("@")
    return (gateway, version) if at and gateway else (name, None)


def known_versions(data: Mapping[str, Any]) -> list[str]:
    """The versions that a profile lists: the one that is taken by default, and all that have an overlay."""
    gateway = data.get("gateway")
    default = gateway.get("version") if isinstance(gateway, Mapping) else None
    listed = data.get("versions", {})
    own = [default] if isinstance(default, str) and default else []
    return list(dict.fromkeys([*own, *(listed if isinstance(listed, Mapping) else ())]))


def with_version(data: Mapping[str, Any], version: str | None, fault: Fault) -> dict[str, Any]:
    """The tables of one version, None for the default one: those of the profile with the version's overlay.

    Tables merge, everything else is replaced; `false` takes a table, a text or a list away. Raises `ProfileError` for
    a version that the profile does not list.
    """
    base = {key: value for key, value in data.items() if key != "versions"}
    overlays = data.get("versions", {})
    if not isinstance(overlays, Mapping) or not all(isinstance(overlay, Mapping) for overlay in overlays.values()):
        raise fault(["versions"], 'write a table for each version, such as [versions."1.2"]')
    known = known_versions(data)
    if version is None:
        version = next(iter(known), "")
    elif version not in known:
        if not overlays:
            own = f"only {known[0]!r}" if known else "none"
            raise fault(["gateway", "version"], f"no version is called {version!r}: the profile lists {own}")
        raise fault(["versions"], f"no version is called {version!r}{nearest(version, known)}")
    merged = _merged(base, overlays.get(version, {}), ("versions", version), fault)
    if isinstance(merged.get("gateway"), dict) and version:
        merged["gateway"]["version"] = version
    return merged


def _merged(base: Mapping[str, Any], overlay: Mapping[str, Any], path: tuple[str, ...], fault: Fault) -> dict[str, Any]:
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key in _replaced(base, overlay, path):
        merged.pop(key, None)
    for key, value in overlay.items():
        below = merged.get(key)
        if len(path) == 2 and key == "gateway" and isinstance(value, Mapping) and "version" in value:
            raise fault([*path, key, "version"], "a version has its name from its table; leave this out")
        if len(path) == 2 and key == "claims" and isinstance(value, Mapping):
            merged[key] = _claims(below if isinstance(below, Mapping) else {}, value, (*path, key), fault)
        elif isinstance(value, Mapping):
            merged[key] = _merged(below if isinstance(below, Mapping) else {}, value, (*path, key), fault)
        elif value is False and key in merged and not isinstance(below, bool):
            del merged[key]
        else:
            merged[key] = value
    return merged


def _replaced(base: Mapping[str, Any], overlay: Mapping[str, Any], path: tuple[str, ...]) -> set[str]:
    """Keys that go because of what the overlay says: a table has one way of asking, and a setting one target."""
    table = path[2] if len(path) > 2 else ""
    choices: tuple[str, ...] = ()
    if table in ("operations", "talk") and len(path) == 4:
        choices = KINDS
    elif table == "settings":
        choices = ("env", "arg")
    chosen = [key for key in choices if key in overlay]
    if not chosen:
        return set()
    gone = {key for key in choices if key not in overlay}
    return gone | set(REQUEST_ONLY) if "request" in gone and "request" in base else gone


def _claims(base: Mapping[str, Any], overlay: Mapping[str, Any], path: tuple[str, ...], fault: Fault) -> dict[str, Any]:
    """Claims have two words more: `with` adds features to those of the profile, `without` takes some away."""
    changes = {key: value for key, value in overlay.items() if key not in ("with", "without")}
    merged = _merged(base, changes, path, fault)
    features = merged.get("features", [])
    lists: dict[str, list[str]] = {}
    for key in ("with", "without"):
        lists[key] = overlay.get(key, [])
        if not isinstance(lists[key], list) or not all(isinstance(item, str) for item in lists[key]):
            raise fault([*path, key], "write a list of features")
    for position, feature in enumerate(lists["without"]):
        if feature not in features:
            raise fault(
                [*path, "without", position], f"the profile does not claim {feature!r}{nearest(feature, features)}"
            )
    kept = [feature for feature in features if feature not in lists["without"]]
    merged["features"] = [*kept, *(feature for feature in lists["with"] if feature not in kept)]
    return merged
