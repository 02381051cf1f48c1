"""The family of the 403: whichever cause a gateway brings about, the suite says which one it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken.suite import World, play

from harness.profile import ProfileError, load_profile

KNOWS_A_PROJECT = "the_key_knows_a_project_without_the_model"

CAUSES = {
    "mints_elsewhere": (
        KNOWS_A_PROJECT,
        "TALK-MI-007",
        "the secret is minted for OpenAI-Project proj_elsewhere, not for the key's own",
        "the secret was minted in project proj_elsewhere, and the project of the key is proj_callproof",
    ),
    "mints_old_model": (
        "the_key_may_use_one_model_only",
        "TALK-MI-003",
        "the session names gpt-realtime, and the configured model is gpt-realtime-2",
        "the secret is bound to gpt-realtime, and the configured model is gpt-realtime-2",
    ),
    "mints_at_sessions": (
        "the_beta_still_mints",
        "TALK-MI-001",
        "a secret is minted at /v1/realtime/sessions",
        "the secret was minted in the shape or at the endpoint of the beta",
    ),
    "mints_flat": (
        "the_beta_still_mints",
        "TALK-MI-002",
        "session.type is missing, as in the beta",
        "the secret was minted in the shape or at the endpoint of the beta",
    ),
    "offers_another_model": (
        "the_offer_is_held_against_the_secret",
        "TALK-MI-015",
        "the offer goes to ?model=gpt-realtime, and the secret is bound to gpt-realtime-2",
        "the offer goes to ?model=gpt-realtime, and the secret is bound to gpt-realtime-2",
    ),
    "gives_the_session_id": (
        "the_offer_is_held_against_the_secret",
        "TALK-MI-011",
        "the browser was given no secret that OpenAI has minted",
        "what the browser was given is no secret that OpenAI has minted",
    ),
}


@pytest.mark.parametrize("fault", CAUSES)
def test_the_cause_is_named(fault: str) -> None:
    case, rule, seen, cause = CAUSES[fault]
    found = {each.requirement: each.message for each in play(World(f"broken.talk_minting:{fault}", case))}
    also = {"TALK-MI-018"} | ({"TALK-MI-015"} if fault == "mints_old_model" else set())
    assert seen in found[rule]
    assert found["TALK-MI-018"].startswith("OpenAI refused the browser's offer: 40")
    assert cause in found["TALK-MI-018"]
    assert set(found) - {"TALK-MI-016"} == {rule, *also}


def test_a_claim_of_explanations_needs_a_way_to_ask(tmp_path: Path) -> None:
    text = '[gateway]\nname = "g"\npython = "g:main"\n[claims]\nfeatures = ["talk.explain"]\n'
    (tmp_path / "profile.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=r"so \[talk\.explain\] has to say how to do it"):
        load_profile(tmp_path)
    (tmp_path / "profile.toml").write_text(f'{text}[talk.explain]\nrequest = "say it"\n', encoding="utf-8")
    with pytest.raises(ProfileError, match=r"talk\.explain\.request: write a method and a path"):
        load_profile(tmp_path)
