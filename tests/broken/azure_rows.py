"""The faults with Azure, for the corpus: which requirements each of them fails, in which cases."""

from __future__ import annotations

from typing import NamedTuple

AT_AZURE = ("a_call_through_azure", "the_key_was_regenerated", "a_conversation_with_a_deployment")
"""What is tried with every fault that has to do with how sessions are opened."""

CALL_AT_AZURE = AT_AZURE[:1]
"""What must work with a fault that shows in one situation only."""


class Row(NamedTuple):
    """A fault; see `corpus.Fault`."""

    entry: str
    fails: str
    warns: str
    cases: tuple[str, ...]
    column: str


def _azure(
    entry: str, fails: str, warns: str = "", *only: str, usual: tuple[str, ...] = AT_AZURE, column: str = "ga"
) -> Row:
    return Row(entry, fails, warns, usual + only, column)


ROWS = (
    # Azure: where sessions are opened, and in which dialect.
    _azure(
        "azure_endpoint:falls_back",
        "AZ-EP-001 AZ-EP-002 AZ-ER-001 AZ-ER-003 AZ-ER-004 AZ-ER-016 OAI-HS-003 SEC-012",
        "AZ-ER-017",
    ),
    _azure(
        "azure_endpoint:key_for_openai",
        "AZ-AU-001 AZ-AU-004 AZ-EP-001 AZ-EP-002 AZ-ER-001 AZ-ER-002 AZ-RE-001 OAI-HS-003 SEC-008 SEC-012",
    ),
    _azure("azure_endpoint:tries_the_neighbour", "AZ-EP-001 AZ-EP-003 AZ-ER-001 AZ-ER-016 SEC-008 SEC-012"),
    _azure(
        "azure_endpoint:builds_its_own_host",
        "AZ-EP-001 AZ-EP-003 AZ-EP-014 SEC-008 SEC-012",
        "",
        "the_endpoint_of_a_foundry_resource",
    ),
    _azure("azure_endpoint:asks_for_the_preview", "AZ-AU-001 AZ-EP-004 AZ-EP-005 AZ-ER-016 AZ-RE-001"),
    _azure("azure_endpoint:speaks_beta_to_ga", "AZ-AU-001 AZ-EP-007 AZ-ER-016"),
    _azure("azure_endpoint:sends_beta_header", "AZ-EP-006"),
    _azure("azure_endpoint:keeps_the_api_version", "AZ-EP-005"),
    _azure("azure_endpoint:knows_one_version", "AZ-EP-008", column="beta"),
    _azure("azure_endpoint:model_for_deployment", "AZ-AU-001 AZ-EP-009 AZ-ER-016 AZ-RE-001", column="beta"),
    _azure("azure_endpoint:speaks_ga_to_the_preview", "AZ-AU-001 AZ-EP-010 AZ-ER-016", column="beta"),
    _azure("azure_endpoint:drops_the_deployment", "AZ-AU-001 AZ-EP-011 AZ-ER-016 AZ-RE-001"),
    _azure("azure_endpoint:pastes_the_deployment", "AZ-EP-011", "", "a_deployment_with_a_name_of_its_own"),
    _azure(
        "azure_endpoint:pastes_the_endpoint",
        "AZ-EP-004 AZ-EP-012 AZ-EP-013 AZ-EP-020",
        "",
        "an_endpoint_that_ends_in_a_slash",
        "an_endpoint_with_a_path",
        "an_endpoint_without_tls",
    ),
    _azure(
        "azure_endpoint:asks_for_semantic_vad", "AZ-EP-015 AZ-EP-016 AZ-ER-016", "", "an_interruption_through_azure"
    ),
    _azure("azure_endpoint:leaves_tools_out", "AZ-EP-017", "", "a_tool_through_azure"),
    _azure(
        "azure_endpoint:forgets_the_base_url",
        "AZ-EP-018 SEC-008 SEC-012",
        "",
        "openai_behind_a_proxy",
        usual=CALL_AT_AZURE,
    ),
    _azure("azure_endpoint:relays_everybody", "AZ-EP-019", "", "openai_itself_over_webrtc", usual=CALL_AT_AZURE),
    # Azure: how the gateway proves who it is.
    _azure("azure_endpoint:wants_openai_key", "AZ-AU-001 AZ-ER-002 AZ-RE-001"),
    _azure("azure_auth:azure_key_in_query", "AZ-AU-002 SEC-008"),
    _azure("azure_auth:key_in_subprotocol", "AZ-AU-003 SEC-008"),
    _azure("azure_auth:prefers_openai_key", "AZ-AU-005", "", "an_openai_key_is_there_as_well"),
    _azure("azure_auth:reads_the_file_once", "AZ-AU-017", "", "the_key_is_exchanged_in_its_file", usual=CALL_AT_AZURE),
    _azure("azure_auth:prints_the_key", "AZ-AU-006 SEC-007"),
    _azure("azure_auth:looks_after_the_key", "AZ-AU-015", "", "the_key_is_regenerated_in_mid_call", usual=()),
    _azure(
        "azure_auth:remembers_the_first_refusal",
        "AZ-AU-016 AZ-ER-016 AZ-RE-010",
        "",
        "the_key_is_regenerated_in_mid_call",
        "the_key_is_wrong_while_a_browser_talks",
    ),
    _azure(
        "azure_auth:asks_for_another_scope", "AZ-AU-007 AZ-AU-008", "", "two_calls_with_a_token", usual=CALL_AT_AZURE
    ),
    _azure("azure_auth:token_as_key", "AZ-AU-008 SEC-008", "", "two_calls_with_a_token", usual=CALL_AT_AZURE),
    _azure("azure_auth:fetches_each_time", "", "AZ-AU-009", "two_calls_with_a_token", usual=CALL_AT_AZURE),
    _azure(
        "azure_auth:never_refreshes",
        "AZ-AU-010",
        "",
        "two_calls_with_a_token",
        "a_token_expires_while_somebody_talks",
        usual=CALL_AT_AZURE,
    ),
    _azure(
        "azure_auth:refreshes_when_refused",
        "AZ-AU-010",
        "AZ-AU-011",
        "two_calls_with_a_token",
        "a_token_expires_while_somebody_talks",
        usual=CALL_AT_AZURE,
    ),
    _azure(
        "azure_auth:ends_with_the_token",
        "AZ-AU-012",
        "",
        "two_calls_with_a_token",
        "a_token_expires_while_somebody_talks",
        usual=CALL_AT_AZURE,
    ),
    _azure(
        "azure_auth:never_renews",
        "",
        "AZ-AU-014",
        "two_calls_with_a_token",
        "a_token_that_is_not_taken_any_more",
        usual=CALL_AT_AZURE,
    ),
    _azure(
        "azure_auth:never_gives_up",
        "AZ-AU-013 AZ-ER-004 AZ-ER-013",
        "",
        "the_identity_has_no_role",
        usual=CALL_AT_AZURE,
    ),
    # Azure: what is done, and told, when it does not let the gateway in.
    _azure("azure_errors:silent_with_azure", "AZ-ER-002"),
    _azure("azure_errors:knocks_for_ever", "AZ-ER-002 AZ-ER-013 AZ-ER-018", "", "the_quota_is_used_up"),
    _azure(
        "azure_errors:says_unavailable",
        "AZ-ER-004 AZ-ER-005 AZ-ER-006 AZ-RE-004 AZ-RE-005",
        "AZ-ER-017 AZ-RE-008",
        "the_deployment_does_not_exist",
        "the_key_is_wrong_while_a_browser_talks",
    ),
    _azure("azure_errors:hides_the_status", "AZ-ER-003", "", "the_deployment_does_not_exist"),
    _azure(
        "azure_errors:reads_the_status_only",
        "AZ-ER-004 AZ-RE-004 AZ-RE-005",
        "",
        "the_deployment_does_not_exist",
        "the_deployment_of_the_relay_does_not_exist",
    ),
    _azure(
        "azure_errors:advises_on_openai",
        "AZ-ER-005 AZ-ER-006 AZ-ER-007 AZ-RE-006",
        "AZ-RE-008",
        "the_key_is_wrong_while_a_browser_talks",
    ),
    _azure("azure_errors:hides_the_host", "AZ-ER-011", "", "the_resource_does_not_exist"),
    _azure(
        "azure_errors:hides_the_version",
        "AZ-ER-012",
        "",
        "the_api_version_is_wrong",
        "the_preview_is_retired",
        column="beta",
    ),
    _azure("azure_errors:forgets_the_request", "", "AZ-ER-017"),
    _azure(
        "azure_errors:hides_entra",
        "AZ-ER-014 AZ-RE-009",
        "",
        "entra_refuses_the_client_secret",
        "entra_refuses_while_a_browser_talks",
        usual=CALL_AT_AZURE,
    ),
    _azure("azure_errors:blames_the_resource", "AZ-ER-015", "", "entra_does_not_answer", usual=CALL_AT_AZURE),
    _azure("azure_errors:takes_anyone", "AZ-ER-010", "", "there_is_no_credential", usual=CALL_AT_AZURE),
    _azure("azure_errors:guesses_the_deployment", "AZ-ER-009", "", "there_is_no_deployment", usual=CALL_AT_AZURE),
    _azure(
        "azure_errors:uses_openai_without_endpoint",
        "AZ-AU-004 AZ-EP-002 AZ-ER-001 AZ-ER-007 AZ-ER-008 OAI-HS-003 SEC-008 SEC-012",
        "",
        "there_is_no_endpoint",
        usual=CALL_AT_AZURE,
    ),
    # Azure: what browsers get.
    _azure("azure_relay:relays_to_openai", "AZ-EP-001 AZ-EP-002 AZ-RE-001 OAI-HS-003 SEC-012"),
    _azure(
        "azure_relay:webrtc_despite_azure",
        "AZ-EP-002 AZ-RE-002 AZ-RE-003 SEC-012 TALK-MI-003",
        "",
        "a_browser_asks_for_webrtc",
    ),
    _azure(
        "azure_relay:says_provider_error", "AZ-RE-004 AZ-RE-005", "AZ-RE-008", "the_key_is_wrong_while_a_browser_talks"
    ),
    _azure("azure_relay:gives_no_advice", "", "AZ-RE-008", "the_key_is_wrong_while_a_browser_talks"),
    _azure("azure_relay:key_for_the_browser", "AZ-RE-007 SEC-007 TALK-SE-002"),
    # Azure: what the doctor says.
    _azure(
        "azure_doctor:always_worried",
        "AZ-DO-001 AZ-DO-002 AZ-DO-010",
        "",
        "the_doctor_finds_a_wrong_key",
        usual=CALL_AT_AZURE,
    ),
    _azure(
        "azure_doctor:never_worried",
        "AZ-DO-002 AZ-DO-003 AZ-DO-004 AZ-DO-005 AZ-DO-006 AZ-DO-007",
        "",
        "the_doctor_finds_a_wrong_key",
        "the_doctor_finds_an_unknown_deployment",
        "the_doctor_finds_a_network_rule",
        "the_doctor_finds_that_there_is_no_such_resource",
        usual=CALL_AT_AZURE,
    ),
    _azure(
        "azure_doctor:guesses",
        "AZ-DO-003 AZ-DO-004 AZ-DO-005 AZ-DO-007",
        "",
        "the_doctor_finds_a_wrong_key",
        "the_doctor_finds_an_unknown_deployment",
        "the_doctor_finds_a_network_rule",
        usual=CALL_AT_AZURE,
    ),
    _azure("azure_doctor:names_nothing", "", "AZ-DO-012", "the_doctor_finds_a_wrong_key", usual=CALL_AT_AZURE),
    _azure("azure_doctor:shows_the_key", "AZ-DO-008 SEC-007", "", "the_doctor_finds_a_wrong_key", usual=CALL_AT_AZURE),
    _azure("azure_doctor:leaves_it_open", "AZ-DO-009 LIFE-009", "", "the_doctor_in_mid_call", usual=CALL_AT_AZURE),
    _azure(
        "azure_doctor:keeps_its_answer",
        "AZ-DO-002 AZ-DO-003 AZ-DO-007",
        "",
        "the_doctor_finds_a_wrong_key",
        usual=CALL_AT_AZURE,
    ),
    _azure("azure_doctor:makes_room", "AZ-DO-011", "", "the_doctor_in_mid_call", usual=CALL_AT_AZURE),
)
