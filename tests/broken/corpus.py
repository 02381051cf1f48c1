"""The corpus: every fault, and exactly which requirements the suite finds broken because of it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from broken import Entry
from broken.azure_rows import ROWS as AZURE
from broken.suite import applicable, cases


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken gateway.

    `entry`: what its profile names. `cases`: those that are run. `fails`, `warns`: all requirements with that verdict
    in them. `column`: a key of `suite.COLUMNS`.
    """

    entry: str
    fails: frozenset[str]
    warns: frozenset[str]
    column: str
    cases: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name in the corpus."""
        return self.entry.partition(":")[2]

    @property
    def main(self) -> Entry:
        """Its entry point."""
        module, _, name = self.entry.partition(":")
        main: Entry = getattr(importlib.import_module(module), name)
        return main


NOBODY_IS_SERVED = """
    AUD-001 AUD-002 AUD-003 AUD-004 AUD-008 AUD-009 LIFE-001 LIFE-002 LIFE-003 LIFE-007 LIFE-008 LIFE-010 OAI-TU-002
    OAI-TU-007 ROB-001 ROB-002 ROB-003 ROB-004 ROB-005 SEC-001 SEC-003 SEC-004 SEC-005 SEC-006 TOOL-002 TOOL-003
    TOOL-004 TWI-CB-002 TWI-CB-003 TWI-CB-004 TWI-CB-005 TWI-CB-006 TWI-CB-007 TWI-CB-008 TWI-CB-009 TWI-CB-010
    TWI-REST-004 TWI-REST-006 TWI-ST-004 TWI-ST-005 TWI-ST-007 TWI-ST-009 TWI-ST-010 TWI-WH-009
"""
"""What fails when callers never hear the greeting: the story of every case that needs a call breaks off there."""

FIRST_CASES = (
    "a_caller_is_greeted_and_answered",
    "audio_in_odd_pieces_is_played_whole",
    "a_conversation_of_three_turns",
    "an_outbound_call_is_bridged",
    "a_slow_handshake_does_not_cost_the_call",
    "a_hang_up_before_the_bridge_is_up",
    "a_refused_session_update_is_not_passed_over",
    "the_key_is_refused",
    "the_model_never_answers",
    "genuine_requests_pass_behind_a_proxy",
    "a_refused_create_is_reported",
)
"""Enough cases for a gateway that serves nobody: the others would all say the same."""

NO_GREETING = "AUD-001 AUD-002 AUD-003 AUD-004 LIFE-007 SEC-003 TWI-REST-004"
"""What fails in the first cases when callers never hear the greeting."""

NO_OUTBOUND = """
    AUD-002 LIFE-002 TWI-CB-002 TWI-CB-003 TWI-CB-004 TWI-CB-005 TWI-CB-006 TWI-CB-008 TWI-CB-009 TWI-CB-010
    TWI-REST-004 TWI-REST-006
"""
"""What fails when whoever is called hears nothing."""


RARE = ("dialects", "errors", "function_calls", "sessions", "transcription", "turns")
"""Areas (`test_AREA.py`) of rare situations: only the faults that show there are tried in them."""


def _area(name: str) -> str:
    return cases()[name].run.__module__.partition("test_")[2]


def _common(column: str) -> tuple[str, ...]:
    """The cases of everyday calls on the phone."""
    return tuple(n for n in applicable(column) if _area(n) not in RARE and not _area(n).startswith(("talk", "azure")))


def _fault(
    entry: str, fails: str, warns: str = "", *, column: str = "ga", only: tuple[str, ...] | None = None
) -> Fault:
    played = _common(column) if only is None else only
    return Fault(f"broken.{entry}", frozenset(fails.split()), frozenset(warns.split()), column, played)


def _serves_nobody(entry: str, fails: str, warns: str = "", *, column: str = "ga") -> Fault:
    return _fault(entry, f"{NO_GREETING} {fails}", warns, column=column, only=FIRST_CASES)


USUAL = (
    "a_caller_is_greeted_and_answered",
    "a_conversation_of_three_turns",
    "pressed_keys_reach_the_model_in_order",
    "interruption_while_only_twilio_is_playing",
    "a_tool_is_called_and_its_answer_is_spoken",
    "the_model_ends_the_call",
)
"""A call of every kind, in which a fault of a rare situation must do no harm."""


def _rare(
    entry: str,
    fails: str,
    warns: str = "",
    *,
    column: str = "ga",
    area: str = "",
    usual: tuple[str, ...] = USUAL,
    only: tuple[str, ...] = (),
) -> Fault:
    """A fault that shows in one area only: the usual calls are tried, and the cases of `test_AREA.py` or `only`."""
    near = tuple(name for name in applicable(column) if _area(name) == area)
    return _fault(entry, fails, warns, column=column, only=usual + near + only)


TALKS = (
    "a_browser_is_given_a_secret_of_its_own",
    "two_people_ask_at_once",
    "the_page_may_go_where_it_is_sent",
    "strangers_ask_for_a_secret",
    "the_model_may_not_be_used",
    "the_key_knows_a_project_without_the_model",
    "the_key_may_use_one_model_only",
    "the_beta_still_mints",
    "the_offer_is_held_against_the_secret",
    "the_model_is_taken_away_after_minting",
)
"""What is tried with every fault of Talk over WebRTC."""

NOBODY_TALKS = """
    TALK-ER-008 TALK-ER-011 TALK-MI-011 TALK-MI-014 TALK-MI-018 TALK-SE-006 TALK-SE-012
"""
"""What fails in those when nothing is minted that is of any use."""


def _talk(entry: str, fails: str, warns: str = "", *, area: str = "") -> Fault:
    """A fault of Talk over WebRTC: those cases are tried, and the others of `test_AREA.py`."""
    near = tuple(name for name in applicable("ga") if area and cases()[name].run.__module__.endswith(f".test_{area}"))
    return _fault(entry, fails, warns, only=tuple(dict.fromkeys(TALKS + near)))


RELAYS = (
    "a_conversation_of_three_turns_over_the_relay",
    "an_interruption_while_only_the_page_is_playing",
    "a_tool_is_run_over_the_relay",
    "the_person_leaves",
)
"""What is tried with every fault of Talk over the relay."""

STILL_SENDING = "an_interruption_while_the_model_is_still_sending_to_the_relay"
LOST = ("the_session_of_a_relay_expires", "the_session_of_a_relay_is_lost_without_a_close")
REFUSED = (
    "the_relay_is_refused_its_model",
    "the_key_of_the_relay_is_refused",
    "the_session_update_of_the_relay_is_refused",
)
ADMITTED = (
    "what_admits_a_browser_admits_one",
    "what_admits_a_browser_expires",
    "a_browser_that_nothing_admits",
    "a_page_of_somebody_else_opens_the_relay",
)
TOGETHER = (
    "two_people_talk_over_the_relay_at_once",
    "a_phone_call_and_a_browser_at_once",
    "a_browser_sends_nonsense",
    "a_browser_that_does_not_read",
)


def _relay(entry: str, fails: str, warns: str = "", *only: str) -> Fault:
    """A fault of Talk over the relay: the usual conversations are tried, and `only`."""
    return _fault(f"talk_relay:{entry}", fails, warns, only=RELAYS + only)


def _webrtc(entry: str, fails: str, warns: str = "") -> Fault:
    """A fault of Talk over WebRTC that shows in the conversation."""
    return _rare(f"talk_webrtc:{entry}", fails, warns, area="talk_webrtc", usual=())


_ALL = (
    # What is asked of OpenAI.
    _fault("dialect:beta_to_ga", f"{NOBODY_IS_SERVED} LIFE-005 OAI-HS-001 OAI-HS-002 OAI-SE-005", "ROB-006"),
    _fault("dialect:ga_to_preview", "OAI-HS-002", column="beta"),
    _serves_nobody("dialect:no_session_type", "LIFE-005 OAI-SE-001"),
    _serves_nobody("dialect:beta_parameter_in_ga", "LIFE-005 OAI-SE-002"),
    _serves_nobody("dialect:type_in_beta", "LIFE-005 OAI-SE-003", column="beta"),
    _fault("dialect:model_hard_coded", "OAI-HS-003"),
    _serves_nobody("dialect:beta_events_in_ga", "LIFE-005 OAI-AU-002"),
    _fault(
        "dialect:pcm_declared",
        """
        AUD-002 AUD-003 AUD-004 AUD-008 AUD-009 LIFE-001 LIFE-005 OAI-AU-001 OAI-TU-002 OAI-TU-007 ROB-001 ROB-002
        ROB-003 ROB-004 ROB-005 SEC-002 SEC-005 TOOL-002 TOOL-003 TOOL-004 TWI-CB-002 TWI-CB-003 TWI-CB-004 TWI-CB-005
        TWI-ST-004 TWI-ST-005 TWI-ST-007 TWI-WH-009
        """,
        "ROB-006",
    ),
    _serves_nobody("dialect:pcm_passed_on", "LIFE-005"),
    _serves_nobody("dialect:greets_too_early", "OAI-SE-006"),
    _fault("dialect:carries_on_unconfigured", "OAI-SE-005"),
    _fault("dialect:truncates_without_index", "OAI-SE-004"),
    # Living with the session.
    _fault("upstream:silent_when_refused", "LIFE-004 OAI-SE-005"),
    _fault("upstream:silent_when_lost", "LIFE-003"),
    _fault("upstream:reconnects_forever", "LIFE-004 LIFE-009 OAI-HS-004 OAI-HS-005"),
    _fault("upstream:impatient", "LIFE-005 TWI-CB-002 TWI-CB-004 TWI-CB-005"),
    _fault("upstream:opens_after_hang_up", "LIFE-006 LIFE-009"),
    _fault("upstream:keeps_session", "LIFE-001 LIFE-002 LIFE-008 LIFE-009 TWI-CB-007 TWI-CB-009"),
    _fault("upstream:ends_on_error", "OAI-TU-002"),
    _fault("upstream:ends_on_failed_response", "OAI-TU-007"),
    # Whose turn it is.
    _fault("turns:creates_while_active", "OAI-TU-001"),
    _fault("turns:answers_twice", "OAI-TU-004"),
    _fault("turns:never_clears", "TWI-ST-004 TWI-ST-005"),
    _fault("turns:clears_only_while_active", "TWI-ST-004 TWI-ST-005"),
    _fault("turns:clears_late", "", "AUD-007"),
    _fault("turns:plays_stale_deltas", "TWI-ST-006"),
    _fault("turns:truncates_at_sent", "OAI-TU-005 TWI-ST-007"),
    _fault("turns:never_truncates", "", "OAI-TU-006"),
    _fault("turns:marks_of_clear_count", "TWI-ST-007"),
    _fault("turns:clears_input_on_barge_in", "AUD-008"),
    _fault("turns:forgets_to_go_on", "TOOL-002 TOOL-004"),
    _fault("turns:runs_tools_twice", "TOOL-001"),
    _fault("turns:ignores_unknown_tools", "TOOL-001 TOOL-003"),
    _fault("turns:ignores_end_call", "TOOL-004"),
    _fault("turns:cuts_goodbye", "", "TOOL-005"),
    _fault("turns:ignores_digits", "TWI-ST-009"),
    # On the media stream.
    _serves_nobody("streams:sends_wav_header", "LIFE-005 TWI-ST-003"),
    _fault("streams:extra_field", "TWI-ST-001"),
    _serves_nobody("streams:call_sid_for_stream_sid", "LIFE-005 TWI-ST-002"),
    _serves_nobody("streams:drops_odd_bytes", "LIFE-005"),
    _fault("streams:drops_the_tail", "AUD-001 AUD-002 AUD-004"),
    _fault("streams:drops_early_audio", "", "AUD-006"),
    _fault("streams:batches_audio", "", "AUD-005"),
    _fault("streams:sends_after_stop", "TWI-ST-008"),
    _fault("streams:hangs_up_after_stop", "TWI-ST-010"),
    _fault("streams:waits_for_completed", "LIFE-008 LIFE-009 TWI-CB-007"),
    _fault("streams:waits_for_stop", "LIFE-008 LIFE-009"),
    _fault("streams:mixes_calls", "AUD-009 ROB-003 TWI-ST-002"),
    _fault("streams:stays_busy_after_loss", "LIFE-007"),
    # What should not come, or is new.
    _fault("robustness:brittle", "ROB-001"),
    _fault("robustness:shares_its_fate", "ROB-001 ROB-003"),
    _fault("robustness:dead_reader", "OAI-AU-002 ROB-005"),
    _fault("robustness:trips_over_stream_events", "ROB-002"),
    _fault("robustness:trips_over_model_events", "ROB-004"),
    _fault("robustness:limits_model_events", "", "ROB-006"),
    # Status callbacks.
    _fault("callbacks:says_on_answered", NO_OUTBOUND, "TWI-CB-001"),
    _fault("callbacks:twiml_on_callback", f"{NO_OUTBOUND} TWI-WH-008"),
    _fault("callbacks:refuses_late_callbacks", "", "TWI-CB-001"),
    _fault("callbacks:refuses_early_fetch", "TWI-CB-010 TWI-WH-001"),
    _fault("callbacks:late_callback_reopens", "TWI-CB-006"),
    _fault("callbacks:late_callback_calls_twilio", "TWI-CB-006"),
    _fault("callbacks:busy_keeps_place", "TWI-CB-008"),
    _fault("callbacks:greets_per_callback", "OAI-TU-003 TWI-CB-005"),
    _fault("callbacks:ends_twice", "TWI-CB-005 TWI-CB-009 TWI-ST-010"),
    # Answering requests for TwiML.
    _fault("webhooks:pauses_outbound", f"{NO_OUTBOUND} TWI-WH-008"),
    _serves_nobody("webhooks:starts_stream", "LIFE-005 LIFE-006 OAI-SE-005 TWI-WH-003 TWI-WH-008"),
    _serves_nobody("webhooks:plain_scheme", "LIFE-005 LIFE-006 OAI-SE-005 TWI-WH-004"),
    _serves_nobody("webhooks:token_in_query", "LIFE-005 LIFE-006 OAI-SE-005 TWI-WH-005"),
    _fault("webhooks:unescaped", "TWI-WH-002"),
    _fault("webhooks:long_parameter", "TWI-WH-006"),
    _fault("webhooks:waits_for_model", "LIFE-009 OAI-HS-004 TWI-WH-007"),
    _fault("webhooks:refuses_repeats", "TWI-WH-001 TWI-WH-009"),
    _fault("webhooks:empty_for_repeats", "TWI-WH-003"),
    _fault("webhooks:new_token_for_repeats", "TWI-WH-009"),
    # Calls over REST, and the operator.
    _fault("operations:joins_events", "TWI-CB-005 TWI-CB-006 TWI-REST-002"),
    _fault("operations:relative_url", f"{NO_OUTBOUND} TWI-REST-001 TWI-REST-003 TWI-REST-005"),
    _fault("operations:retries_create", "LIFE-009 TWI-REST-003"),
    _fault("operations:hides_refusal", "TWI-REST-004"),
    _fault("operations:hangs_up_streams_only", "TWI-REST-005"),
    _fault("operations:trips_over_ended_call", "TWI-REST-006"),
    _fault("operations:cancels", "LIFE-002"),
    _fault("operations:unhealthy_in_calls", "LIFE-010"),
    # Who may do what, and where credentials go.
    _fault("security:no_signature", "SEC-001 SEC-002"),
    _fault("security:accepts_unsigned", "SEC-002"),
    _serves_nobody("security:signs_own_url", "LIFE-005 LIFE-006 OAI-SE-005 TWI-WH-001", "TWI-CB-001"),
    _fault("security:token_unchecked", "OAI-HS-004 SEC-004 SEC-005"),
    _fault("security:token_reusable", "OAI-HS-004 SEC-005"),
    _fault("security:replay_admits", "SEC-006"),
    _fault("security:key_in_log", "SEC-007"),
    _fault("security:token_in_health", "SEC-007"),
    _fault("security:key_to_everybody", "SEC-008"),
    _rare("leaks:half_in_log", "SEC-007"),
    _rare("leaks:wrapped_in_output", "SEC-007"),
    _rare("leaks:key_in_query", "SEC-008"),
    _rare("leaks:hex_in_parameter", "SEC-007"),
    _rare("leaks:asks_another", "SEC-012"),
    _rare("leaks:reports_home", "", "SEC-013"),
    # Dialects, revisions and models.
    _rare("models:waits_for_conversation", "OAI-DI-001", column="beta", area="dialects"),
    _rare("models:wants_item_object", "OAI-DI-002 TOOL-001", area="dialects"),
    _rare("models:name_from_arguments", "OAI-DI-003 TOOL-001", column="beta", area="dialects", usual=USUAL[:3]),
    _rare("models:reasoning_for_all", "OAI-DI-004", only=("a_model_that_does_not_reason",)),
    _rare("models:model_in_session", "AUD-001 OAI-DI-005 OAI-SE-002", usual=USUAL[:1]),
    _rare("models:insists_on_model", "OAI-DI-006", area="dialects"),
    _rare("models:knows_its_models", "OAI-DI-007", area="dialects"),
    # From the first update of a session to its end.
    _rare("lifetimes:changes_voice", "OAI-SS-001", area="turns"),
    _rare("lifetimes:repeats_update", "", "OAI-SS-002", area="turns"),
    _rare("lifetimes:reconnects_at_once", "OAI-SS-003", area="sessions"),
    _rare("lifetimes:retries_too_soon", "", "OAI-SS-004", area="sessions"),
    _rare("lifetimes:greets_again", "", "OAI-SS-005", area="sessions"),
    _rare("lifetimes:drops_session", "", "OAI-SS-006", area="sessions"),
    _rare("lifetimes:reconnects_whatever_the_code", "", "OAI-SS-007", area="sessions"),
    _rare("lifetimes:hangs_up_at_the_limit", "", "OAI-HS-006", area="sessions"),
    # Reading the answers of the model.
    _rare("answers:cancels_always", "", "OAI-TU-009", area="turns"),
    _rare("answers:commits_itself", "", "OAI-TU-010", area="turns"),
    _rare("answers:trips_over_text", "OAI-TU-011", area="turns"),
    _rare("answers:ends_on_incomplete", "OAI-TU-007", area="turns"),
    _rare("answers:forgets_what_is_stale", "OAI-TU-012", area="turns"),
    _rare("answers:trips_over_new_items", "OAI-TU-013", area="turns"),
    _rare("answers:plays_first_item_only", "OAI-TU-014", area="turns"),
    _rare("answers:drops_lost_race", "OAI-TU-015", area="function_calls"),
    _rare("answers:truncates_what_was_heard", "", "OAI-TU-016", area="turns"),
    _rare("answers:wants_audio_first", "OAI-TU-017", area="turns"),
    _rare("answers:truncates_announced", "OAI-TU-018", area="turns"),
    _rare("answers:plays_empty_audio", "TWI-ST-003", area="turns"),
    # Function calls that come in an unusual way.
    _rare("functions:declares_twice", "OAI-FC-001", area="function_calls"),
    _rare("functions:flat_parameters", "OAI-FC-002", usual=USUAL[:1]),
    _rare("functions:asks_for_each_output", "OAI-FC-003", area="function_calls"),
    _rare("functions:flushes_on_call", "OAI-FC-004", area="function_calls"),
    _rare("functions:runs_cut_calls", "", "OAI-FC-005", area="function_calls"),
    _rare("functions:empty_is_broken", "OAI-FC-006", area="function_calls"),
    _rare("functions:trips_over_lists", "OAI-FC-007", area="function_calls"),
    _rare("functions:one_round", "OAI-FC-008 TOOL-001", only=("one_function_call_after_another",)),
    _rare("functions:empty_outputs", "", "OAI-FC-010", area="function_calls"),
    # The transcription of the caller.
    _rare(
        "transcripts:waits_for_transcript", "OAI-AU-002 OAI-TR-001", usual=(), only=("a_transcription_that_takes_long",)
    ),
    _rare("transcripts:ends_on_failed_transcription", "OAI-TR-002", area="transcription"),
    _rare("transcripts:gives_transcript_back", "OAI-TR-003", area="transcription"),
    _rare("transcripts:transcribes_with_any_model", "AUD-001 OAI-SE-002 OAI-TR-004", usual=USUAL[:1]),
    _rare(
        "transcripts:transcript_interrupts", "OAI-TR-005", usual=(), only=("a_transcript_in_the_middle_of_the_answer",)
    ),
    _rare("transcripts:counts_tokens", "OAI-TR-006", area="transcription"),
    # What is made of errors.
    _rare("troubles:ends_on_unknown_code", "OAI-ER-001", area="errors"),
    _rare("troubles:ends_on_error_without_code", "OAI-ER-002", area="errors"),
    _rare("troubles:ends_on_server_error", "OAI-ER-003", area="errors"),
    _rare("troubles:waits_for_refused", "OAI-ER-004", area="function_calls"),
    _rare("troubles:retries_failed_forever", "OAI-ER-005 OAI-ER-006", area="errors"),
    _rare(
        "troubles:passes_over_failures",
        "OAI-ER-006",
        "OAI-FC-009",
        area="errors",
        only=("the_response_after_a_tool_fails",),
    ),
    _rare("troubles:quiet_about_refusals", "", "OAI-ER-007", area="errors"),
    _rare("troubles:quiet_about_errors", "", "OAI-ER-008", area="errors"),
    _rare("troubles:quiet_about_failures", "", "OAI-ER-009", area="errors"),
    _rare("troubles:reuses_event_ids", "", "OAI-ER-010", area="errors"),
    _rare("troubles:quiet_about_status", "", "OAI-ER-011", area="sessions"),
    # Talk: minting client secrets.
    _talk("talk_minting:mints_at_sessions", f"{NOBODY_TALKS} TALK-MI-001"),
    _talk("talk_minting:mints_flat", f"{NOBODY_TALKS} TALK-MI-002"),
    _talk("talk_minting:mints_old_model", "TALK-MI-003 TALK-MI-015 TALK-MI-018", area="talk_minting"),
    _talk("talk_minting:mints_with_beta_header", f"{NOBODY_TALKS} TALK-MI-004"),
    _talk("talk_minting:mints_unknown_field", f"{NOBODY_TALKS} TALK-MI-005"),
    _talk("talk_minting:leaves_instructions_to_the_page", "", "TALK-MI-006", area="talk_minting"),
    _talk("talk_minting:mints_elsewhere", f"{NOBODY_TALKS} TALK-MI-007"),
    _talk("talk_minting:shares_a_secret", "TALK-MI-008", area="talk_minting"),
    _talk("talk_minting:keeps_a_dead_secret", "TALK-MI-008 TALK-MI-009", area="talk_minting"),
    _talk("talk_minting:asks_for_two_hours", "", "TALK-MI-010", area="talk_minting"),
    _talk("talk_minting:gives_the_session_id", "TALK-MI-011 TALK-MI-018", area="talk_minting"),
    _talk("talk_minting:expiry_in_milliseconds", "TALK-MI-012", area="talk_minting"),
    _talk("talk_minting:mints_in_advance", "TALK-MI-009 TALK-MI-013", area="talk_minting"),
    _talk("talk_minting:answers_together", "TALK-MI-008 TALK-MI-014", area="talk_minting"),
    _talk("talk_minting:offers_another_model", "TALK-MI-015 TALK-MI-018", "TALK-MI-016", area="talk_minting"),
    _talk("talk_minting:offers_the_model_again", "", "TALK-MI-016", area="talk_minting"),
    _talk("talk_minting:offers_elsewhere", "TALK-MI-017 TALK-MI-018 TALK-SE-012", area="talk_minting"),
    # Talk: who may, and what browsers are given.
    _talk("talk_security:key_in_the_page", "SEC-007 TALK-SE-001", area="talk_security"),
    _talk("talk_security:operator_token_in_the_answer", "SEC-007 TALK-SE-002", area="talk_security"),
    _talk("talk_security:logs_the_secret", "TALK-SE-003", area="talk_security"),
    _talk("talk_security:secret_in_the_url", "TALK-SE-004", "TALK-MI-016", area="talk_security"),
    _talk("talk_security:may_be_kept", "", "TALK-SE-005", area="talk_security"),
    _talk("talk_security:asks_for_no_token", "TALK-SE-006 TALK-SE-013", area="talk_security"),
    _talk("talk_security:lets_prefixes_in", "TALK-SE-006", area="talk_security"),
    _talk("talk_security:takes_any_origin", "TALK-SE-007", area="talk_security"),
    _talk("talk_security:invites_everybody", "TALK-SE-008", area="talk_security"),
    _talk("talk_security:has_no_policy", "", "TALK-SE-009 TALK-SE-010", area="talk_security"),
    _talk("talk_security:runs_inline_scripts", "", "TALK-SE-009", area="talk_security"),
    _talk("talk_security:may_be_framed", "", "TALK-SE-010", area="talk_security"),
    _talk("talk_security:scripts_as_text", "TALK-SE-011", area="talk_security"),
    _talk("talk_security:forbids_the_offer", "TALK-SE-012", area="talk_security"),
    _talk("talk_security:tools_for_anybody", "TALK-SE-013", area="talk_security"),
    # Talk: what the person is told when OpenAI refuses.
    _talk("talk_errors:answers_with_success", "TALK-ER-001 TALK-ER-010", area="talk_errors"),
    _talk("talk_errors:drops_the_code", "TALK-ER-002 TALK-ER-011", area="talk_errors"),
    _talk("talk_errors:reads_no_body", "TALK-ER-002 TALK-ER-003", area="talk_errors"),
    _talk("talk_errors:says_failed", "TALK-ER-003 TALK-ER-011", area="talk_errors"),
    _talk("talk_errors:gives_no_hint", "TALK-ER-011", "TALK-ER-004", area="talk_errors"),
    _talk("talk_errors:quotes_the_key", "SEC-007 TALK-ER-005 TALK-SE-001", area="talk_errors"),
    _talk("talk_errors:tries_again_when_slow", "TALK-ER-006", area="talk_errors"),
    _talk("talk_errors:tries_forever", "TALK-ER-007", area="talk_errors"),
    _talk("talk_errors:remembers_the_refusal", "TALK-ER-008", area="talk_errors"),
    _talk("talk_errors:one_after_the_other", "TALK-ER-009", area="talk_errors"),
    _talk("talk_errors:takes_what_comes", "TALK-ER-010", "TALK-ER-004", area="talk_errors"),
    _talk("talk_errors:explains_nothing", "TALK-ER-011", area="talk_errors"),
    # Talk: conversations over the relay.
    _relay("mutes_until_beta_event", "TALK-RE-001 TALK-RE-008 TALK-RE-013"),
    _relay("ready_too_early", "TALK-RE-002"),
    _relay("drops_pieces", "TALK-RE-003 TALK-RE-012"),
    _relay("loses_the_end", "TALK-RE-004"),
    _relay("collects_first", "", "TALK-RE-005"),
    _relay("takes_text_only", "TALK-RE-006", "", "a_typed_message_over_the_relay"),
    _relay("shows_nothing", "", "TALK-RE-007", "what_was_said_is_shown"),
    _relay("relay_never_clears", "TALK-RE-008"),
    _relay("passes_stale_audio", "TALK-RE-009", "", STILL_SENDING),
    _relay("relay_truncates_at_sent", "TALK-RE-010", "", STILL_SENDING),
    _relay("relay_never_truncates", "", "TALK-RE-011", STILL_SENDING),
    _relay("relay_clears_input", "TALK-RE-012", "", STILL_SENDING),
    _relay("relay_forgets_to_go_on", "TALK-RE-013"),
    # Talk: how conversations over the relay end, or do not begin.
    _relay("relay_keeps_session", "LIFE-009 TALK-RE-014"),
    _relay("waits_for_return", "LIFE-009 TALK-RE-015", "", "the_browser_vanishes"),
    _relay("never_looks", "TALK-RE-016", "", "the_browser_is_dead_and_its_connection_is_not"),
    _relay("outlives_session", "TALK-RE-017", "", *LOST),
    _relay("ends_without_a_word", "", "TALK-RE-018", *LOST),
    _relay("relay_silent_when_refused", "TALK-RE-019", "", *REFUSED),
    _relay("hides_the_reason", "TALK-RE-020", "", *REFUSED),
    _relay("refuses_at_the_door", "TALK-RE-020", "TALK-RE-021", *REFUSED),
    _relay("gives_no_hints", "", "TALK-RE-021", *REFUSED),
    _relay("quotes_the_vendor", "SEC-007 TALK-RE-032 TALK-SE-001", "", "the_vendor_quotes_the_key_to_a_relay"),
    _relay("remembers_refusals", "TALK-RE-022", "", *REFUSED),
    _relay("leaves_relays_open", "TALK-RE-030", "OAI-SS-006", "the_gateway_is_told_to_stop_while_somebody_talks"),
    # Talk: who is let in to the relay, and who else is there.
    _relay("ticket_good_for_ever", "TALK-RE-023", "", *ADMITTED),
    _relay("ticket_never_expires", "TALK-RE-024", "", *ADMITTED),
    _relay("any_ticket", "TALK-RE-023 TALK-RE-025", "", *ADMITTED),
    _relay("relay_of_any_origin", "TALK-RE-026", "", *ADMITTED),
    _relay("plays_to_everybody", "TALK-RE-027", "", *TOGETHER),
    _relay("one_for_all", "TALK-RE-028", "", *TOGETHER),
    _relay("waits_for_the_slowest", "TALK-RE-029", "", *TOGETHER),
    # Talk: conversations over WebRTC.
    _webrtc("mints_without_turns", "TALK-RT-001 TALK-RT-005 TALK-RT-009"),
    _webrtc("mints_bare", "", "TALK-MI-006 TALK-RT-002"),
    _webrtc("tells_of_another_model", "TALK-RT-003"),
    _webrtc("mints_without_tools", "TALK-RT-004"),
    _webrtc("drops_outputs", "TALK-RT-005"),
    _webrtc("fails_on_nonsense", "TALK-RT-006"),
    _webrtc("mints_unstoppable", "TALK-RT-007"),
    _webrtc("mints_without_transcription", "", "TALK-RT-008"),
    _webrtc("one_person_only", "TALK-RT-009"),
    *(_fault(row.entry, row.fails, row.warns, column=row.column, only=row.cases) for row in AZURE),
)

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}
"""Every fault by name."""
