"""Azure's data files: errors, knobs, routes; and that they fit with those of OpenAI."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

import fakes.azure.errors
from fakes.azure.resources import azure_catalogue, data, suffixes
from fakes.azure.routes import is_web_socket
from fakes.azure.service import KNOBS
from fakes.knobs import Knobs
from fakes.openai import KNOBS as OPENAI_KNOBS
from fakes.openai.catalogue import catalogue
from fakes.openai.errors import VendorError, add_texts, error_text
from fakes.openai.plans import PLANNED_FIELDS
from fakes.openai.protocol import event_types

ERRORS = Path(fakes.azure.errors.__file__).with_name("errors.toml")


def entries() -> dict[str, dict[str, Any]]:
    return tomllib.loads(ERRORS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", entries())
def test_every_error_has_a_body_of_azure(name: str) -> None:
    error = VendorError(name, **PLANNED_FIELDS)
    assert error.body() == {"error": {"code": error.code, "message": error.message}}
    assert "{" not in error.message
    assert error.text.status >= 400
    assert error.text.evidence in ("O", "D", "S", "U")


def test_names_of_errors_are_taken_once(tmp_path: Path) -> None:
    again = tmp_path / "errors.toml"
    again.write_text('[invalid_api_key]\nmessage = "no"\nevidence = "U"\n')
    with pytest.raises(ValueError, match="'invalid_api_key' is there already"):
        add_texts(again, ("message",))
    add_texts(ERRORS, ("code", "message"))
    assert error_text("DeploymentNotFound").name == "azure_deployment_not_found"


def test_knobs_say_what_they_rest_on() -> None:
    knobs = Knobs.load(OPENAI_KNOBS, KNOBS)
    for name in knobs:
        knob = knobs.knob(name)
        assert knob.check(knob.default) == knob.default
        assert knob.behaviour.endswith(".")
        assert knob.evidence
        assert knob.source
    assert {name.partition(".")[0] for name in Knobs.load(KNOBS)} == {"azure"}


def test_routes() -> None:
    paths = [route["path"] for route in data()["routes"]]
    assert len(set(paths)) == len(paths)
    assert {route["family"] for route in data()["routes"]} == {"preview", "v1", "regional"}
    assert is_web_socket("/openai/v1/realtime")
    assert is_web_socket("/openai/realtime")
    assert not is_web_socket("/v1/realtime")
    assert suffixes()[0] == "openai.azure.com"


def test_the_filter_names_events_that_there_are() -> None:
    known = {*event_types("ga", "server"), *event_types("beta", "server")}
    assert set(data()["webrtc_filter"]["events"]) <= known


def test_the_eras_are_azures_own() -> None:
    day = data()["eras"]["v1_from"]
    assert azure_catalogue().era(day).dialects == ("beta", "ga")
    assert azure_catalogue().models == catalogue().models
    assert not azure_catalogue().era(day.replace(year=2030)).beta_disabled
