"""Bad inputs by their numbers in docs/reliability.md: which test holds the answer to each, or why there is none yet.

1 to 36 are of the command line, 37 to 46 of the configuration file, 47 to 57 of the environment, 58 to 73 of the wire.
"""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

REPORT = "cli/test_report.py::test_bad_input_is_answered"
VARIABLE = "cli/test_report.py::test_a_bad_variable_is_answered"
FOREIGN = "attacks/test_foreign_greetings.py::test_a_foreign_greeting_ends_in_one_reason"
LIES = "properties/test_codec_hostile.py::test_a_length_that_lies_is_refused_without_memory_for_it"

HELD = {
    1: (REPORT, "cli/test_target.py::test_what_is_not_there_is_said_in_one_line"),
    2: (REPORT, "cli/test_target.py::test_what_is_not_there_is_said_in_one_line"),
    3: (REPORT, "cli/test_target.py::test_an_error_while_importing_shows_the_users_frames_alone"),
    4: (REPORT, "cli/test_target.py::test_a_syntax_error_is_shown_with_a_caret"),
    5: (REPORT, "cli/test_target.py::test_a_module_with_one_service_needs_no_name"),
    6: (REPORT, "cli/test_target.py::test_a_handler_of_the_wrong_shape_is_refused_in_one_line"),
    7: ("cli/test_serve.py::test_a_port_in_use_is_status_4_and_names_who_holds_it",),
    8: (REPORT,),
    9: (REPORT,),
    10: ("cli/test_serve.py::test_readiness_is_a_line_of_json_on_standard_output",),
    11: ("cli/test_serve.py::test_a_privileged_port_names_the_right_that_is_missing",),
    12: (REPORT,),
    13: (REPORT, "server/test_bind_errors.py::test_an_address_of_another_machine_is_refused_with_ours"),
    14: (REPORT,),
    15: (REPORT,),  # of --threads
    16: (REPORT,),  # of --threads
    17: (REPORT,),
    18: ("cli/test_serve.py::test_a_backlog_above_the_systems_is_warned_about",),
    19: (REPORT,),
    24: (REPORT, "server/test_unix_file.py::test_what_is_no_socket_is_never_removed"),
    25: (
        "cli/test_serve.py::test_a_unix_socket_is_replaced_when_it_is_stale_and_only_then",
        "server/test_unix_file.py::test_a_live_socket_is_refused",
    ),
    26: (REPORT,),
    27: (REPORT, "server/test_inherited.py::test_a_descriptor_that_is_not_open_is_refused"),
    28: (REPORT, "server/test_inherited.py::test_what_is_no_socket_is_refused_by_what_it_is"),
    29: (REPORT,),
    30: ("cli/test_serve.py::test_a_public_address_is_warned_about",),
    31: ("attacks/test_descriptors.py::test_a_limit_that_the_descriptors_do_not_allow_is_lowered_with_both_numbers",),
    32: (REPORT, "config/test_kinds.py::test_text_that_is_no_value_is_refused_with_what_is_allowed"),
    33: (
        "cli/test_main.py::test_closed_descriptors_are_no_trouble",
        "cli/test_main.py::test_output_that_nobody_reads_ends_the_program_quietly",
        "cli/test_connect.py::test_output_that_nobody_reads_ends_it_quietly",
        "cli/test_report.py::test_output_that_cannot_be_written_is_answered",
        "cli/test_serve.py::test_readiness_that_nobody_reads_stops_nobody",
        "cli/test_serve.py::test_a_log_whose_reader_is_gone_stops_nobody",
    ),
    34: (
        "cli/test_main.py::test_the_environment_does_not_matter",
        "cli/test_connect.py::test_a_dumb_terminal_is_not_sent_escape_codes",
        "cli/test_terminal.py::test_colour_is_for_terminals_that_can_and_users_who_want",
        "cli/test_prompt.py::test_no_colour_where_none_is_wanted",
    ),
    20: (REPORT, "server/test_tls.py::test_what_is_wrong_with_a_file_is_said_in_one_line"),
    21: (REPORT, "server/test_tls.py::test_what_is_wrong_with_a_file_is_said_in_one_line"),
    22: ("server/test_tls.py::test_a_certificate_out_of_its_time_is_warned_of",),
    23: ("server/test_tls.py::test_a_key_that_all_may_read_is_warned_of",),
    35: (REPORT, "client/test_connect.py::test_a_failure_has_fields"),
    36: ("cli/bench/test_command.py::test_mistakes_are_told_before_anything_is_loaded",),
    37: (REPORT, "config/test_files.py::test_a_file_that_is_no_toml_is_refused_with_its_line"),
    38: (REPORT,),
    39: (REPORT, "config/test_sources.py::test_all_mistakes_of_all_sources_are_reported_at_once"),
    40: (
        "cli/test_serve.py::test_the_configuration_is_printed_with_sources",
        "config/test_sources.py::test_each_source_overrides_the_one_before",
    ),
    41: (
        REPORT,
        "config/test_files.py::test_what_editors_do_to_a_file_does_not_matter",
        "config/test_files.py::test_a_file_without_permission_is_named",
        "config/test_files.py::test_a_huge_file_is_refused_without_being_read",
    ),
    42: (REPORT, "config/test_sources.py::test_a_contradiction_names_both_sources"),
    45: ("config/test_sources.py::test_relative_paths_in_a_file_are_relative_to_it",),
    46: ("cli/test_reread.py::test_a_file_that_is_wrong_changes_nothing",),
    47: (VARIABLE,),  # of PENSTOCK_THREADS
    48: ("cli/test_serve.py::test_an_unknown_variable_is_warned_about",),
    49: ("server/test_inherited.py::test_the_sockets_of_this_process_are_found_and_those_of_others_ignored",),
    50: (
        "server/test_inherited.py::test_variables_that_make_no_sense_are_named",
        "server/test_inherited.py::test_a_name_that_was_not_inherited_is_refused_with_those_that_were",
        "server/test_inherited.py::test_an_inherited_socket_that_nobody_serves_is_refused",
    ),
    51: ("server/test_notify.py::test_a_manager_that_is_not_there_is_no_trouble",),
    52: ("cli/test_serve.py::test_without_uvloop_the_banner_says_so",),
    53: (
        "cli/test_main.py::test_the_environment_does_not_matter",
        "cli/test_serve.py::test_what_is_set_for_python_does_not_matter",
    ),
    54: (
        "cli/test_main.py::test_arguments_that_are_no_text_are_no_crash",
        "cli/test_serve.py::test_what_is_set_for_python_does_not_matter",
        "config/test_files.py::test_a_file_of_any_name_can_be_read",
    ),
    55: (
        "cli/test_main.py::test_a_read_only_directory_is_good_enough",
        "cli/test_prompt.py::test_without_a_place_for_history_there_is_a_prompt",
        "cli/test_prompt.py::test_history_is_private_whatever_the_umask",
        "server/test_unix_file.py::test_the_file_is_for_its_owner_alone",
    ),
    56: ("cli/test_serve.py::test_as_the_first_process_of_a_container_it_obeys_sigterm",),
    57: (
        "server/test_memory.py::test_auto_is_the_innermost_limit_of_the_control_group",
        "attacks/test_out_of_memory.py::test_the_ladder_keeps_the_process_alive",
    ),
    58: ("attacks/test_frames.py::test_a_length_bomb_costs_a_header", LIES),
    59: ("attacks/test_frames.py::test_an_endless_line_is_cut_at_the_limit",),
    60: (
        "codecs/test_netstring.py::test_a_length_that_is_not_canonical_is_refused",
        "codecs/test_varint.py::test_a_length_that_is_not_canonical_is_refused",
        "codecs/test_length_prefixed.py::test_a_length_below_zero_is_refused",
        "codecs/resp/test_frames.py::test_a_length_that_is_not_canonical_is_refused",
    ),
    61: (
        "codecs/test_json_lines.py::test_what_is_no_utf8_is_refused_where_it_stands",
        "codecs/test_msgpack.py::test_a_string_that_is_no_utf8_is_refused_where_it_stands",
    ),
    62: (
        "codecs/test_json_lines.py::test_what_is_no_json_is_refused",
        "codecs/test_json_lines.py::test_a_line_is_a_value",
        "attacks/test_frames.py::test_deep_nesting_ends_one_connection",
    ),
    63: ("attacks/test_frames.py::test_a_million_empty_frames_are_messages_and_hold_nobody_up",),
    65: (FOREIGN,),  # unasked: it is no frame
    68: ("conformance/test_law_02_closed_event.py::test_a_peer_that_ends_inside_a_message_has_truncated_it",),
    69: (
        "conformance/test_law_02_closed_event.py::test_a_reset_is_a_reset",
        "attacks/test_cuts.py::test_a_reset_in_every_state_is_one_end",
    ),
    64: (
        FOREIGN,
        "conformance/test_foreign.py::test_another_protocol_has_a_reason_of_its_own",
        "engines/tls/test_layer.py::test_a_plain_client_is_told_of_and_turned_away",
    ),
    67: ("engines/tls/test_layer.py::test_a_client_shows_the_right_certificate_or_reaches_no_handler",),
    70: (
        "attacks/test_datagrams.py::test_half_a_datagram_is_none",
        "attacks/test_datagrams.py::test_a_server_does_not_answer_itself",
        "conformance/test_datagrams.py::test_what_is_no_message_is_dropped_and_counted",
    ),
    73: ("conformance/test_law_03_bad_frames.py::test_good_frames_before_a_bad_one_are_answered",),  # resp, msgpack
}

NOT_YET = {
    15: "there are no workers: --workers is refused",
    16: "there are no workers: --workers is refused",
    31: "there is no --strict",
    43: "no key was ever renamed",
    44: "no option is a secret",
    47: "WEB_CONCURRENCY is for workers",
    56: "there are no children to reap",
    65: "no PROXY header is ever asked for",
    66: "there is no STARTTLS",
    71: "nothing is decompressed",
    72: "no codec has pings",
}

ROWS = range(1, 74)


def names_in(path):
    """The names of the functions in a file of tests, those of classes included."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_row_has_an_answer_or_a_reason():
    """None is forgotten, and there is none beside them."""

    assert set(ROWS) == HELD.keys() | NOT_YET.keys()


@pytest.mark.parametrize("row", HELD)
def test_what_holds_a_row_is_there(row):
    """A test that was renamed is renamed here."""
    missing = [
        reference
        for reference in HELD[row]
        if reference.partition("::")[2] not in names_in(TESTS / reference.partition("::")[0])
    ]

    assert [] == missing


def test_the_table_of_answers_has_its_rows():
    """They begin with their numbers: ``8 port 99999``, ``38, 39 unknown key``."""
    found = set()
    for node in ast.walk(ast.parse((TESTS / "cli" / "test_report.py").read_text())):
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            found |= {int(number) for key in keys for number in re.match(r"[\d, ]*", key)[0].replace(",", " ").split()}

    assert {row for row, tests in HELD.items() if REPORT in tests or VARIABLE in tests} == found


# -- docs/reliability.md -----------------------------------------------------------------------------------------------

PAGE = (TESTS.parent / "docs" / "reliability.md").read_text()


def test_the_page_lists_every_row():
    """Once, in order."""

    assert [str(row) for row in ROWS] == re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)


def test_the_page_lists_every_class_that_a_test_names():
    """A number means nothing without what it stands for; and what the page promises is tested."""
    named = set()
    for path in TESTS.rglob("*.py"):
        named |= set(re.findall(r"\bT-\d{2,3}\b", path.read_text()))

    assert named == set(re.findall(r"^\| (T-\d+) \|", PAGE, re.MULTILINE))
