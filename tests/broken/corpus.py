"""The corpus: every fault, and exactly which requirements the suite finds broken because of it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

from broken import Entry
from broken.suite import applicable


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


def _fault(
    entry: str, fails: str, warns: str = "", *, column: str = "ga", only: tuple[str, ...] | None = None
) -> Fault:
    cases = tuple(applicable(column)) if only is None else only
    return Fault(f"broken.{entry}", frozenset(fails.split()), frozenset(warns.split()), column, cases)


def _serves_nobody(entry: str, fails: str, warns: str = "", *, column: str = "ga") -> Fault:
    return _fault(entry, f"{NO_GREETING} {fails}", warns, column=column, only=FIRST_CASES)


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
)

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}
"""Every fault by name."""
