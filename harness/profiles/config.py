"""Configuration files of a gateway: Jinja templates in the profile's folder, filled in with the world's settings."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

import jinja2

from harness.profiles.errors import ProfileError, nearest
from harness.profiles.templates import is_among, nested
from harness.profiles.vocabulary import PLACES, VOCABULARY


@functools.lru_cache(maxsize=32)
def _environment(folder: Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def check_template(folder: Path, name: str) -> None:
    """Raises `ProfileError` for a template that is not there, or is none."""
    try:
        _environment(folder).get_template(name)
    except jinja2.TemplateNotFound as error:
        raise ProfileError(f"{folder / str(error)}: there is no such template") from None
    except jinja2.TemplateSyntaxError as error:
        raise ProfileError(f"{error.filename}:{error.lineno}: {error.message}") from None
    except UnicodeDecodeError as error:
        raise ProfileError(f"{folder / name}: {error}") from None


def render_file(folder: Path, name: str, values: Mapping[str, str]) -> str:
    """A template with its settings filled in. Raises `ProfileError` for a name that stands for nothing."""
    check_template(folder, name)
    try:
        return _environment(folder).get_template(name).render(nested(values))
    except jinja2.UndefinedError as error:
        raise ProfileError(f"{_where(error, folder, name)}: {_undefined(error.message or '', values)}") from None
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise ProfileError(f"{_where(error, folder, name)}: {type(error).__name__}: {error}") from None


def mentions(folder: Path, name: str, setting: str) -> bool:
    """Whether a template has a setting in it; the files that it includes are not looked into."""
    text = (folder / name).read_text(encoding="utf-8")
    return re.search(rf"(?<![\w.]){re.escape(setting)}(?![\w])", text) is not None


def _where(error: BaseException, folder: Path, name: str) -> str:
    """The file and the line of a template at which it went wrong: jinja2 puts them into the traceback."""
    found = str(folder / name)
    for frame in _frames(error.__traceback__):
        if frame.tb_frame.f_code.co_filename.startswith(str(folder)):
            found = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
    return found


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _undefined(message: str, values: Mapping[str, str]) -> str:
    """What is said about a name that stands for nothing: this world may not have it, or nobody."""
    match = re.search(r"'([\w.]+)' is undefined|has no attribute '(\w+)'", message)
    if match is None:
        return message
    name = match.group(1) or match.group(2)
    if match.group(1) is not None and is_among(name, VOCABULARY):
        return f"this world has no {name}; write {{% if {name} is defined %}} around what is about it"
    known = {*VOCABULARY, *PLACES, *values}
    if match.group(1) is not None:
        return f"nothing is called {name}{nearest(name, {*known, *(each.partition('.')[0] for each in known)})}"
    unset = [each for each in VOCABULARY if each.endswith(f".{name}") and each not in values]
    if unset:
        return f"this world has no {' or '.join(unset)}; write {{% if {unset[0]} is defined %}} around what is about it"
    parts = {each.rpartition(".")[2] for each in known if "." in each}
    return f"no setting ends in .{name}{nearest(name, parts)}"
