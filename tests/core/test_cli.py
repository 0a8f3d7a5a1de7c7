"""The command line as a person and a script meet it: words, tables, JSON, exit codes, and what the enforcer is asked.

Commands that ask run against a real socket; only the enforcer's judgement is prepared.
"""

import asyncio
import hashlib
import json
import os
import pty
import re
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from agent.channel import Peer, listen
from agent.cli import COMMANDS, main
from agent.cli.act import moment
from agent.cli.ask import Answer, in_an_emergency, parse_answer
from agent.cli.door import exit_code
from agent.cli.facts import body_of, field_of
from agent.cli.screen import Screen, language, safe, table
from agent.cli.story import SENTENCES, tell
from agent.cli.words import LABELS
from agent.errors import ChannelError, ConfigError, EcluseError, EventError, KernelError, LedgerCorrupt, Refused, Rejected
from agent.event import TYPES, Event
from agent.ledger.sqlite import Ledger

ROOT = Path(__file__).parents[2]
POLICIES = str(ROOT / "policies")
GOLDEN = ROOT / "tests/golden/simulate"
FACTS = str(GOLDEN / "zephyr.jsonl")
PLAIN = {"LC_ALL": "", "LC_MESSAGES": "", "LANG": "", "ECLUSE_CONFIG": "", "ECLUSE_SOCKET": "", "NO_COLOR": "", "TZ": "UTC"}


def ecluse(*arguments: str, env: Mapping[str, str] | None = None, **how: Any) -> Result:
    return CliRunner().invoke(main, arguments, env={**PLAIN, **(env or {})}, prog_name="ecluse", **how)


class Enforcer:
    """Answers on a real socket in a thread, with what a test prepared, and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[dict[str, Any], bytes]] = []
        self.answer: tuple[dict[str, Any], bytes] = ({"exit": 0, "message": {"fr": "fait", "en": "done"}, "data": {}}, b"")

    async def _handle(self, _peer: Peer, header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        self.asked.append((header, body))
        return self.answer

    async def _serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        listener = await listen(self.path, self._handle, max_body=1 << 20)
        ready.set()
        await stop.wait()
        await listener.close(grace=1)

    @contextmanager
    def running(self) -> Iterator["Enforcer"]:
        ready, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
        thread = threading.Thread(target=lambda: loop.run_until_complete(self._serve(ready, stop)))
        thread.start()
        assert ready.wait(5)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(5)
            loop.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a name short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ecl") as name:
        yield Path(name)


@pytest.fixture
def enforcer(folder: Path) -> Iterator[Enforcer]:
    with Enforcer(folder / "op.sock").running() as running:
        yield running


def asking(enforcer: Enforcer, *arguments: str, **how: Any) -> Result:
    return ecluse(*arguments, env={"ECLUSE_SOCKET": str(enforcer.path)}, **how)


# --- help ---------------------------------------------------------------------------------------------------------


def test_help_lists_every_command_and_the_exit_codes() -> None:
    said = ecluse("--help")
    assert said.exit_code == 0
    for name in COMMANDS:
        assert f"  {name} " in said.output
    for code in ("0  done", "1  failed", "2  bad input", "3  refused or held"):
        assert code in said.output


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_teaches_with_an_example_that_fits_its_options(name: str) -> None:
    said = ecluse(name, "--help")
    assert said.exit_code == 0
    command = main.get_command(click.Context(main), name)
    assert command is not None
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--lang"}
    examples = [line for line in (command.epilog or "").splitlines() if re.search(r"\becluse\b", line)]
    assert any(f"ecluse {name}" in line for line in examples)
    for line in examples:
        first = re.split(r"&&|\|", line[line.index(f"ecluse {name}") if f"ecluse {name}" in line else 0 :])[0]
        assert {word.split("=")[0] for word in shlex.split(first) if word.startswith("--")} <= known, line


def test_python_dash_m_agent_is_the_same_command() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "agent", "--version"], check=False, capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("ecluse, version ")


def test_looking_and_restoring_load_neither_the_listening_side_nor_the_ledger() -> None:
    code = "import sys, agent.cli.act, agent.cli.look; print([m for m in sys.modules if 'uvicorn' in m or 'agent.ledger' in m])"
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert found.stdout.strip() == "[]"


# --- language, tables, colours ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "fr_CA"}, "fr"),
        ({"LANG": "fr", "LC_ALL": ""}, "fr"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
    ],
)
def test_the_locale_chooses_the_language(environment: dict[str, str], expected: str) -> None:
    assert language(environment) == expected


def test_an_option_overrides_the_locale_before_and_after_the_command() -> None:
    assert "sociétés : valides" in ecluse("check", POLICIES, env={"LC_ALL": "fr_FR.UTF-8"}).output
    assert "companies: valid" in ecluse("check", POLICIES, "--lang", "en", env={"LC_ALL": "fr_FR.UTF-8"}).output
    assert "sociétés : valides" in ecluse("--lang", "fr", "check", POLICIES).output


def test_colours_appear_on_a_terminal_and_never_with_no_color() -> None:
    assert "\x1b[" in ecluse("check", POLICIES, color=True).output
    assert "\x1b[" not in ecluse("check", POLICIES).output
    assert "\x1b[" not in ecluse("check", POLICIES, color=True, env={"NO_COLOR": "1"}).output


def test_a_table_is_aligned_whatever_its_cells_are_styled_with() -> None:
    lines = [
        click.unstyle(line)
        for line in table(["a", "long head", "why"], [[click.style("xx", fg="red"), "y", "because"], ["z", "w", ""]])
    ]
    assert lines == ["a   long head  why", "xx  y          because", "z   w"]


def test_a_long_last_column_is_wrapped_below_itself_at_the_width_of_the_terminal() -> None:
    lines = table(["a", "why"], [["x", "word " * 20]], width=40)
    assert len(lines) > 3
    assert all(len(click.unstyle(line)) <= 40 for line in lines)
    assert all(line.startswith("   ") for line in lines[2:])


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "a\nb", "\x9b2J", "\u202etxt"])
def test_control_characters_never_reach_a_terminal(text: str) -> None:
    assert all(each.isprintable() for each in safe(text))


def test_times_days_and_sums_are_written_as_people_write_them() -> None:
    fr, en = Screen(language="fr"), Screen(language="en")
    assert fr.moment("2026-03-30T07:00:00.000000Z", "Europe/Paris") == "30/03/2026 09:00"
    assert en.moment("2026-03-31T12:07:12.000000Z", "Europe/Paris") == "2026-03-31 14:07:12"
    assert (fr.day("2026-01-31"), en.day("2026-01-31")) == ("31/01/2026", "2026-01-31")
    assert (fr.amount("4800.5", "EUR"), en.amount("4800.5", "EUR")) == ("4 800,50 EUR", "4,800.50 EUR")
    assert fr.moment(None) == ""
    for nonsense in ("yesterday", 12, "2026-13-01", "2026-03-30T07:00:00Z"):
        assert fr.moment(nonsense, "No/Where") == str(nonsense)


def test_every_label_and_sentence_has_both_languages() -> None:
    for french, english in (*LABELS.values(), *SENTENCES.values()):
        assert french
        assert english


# --- check --------------------------------------------------------------------------------------------------------


def test_check_shows_what_it_found() -> None:
    said = ecluse("check", POLICIES)
    assert said.exit_code == 0
    for name in ("shared-documents", "fr-b2b-approve", "Zéphyr Bâtiment", "9 services, 4 policies, 4 companies: valid"):
        assert name in said.output


def test_check_in_json_counts_what_it_found() -> None:
    found = json.loads(ecluse("check", POLICIES, "--json").output)
    assert found["exit"] == 0
    assert found["data"]["companies"] == 4
    names = {"fr-b2b-auto", "fr-b2b-approve", "fr-b2b-observe", "public-body"}
    assert {one["policy"] for one in found["data"]["policies"]} == names


@pytest.fixture
def wrong(folder: Path) -> Path:
    """A host whose three kinds of file each have something wrong."""
    for path in (ROOT / "policies").glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())
    suspension = (ROOT / "policies/suspension.yaml").read_text()
    (folder / "suspension.yaml").write_text(
        suspension.replace("notice_days: 15", "notice_days: 7").replace("mode: auto", "mood: auto")
    )
    host = folder / "host"
    host.mkdir()
    (host / "ecluse.yaml").write_text("policies: ..\nsources: sources.yaml\n")
    (host / "sources.yaml").write_text("sources:\n  s1:\n    kind: native\n    secrets: [secret]\n    events: [approval.given]\n")
    return folder


def test_check_lists_every_problem_with_its_file_and_line_and_how_to_mend_it(wrong: Path) -> None:
    said = ecluse("check", str(wrong))
    assert said.exit_code == 2
    assert re.search(r"suspension\.yaml:\d+: .*notice_days.*8", said.stderr)
    assert re.search(r"suspension\.yaml:\d+: .*mood.*mode", said.stderr)
    assert said.stdout == ""


def test_check_with_a_configuration_lists_the_problems_of_all_its_files_at_once(wrong: Path) -> None:
    said = ecluse("check", "--config", str(wrong / "host/ecluse.yaml"), "--json")
    assert said.exit_code == 2
    files = {Path(one["file"]).name for one in json.loads(said.stdout)["data"]["problems"]}
    assert files == {"suspension.yaml", "sources.yaml"}


def test_check_opens_secret_files_only_when_asked(wrong: Path) -> None:
    (wrong / "host/sources.yaml").write_text(
        "sources:\n  s1:\n    kind: native\n    secrets: [none]\n    events: [payment.received]\n"
    )
    for name in ("suspension.yaml",):
        (wrong / name).write_text((ROOT / "policies" / name).read_text())
    config = str(wrong / "host/ecluse.yaml")
    assert ecluse("check", "--config", config).exit_code == 0
    said = ecluse("check", "--config", config, "--secrets")
    assert said.exit_code == 2
    assert "secret" in said.stderr


def test_check_without_anything_to_check_is_bad_input() -> None:
    assert ecluse("check").exit_code == 2
    assert ecluse("check", "/nowhere/at/all").exit_code == 2


# --- simulate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["fr", "en"])
def test_simulate_tells_the_founding_case(lang: str) -> None:
    said = ecluse(
        "simulate", "--policies", POLICIES, "--events", FACTS, "--at", "2026-04-01T00:00+02:00", "--approved", "--lang", lang
    )
    assert said.exit_code == 0
    golden = GOLDEN / f"zephyr.{lang}.txt"
    if os.environ.get("ECLUSE_GOLDEN") == "write":
        golden.write_text(said.output)
    assert said.output == golden.read_text()


def test_simulate_explains_one_company_with_every_check() -> None:
    said = ecluse("simulate", "--policies", POLICIES, "--events", FACTS, "--at", "2026-03-20T12:00+01:00", "--company", "za")
    assert said.exit_code == 0
    assert "G-27" in said.output
    assert "FAIL" in said.output
    assert "zb" not in said.output


def test_simulate_gives_json_to_programs() -> None:
    arguments = ("--policies", POLICIES, "--events", FACTS, "--at", "2026-04-01T00:00+02:00", "--json")
    found = json.loads(ecluse("simulate", *arguments).output)
    assert [one["act"] for one in found["data"]["moments"]] == ["propose", "propose"]
    assert found["data"]["companies"][0]["company"] == "za"


def test_simulate_knows_customers_by_the_names_a_billing_source_gives_them(folder: Path) -> None:
    file = folder / "facts.jsonl"
    file.write_text(Path(FACTS).read_text().replace('"customer": "z', '"customer": "cus_z'))
    arguments = ("--policies", POLICIES, "--events", str(file), "--at", "2026-04-01T00:00+02:00")
    assert ecluse("simulate", *arguments).exit_code == 2
    assert ecluse("simulate", *arguments, "--source", "stripe-main").exit_code == 0


def test_simulate_lists_every_bad_line(folder: Path) -> None:
    file = folder / "facts.jsonl"
    good = Path(FACTS).read_text().splitlines()[0]
    file.write_text(f'{good}\n{{"id": "x"}}\n\n{good.replace("4800.00", "-1")}\nnot json\n')
    said = ecluse("simulate", "--policies", POLICIES, "--events", str(file), "--at", "2026-04-01T00:00Z")
    assert said.exit_code == 2
    assert [f"facts.jsonl:{line}:" in said.stderr for line in (1, 2, 3, 4, 5)] == [False, True, False, True, True]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", "2026-04-01T00:00"), "time zone"),
        (("--at", "tomorrow"), "not a date and time"),
        (("--at", "2026-04-01T00:00Z", "--company", "zz"), "'zz'"),
        ((), "--at"),
    ],
)
def test_simulate_refuses_what_it_can_not_understand(arguments: tuple[str, ...], said: str) -> None:
    found = ecluse("simulate", "--policies", POLICIES, "--events", FACTS, *arguments)
    assert found.exit_code == 2
    assert said in found.stderr


def test_simulate_says_where_a_file_is_not_utf8(folder: Path) -> None:
    file = folder / "facts.jsonl"
    file.write_bytes(b"\n\xff\n")
    said = ecluse("simulate", "--policies", POLICIES, "--events", str(file), "--at", "2026-04-01T00:00Z")
    assert (said.exit_code, "facts.jsonl:2: not UTF-8" in said.stderr) == (2, True)


# --- forecast and policy diff -------------------------------------------------------------------------------------


def golden(name: str, said: Result) -> None:
    file = GOLDEN / name
    if os.environ.get("ECLUSE_GOLDEN") == "write":
        file.write_text(said.output)
    assert said.output == file.read_text()


@pytest.mark.parametrize("lang", ["fr", "en"])
def test_forecast_from_files_says_who_is_ready_when_and_what_is_missing(lang: str) -> None:
    files = ("--policies", POLICIES, "--events", FACTS, "--at", "2026-03-26T12:00+01:00")
    said = ecluse("forecast", *files, "--approved", "--lang", lang)
    assert said.exit_code == 0
    golden(f"forecast.{lang}.txt", said)
    assert "G-23" in ecluse("forecast", *files).output
    only = json.loads(ecluse("forecast", *files, "--company", "zb", "--json").output)["data"]
    assert [one["company"] for one in only["cases"]] == ["zb"]


def test_forecast_without_files_asks_the_enforcer(enforcer: Enforcer) -> None:
    case = {"company": "zb", "case": "zb:N", "state": "noticed", "timezone": "Europe/Paris", "ready_at": "2026-03-26T23:00:00Z"}
    missing = [{"code": "G-26", "fr": "avertissement", "en": "warning"}]
    data = {"at": "2026-03-20T00:00:00Z", "until": "2026-04-19T00:00:00Z", "cases": [case | {"missing": missing}], "more": True}
    enforcer.answer = ({"exit": 0, "message": {}, "data": data}, b"")
    said = ecluse("forecast", "--days", "14", "--company", "zb", "--socket", str(enforcer.path))
    assert said.exit_code == 0
    assert "2026-03-27 00:00" in said.output
    assert "G-26 warning" in said.output
    assert "more" in said.output
    header, _ = enforcer.asked[-1]
    assert (header["ask"], header["days"], header["company"]) == ("forecast", 14, "zb")


def test_forecast_needs_both_files_or_none() -> None:
    assert ecluse("forecast", "--policies", POLICIES).exit_code == 2
    assert ecluse("forecast", "--events", FACTS).exit_code == 2
    found = ecluse("forecast", "--policies", POLICIES, "--events", FACTS, "--company", "zz")
    assert (found.exit_code, "'zz'" in found.stderr) == (2, True)
    none = ecluse("forecast", "--policies", POLICIES, "--events", FACTS, "--at", "2026-01-02T00:00Z")
    assert (none.exit_code, "No open case" in none.output) == (0, True)


@pytest.mark.parametrize("lang", ["fr", "en"])
def test_policy_diff_says_which_decisions_would_be_others(folder: Path, lang: str) -> None:
    for path in Path(POLICIES).glob("*.yaml"):
        text = path.read_text()
        (folder / path.name).write_text(
            text.replace("    waive_gentler_stages: annex", "    min_debt: 4000\n    waive_gentler_stages: annex")
        )
    files = ("--events", FACTS, "--at", "2026-04-01T00:00+02:00", "--approved", "--lang", lang)
    said = ecluse("policy", "diff", str(folder), POLICIES, *files)
    assert said.exit_code == 3
    golden(f"policy-diff.{lang}.txt", said)
    told = json.loads(ecluse("policy", "diff", str(folder), POLICIES, *files, "--json").output)
    assert (told["exit"], told["data"]["counts"]) == (3, {"new": 1})


def test_policy_diff_of_equal_policies_is_nothing() -> None:
    said = ecluse("policy", "diff", POLICIES, POLICIES, "--events", FACTS, "--at", "2026-04-01T00:00+02:00", "--approved")
    assert (said.exit_code, said.output) == (0, "No decision would be another (2 companies).\n")


def test_policy_diff_with_policies_that_fail_is_bad_input(folder: Path) -> None:
    (folder / "policies.yaml").write_text("policies:\n  x: {profile: nowhere}\n")
    assert ecluse("policy", "diff", POLICIES, str(folder), "--events", FACTS).exit_code == 2


# --- log ----------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 3, 31, 12, 7, 12, tzinfo=UTC)


def event(number: int, type_: str, subject: str, **body: Any) -> Event:
    return Event(id=f"e:{number}", type=type_, subject=subject, occurred_at=NOON, received_at=NOON, source="bank", body=body)


@pytest.fixture
def ledger(folder: Path) -> Path:
    path = folder / "ledger.db"
    with Ledger.open(path) as owner:
        owner.append(
            [
                event(1, "policy.loaded", "-", digest="d" * 64),
                event(2, "payment.received", "za", payment="VIR-1", amount="4800.00", currency="EUR"),
                event(3, "heartbeat", "-"),
                event(4, "hold.set", "zb", hold="H-1", kind="safety", reason="lift \u202ealarm"),
            ]
        )
    return path


def test_log_tells_every_fact_in_words(ledger: Path) -> None:
    said = ecluse("log", "--ledger", str(ledger)).output
    assert "payment VIR-1 received: 4,800.00 EUR" in said
    assert "on hold, safety (H-1): lift \N{REPLACEMENT CHARACTER}alarm" in said
    assert "paiement VIR-1 reçu : 4 800,00 EUR" in ecluse("log", "--lang", "fr", "--ledger", str(ledger)).output


def test_log_about_one_company_or_after_a_row_tells_only_that(ledger: Path) -> None:
    assert len(ecluse("log", "za", "--ledger", str(ledger)).output.splitlines()) == 1
    assert len(ecluse("log", "--after", "2", "--ledger", str(ledger)).output.splitlines()) == 2
    assert len(ecluse("log", "--ledger", str(ledger), "--", "-").output.splitlines()) == 2


def test_log_in_json_is_one_row_a_line(ledger: Path) -> None:
    rows = [json.loads(line) for line in ecluse("log", "--json", "--ledger", str(ledger)).output.splitlines()]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4]
    assert rows[1]["body"] == {"payment": "VIR-1", "amount": "4800.00", "currency": "EUR"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", row["hash"]) for row in rows)


def test_verify_gives_a_head_that_can_be_kept_elsewhere_and_shows_a_rewritten_history(ledger: Path) -> None:
    said = ecluse("log", "--verify", "--ledger", str(ledger))
    assert said.exit_code == 0
    head = re.search(r"4:[0-9a-f]{64}", said.output)
    assert head is not None
    assert ecluse("log", "--verify", "--anchor", head[0], "--ledger", str(ledger)).exit_code == 0
    other = ecluse("log", "--verify", "--anchor", "4:" + "0" * 64, "--ledger", str(ledger))
    assert (other.exit_code, "row 4" in other.stderr) == (1, True)


def test_verify_names_the_first_row_that_was_edited(ledger: Path) -> None:
    with sqlite3.connect(ledger) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'events'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE events SET body = replace(body, '4800', '0800') WHERE seq = 2")
    db.close()
    said = ecluse("log", "--verify", "--ledger", str(ledger))
    assert (said.exit_code, said.stdout) == (1, "")
    assert "row 2 does not verify" in said.stderr
    found = json.loads(ecluse("log", "--verify", "--json", "--ledger", str(ledger)).stdout)
    assert (found["exit"], found["data"]["first_bad_row"]) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("za", "--verify"), 2), (("--verify", "--after", "3"), 2), (("--anchor", "1:aa", "--verify"), 2), (("--after", "-1"), 2)],
)
def test_log_refuses_options_that_do_not_fit(ledger: Path, arguments: tuple[str, ...], code: int) -> None:
    assert ecluse("log", *arguments, "--ledger", str(ledger)).exit_code == code


def test_a_ledger_that_is_not_there_is_a_message_and_not_a_traceback(folder: Path) -> None:
    said = ecluse("log", "--ledger", str(folder / "none.db"))
    assert said.exit_code == 1
    assert "none.db" in said.stderr
    assert "Traceback" not in said.output


def test_every_type_of_fact_has_a_sentence_and_every_sentence_names_fields_that_exist() -> None:
    assert set(SENTENCES) == set(TYPES)
    inside = {"notice.dispatched": {"services", "earliest_on"}, "order.suspend": {"terms"}, "measure.applied": {"measured"}}
    for name, sentences in SENTENCES.items():
        known = {*TYPES[name].required, *TYPES[name].optional, "source"} | inside.get(name, set())
        for sentence in sentences:
            assert set(re.findall(r"\{(\w+)\}", sentence)) <= known, name


def test_a_sentence_leaves_out_what_is_not_known_and_reads_no_value_as_a_pattern() -> None:
    en = Screen(language="en")
    assert tell(event(1, "dispute.opened", "za", dispute="D-1"), en) == "dispute D-1 opened"
    said = tell(event(1, "dispute.opened", "za", dispute="D-1", invoices=["F-1"], motive="[{reason}]"), en)
    assert said == "dispute D-1 opened about F-1: [{reason}]"


def test_a_restore_gives_its_reason_in_the_readers_language() -> None:
    times = {"reason_fr": "paiement reçu", "reason_en": "payment received"}
    restored = event(1, "measure.restored", "za", order="O", case="C", cause="G-05: paid", final=True, times=times)
    assert tell(restored, Screen(language="fr")).endswith("paiement reçu")
    assert tell(restored, Screen(language="en")).endswith("payment received")


def test_a_fact_of_a_newer_version_is_still_shown() -> None:
    assert tell(event(1, "moon.landed", "za", where="here"), Screen()) == 'moon.landed: {"where": "here"}'


# --- asking the enforcer ------------------------------------------------------------------------------------------

CASE = "za:MED-ZA"
ASKED: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("status",), {"ask": "status"}),
    (("explain", "za"), {"ask": "explain", "company": "za"}),
    (("plan",), {"ask": "plan"}),
    (("approve", CASE, "--reason", "r"), {"ask": "approve", "case": CASE, "reason": "r"}),
    (
        ("approve", "--policy", "p", "--until", "2026-12-31T00:00:00Z", "--reason", "r"),
        {"ask": "approve_policy", "policy": "p", "expires_at": "2026-12-31T00:00:00.000000Z", "reason": "r"},
    ),
    (("revoke", CASE, "--reason", "r"), {"ask": "revoke", "case": CASE, "reason": "r"}),
    (("revoke", "--policy", "p", "--reason", "r"), {"ask": "revoke_policy", "policy": "p", "reason": "r"}),
    (("suspend", "za", "--reason", "r"), {"ask": "suspend", "company": "za", "reason": "r"}),
    (("restore", "za", "--reason", "r"), {"ask": "restore", "company": "za", "all": False, "reason": "r"}),
    (("restore", "--all", "--reason", "r"), {"ask": "restore", "all": True, "reason": "r"}),
    (("pause", "--reason", "r"), {"ask": "pause", "restore": False, "reason": "r"}),
    (("pause", "--restore", "--reason", "r"), {"ask": "pause", "restore": True, "reason": "r"}),
    (("resume", "--reason", "r"), {"ask": "resume", "reason": "r"}),
    (("clear", "--reason", "r"), {"ask": "clear", "reason": "r"}),
    (("reload",), {"ask": "reload"}),
    (("revoke", CASE, "--check", "G-05", "--reason", "r"), {"ask": "revoke", "case": CASE, "check": "G-05", "reason": "r"}),
    (
        ("override", CASE, "G-05", "--until", "2026-12-31T00:00:00Z", "--reason", "r"),
        {"ask": "override", "case": CASE, "check": "G-05", "expires_at": "2026-12-31T00:00:00.000000Z", "reason": "r"},
    ),
    (("waive", CASE, "1", "2", "--reason", "r"), {"ask": "waive", "case": CASE, "stages": [1, 2], "reason": "r"}),
    (("review", "za", "CHG-1", "--reason", "r"), {"ask": "review", "company": "za", "change": "CHG-1", "reason": "r"}),
    (
        ("lift", "za", "TC-1", "--document", "d", "--reason", "r"),
        {"ask": "lift", "company": "za", "decision": "TC-1", "document": "d", "reason": "r"},
    ),
    (("void", CASE, "--cause", "c", "--reason", "r"), {"ask": "void", "case": CASE, "cause": "c", "reason": "r"}),
    (("release", "--reason", "r"), {"ask": "release", "reason": "r"}),
]


@pytest.mark.parametrize(("arguments", "header"), ASKED, ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_a_command_asks_exactly_its_question(enforcer: Enforcer, arguments: tuple[str, ...], header: dict[str, Any]) -> None:
    said = asking(enforcer, *arguments)
    assert said.exit_code == 0, said.output
    assert enforcer.asked == [(header | {"lang": "en"}, b"")]
    assert said.stdout.endswith("done\n")


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_enforcers_exit_code_is_the_commands_and_its_words_are_in_the_readers_language(enforcer: Enforcer, code: int) -> None:
    enforcer.answer = ({"exit": code, "message": {"fr": "deux\nlignes", "en": "two\nlines"}, "data": {"a": 1}}, b"")
    said = asking(enforcer, "suspend", "za", "--reason", "r", "--lang", "fr")
    assert said.exit_code == code
    assert ("deux\nlignes" in said.stdout, "deux\nlignes" in said.stderr) == (code == 0, code != 0)
    found = json.loads(asking(enforcer, "suspend", "za", "--reason", "r", "--json").stdout)
    assert found == {"exit": code, "message": {"fr": "deux\nlignes", "en": "two\nlines"}, "data": {"a": 1}}


def test_values_too_large_for_a_header_come_in_the_body(enforcer: Enforcer) -> None:
    enforcer.answer = (
        {"exit": 0, "message": {}},
        json.dumps({"lines": ["+ vpn4 10.0.0.0/24"] * 3, "adds": 3, "deletes": 0}).encode(),
    )
    assert "3 to refuse, 0 to restore" in asking(enforcer, "plan").output


@pytest.mark.parametrize(
    ("header", "raw"),
    [({}, b""), ({"exit": 9}, b""), ({"exit": 0}, b"{"), ({"exit": 0, "data": []}, b"[]"), ({"exit": 0, "message": "x"}, b"")],
)
def test_an_answer_that_is_not_understood_is_an_error(header: dict[str, Any], raw: bytes) -> None:
    with pytest.raises(ChannelError, match="not understood"):
        parse_answer(header, raw)


def test_status_shows_the_host_the_measures_and_what_fails(enforcer: Enforcer) -> None:
    enforcer.answer = (
        {
            "exit": 0,
            "message": {},
            "data": {
                "version": "0.1.0",
                "mode_ceiling": "auto",
                "policy": {"digest": "abcdef0123456789", "valid": False, "problems": ["a.yaml:3: wrong."], "loaded_at": None},
                "kernel": {"name": "nft", "structure": "drifted", "last_good_cycle": None, "last_sentence": "calm"},
                "ledger": {"seq": 12, "writable": False},
                "stop": {"all": {"by": "claire", "at": "2026-03-30T07:00:00Z", "reason": "moving", "restore": False}},
                "companies": {"known": 4, "with_measure": 300},
                "feeds": {"stripe-main": None},
                "measures": [
                    {"company": "za", "name": "Zéphyr", "case": CASE, "services": ["vpn"], "lease_until": "2026-03-30T11:00:00Z"}
                ],
                "more": 299,
                "waiting": [{"company": "zb", "case": "zb:1", "what": "G-23 0 approvals of 2"}],
                "held": ["too many at once"],
                "failures": ["zc: no such device"],
            },
        },
        b"",
    )
    said = asking(enforcer, "status").output
    for part in (
        "abcdef012345",
        "REFUSED",
        "CHANGED BY SOMEBODY",
        "NOT WRITABLE",
        "claire",
        "moving",
        "silent",
        CASE,
        "and 299 more",
    ):
        assert part in said
    for part in ("G-23 0 approvals of 2", "too many at once", "no such device", "a.yaml:3: wrong."):
        assert part in said


OBSERVING: dict[str, Any] = {"mode_ceiling": "observe", "breaker": {"companies": {"of": 3}}, "feeds": {"erp": "2026-03-30T07:00Z"}}


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, ["observe for some weeks", "let it act"]),
        ({"breaker": {"companies": {"of": 0}}}, ["describe services", "observe for some weeks", "let it act"]),
        ({"feeds": {"erp": None, "a": None}}, ['system "a"', 'system "erp"', "observe for some weeks", "let it act"]),
        ({"paused": True}, ["ecluse resume", "observe for some weeks", "let it act"]),
        ({"mode_ceiling": "approve", "feeds": {"erp": None}}, []),
        ({"breaker": None, "feeds": None}, ["describe services", "observe for some weeks", "let it act"]),
    ],
)
def test_a_gateway_that_only_observes_is_told_the_next_steps_in_order(
    enforcer: Enforcer, changes: dict[str, Any], steps: list[str]
) -> None:
    enforcer.answer = ({"exit": 0, "message": {}, "data": OBSERVING | changes}, b"")
    told = asking(enforcer, "status").output.partition("Next\n")[2].splitlines()
    assert len(told) == len(steps)
    for number, (line, part) in enumerate(zip(told, steps, strict=True), 1):
        assert line.startswith(f"  {number}. ")
        assert part in line


@pytest.mark.parametrize("name", ["status", "explain", "plan"])
def test_an_answer_with_nothing_in_it_is_still_shown(enforcer: Enforcer, name: str) -> None:
    said = asking(enforcer, *((name, "za") if name == "explain" else (name,)))
    assert said.exit_code == 0
    assert said.exception is None


def test_a_plan_is_shown_like_a_diff(enforcer: Enforcer) -> None:
    lines = ["~ table inet ecluse: 9 chains", "za: + vpn4 10.20.10.0/24 (case za:1)", "zb: - vpn4 10.20.20.0/24"]
    enforcer.answer = ({"exit": 0, "message": {}, "data": {"lines": lines, "adds": 1, "deletes": 1, "structure": True}}, b"")
    said = asking(enforcer, "plan", color=True).output
    assert "\x1b[33mza: + vpn4" in said
    assert "\x1b[32mzb: - vpn4" in said
    assert "1 to refuse, 1 to restore" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("approve", CASE),
        ("suspend", "za"),
        ("restore", "za"),
        ("pause",),
        ("clear",),
        ("approve", "--reason", "r"),
        ("approve", CASE, "--policy", "p", "--reason", "r"),
        ("approve", "--policy", "p", "--reason", "r"),
        ("approve", "--policy", "p", "--until", "soon", "--reason", "r"),
        ("revoke", "--reason", "r"),
        ("revoke", "--policy", "p", "--check", "G-05", "--reason", "r"),
        ("override", CASE, "G-05", "--reason", "r"),
        ("waive", CASE, "--reason", "r"),
        ("waive", CASE, "4", "--reason", "r"),
        ("void", CASE, "--reason", "r"),
        ("lift", "za", "TC-1", "--reason", "r"),
        ("release",),
        ("restore", "--reason", "r"),
        ("restore", "za", "--all", "--reason", "r"),
        ("explain",),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_what_is_not_whole_is_bad_input_and_asks_nobody(enforcer: Enforcer, arguments: tuple[str, ...]) -> None:
    assert asking(enforcer, *arguments).exit_code == 2
    assert enforcer.asked == []


@pytest.mark.parametrize(
    "arguments",
    [("restore", "za"), ("restore", "--all"), ("clear",), ("pause", "--restore"), ("void", CASE, "--cause", "c")],
    ids=" ".join,
)
def test_who_restores_is_told_the_way_without_the_enforcer(folder: Path, arguments: tuple[str, ...]) -> None:
    said = ecluse(*arguments, "--reason", "r", "--socket", str(folder / "none.sock"))
    assert said.exit_code == 1
    assert "nft delete table inet ecluse" in said.stderr
    assert "none.sock" in said.stderr


@pytest.mark.parametrize("arguments", [("status",), ("suspend", "za", "--reason", "r"), ("pause", "--reason", "r")], ids=" ".join)
def test_who_does_not_restore_is_only_told_that_nobody_answers(folder: Path, arguments: tuple[str, ...]) -> None:
    said = ecluse(*arguments, "--socket", str(folder / "none.sock"))
    assert said.exit_code == 1
    assert "nft delete" not in said.stderr
    assert "nobody answers" in said.stderr


def test_the_socket_is_the_one_of_the_configuration(folder: Path) -> None:
    (folder / "ecluse.yaml").write_text("policies: p\nsources: s\nrun_dir: .\n")
    with Enforcer(folder / "operator.sock").running() as enforcer:
        assert ecluse("plan", "--config", str(folder / "ecluse.yaml")).exit_code == 0
        assert ecluse("plan", env={"ECLUSE_CONFIG": str(folder / "ecluse.yaml")}).exit_code == 0
    assert len(enforcer.asked) == 2


def test_a_configuration_that_was_named_and_is_wrong_never_leads_to_another_gateway(folder: Path) -> None:
    (folder / "ecluse.yaml").write_text("run_dirr: .\n")
    said = ecluse("restore", "za", "--reason", "r", "--config", str(folder / "ecluse.yaml"))
    assert said.exit_code == 2
    assert "ecluse.yaml:1:" in said.stderr


@pytest.mark.parametrize(("answer", "code", "questions"), [(b"n\n", 3, 0), (b"y\n", 0, 1)])
def test_on_a_terminal_clear_asks_first(enforcer: Enforcer, answer: bytes, code: int, questions: int) -> None:
    leader, follower = pty.openpty()
    try:
        os.write(leader, answer)
        found = subprocess.run(
            [sys.executable, "-m", "agent", "clear", "--reason", "r", "--socket", str(enforcer.path)],
            check=False,
            stdin=follower,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env={**os.environ, **PLAIN},
        )
    finally:
        os.close(leader)
        os.close(follower)
    assert "restore every customer?" in found.stderr
    assert (found.returncode, len(enforcer.asked)) == (code, questions)


# --- facts --------------------------------------------------------------------------------------------------------


def test_record_sends_the_fact_with_its_proof_and_the_hash_of_it(enforcer: Enforcer, folder: Path) -> None:
    proof = folder / "AR.pdf"
    proof.write_bytes(b"a letter")
    arguments = ("--company", "za", "--field", "notice=MED-ZA", "--at", "2026-03-11T09:30:00+01:00", "--proof", str(proof))
    assert asking(enforcer, "record", "notice.delivered", *arguments).exit_code == 0
    ((header, _),) = enforcer.asked
    assert header == {
        "ask": "record",
        "lang": "en",
        "type": "notice.delivered",
        "company": "za",
        "body": {"notice": "MED-ZA"},
        "occurred_at": "2026-03-11T08:30:00.000000Z",
        "proof": str(proof.resolve()),
        "proof_sha256": hashlib.sha256(b"a letter").hexdigest(),
    }


def test_record_takes_a_fact_in_the_customers_favour_without_a_proof_and_no_other(enforcer: Enforcer) -> None:
    payment = ("--company", "za", "--field", "payment=P", "--field", "amount=10.00", "--field", "currency=EUR")
    assert asking(enforcer, "record", "payment.received", *payment).exit_code == 0
    said = asking(enforcer, "record", "payment.reversed", "--company", "za", "--field", "payment=P")
    assert (said.exit_code, "--proof" in said.stderr) == (2, True)
    assert len(enforcer.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("approval.given",), "approval.given"),
        (("payment.received", "--field", "payment=P", "--field", "currency=EUR", "--field", "amount=-1"), "negative"),
        (("payment.received", "--field", "nonsense"), "name=text"),
        (("hold.set", "--field", "hold=H", "--field", "kind=mood"), "kind"),
        (("hold.set", "--field", "hold=H", "--field", "kind=manual", "--at", "noon"), "--at"),
    ],
)
def test_record_tells_a_wrong_field_at_once(enforcer: Enforcer, arguments: tuple[str, ...], said: str) -> None:
    found = asking(enforcer, "record", *arguments, "--company", "za")
    assert (found.exit_code, said in found.stderr) == (2, True)
    assert enforcer.asked == []


def test_fields_of_the_command_line_are_texts_or_json() -> None:
    assert field_of("payment=2026=1") == ("payment", "2026=1")
    assert field_of('invoices:=["F-1"]') == ("invoices", ["F-1"])
    assert field_of("note=") == ("note", "")
    for wrong in ("payment", "=x", ":=1", "n:={"):
        with pytest.raises(EventError):
            field_of(wrong)
    assert body_of("hold.set", ("kind=court",), b'{"hold": "H", "kind": "manual"}') == {"hold": "H", "kind": "court"}
    with pytest.raises(EventError, match="not a JSON object"):
        body_of("hold.set", (), b"[]")


def test_import_sends_the_file_as_it_is(enforcer: Enforcer) -> None:
    assert asking(enforcer, "import", FACTS).exit_code == 0
    assert enforcer.asked == [({"ask": "import", "file": FACTS, "lang": "en"}, Path(FACTS).read_bytes())]
    assert asking(enforcer, "import", "/nowhere.jsonl").exit_code == 2


def test_a_date_means_until_the_end_of_that_day_and_an_instant_means_itself() -> None:
    end = datetime(2027, 1, 1).astimezone(UTC)
    assert moment("2026-12-31") == end.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert moment("2026-12-31T12:00:00+01:00") == "2026-12-31T11:00:00.000000Z"
    for wrong in ("2026-02-30", "tomorrow", "2026-12-31T12:00:00", "9999-12-31"):
        with pytest.raises(click.BadParameter):
            moment(wrong)


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError(()), 2),
        (EventError(field="f", what="w"), 2),
        (Rejected(status=400, kind="k", what="w"), 2),
        (Refused("no"), 3),
        (ChannelError("away"), 1),
        (KernelError(errno=1, what="w"), 1),
        (LedgerCorrupt(seq=1, what="w"), 1),
        (PermissionError(13, "Permission denied", "f"), 1),
    ],
)
def test_every_expected_error_has_an_exit_code(error: EcluseError | OSError, code: int) -> None:
    assert exit_code(error) == code


def test_an_expected_error_is_json_for_programs_and_a_traceback_only_for_debugging(folder: Path) -> None:
    nobody = ("status", "--socket", str(folder / "none.sock"))
    found = json.loads(ecluse(*nobody, "--json").stdout)
    assert (found["exit"], "none.sock" in found["message"]["en"]) == (1, True)
    assert isinstance(ecluse(*nobody, "--debug").exception, ChannelError)


@pytest.mark.parametrize("name", ["run", "serve", "enforce", "probe"])
def test_a_role_with_a_wrong_configuration_says_every_problem_and_does_not_start(folder: Path, name: str) -> None:
    (folder / "ecluse.yaml").write_text("policies: p\nlisten: 1\nmode_ceiling: high\n")
    said = ecluse(name, "--config", str(folder / "ecluse.yaml"))
    assert said.exit_code == 2
    assert {2, 3} <= {int(line) for line in re.findall(r"ecluse\.yaml:(\d+):", said.stderr)}


# --- in an emergency ----------------------------------------------------------------------------------------------

DONE = Answer(exit=0, message={"en": "done alone"}, data={})


def nobody() -> Answer:
    raise ChannelError("nobody answers")


def test_when_nobody_answers_it_is_done_alone() -> None:
    assert in_an_emergency(Screen(), nobody, lambda: DONE) is DONE


def test_when_the_enforcer_fails_it_is_done_alone_and_else_its_failure_is_the_answer() -> None:
    failed = Answer(exit=1, message={"en": "the ledger is corrupt"}, data={})
    assert in_an_emergency(Screen(), lambda: failed, lambda: DONE) is DONE
    assert in_an_emergency(Screen(), lambda: failed) is failed


@pytest.mark.parametrize("code", [0, 2, 3])
def test_an_answer_of_the_enforcer_is_enough(code: int) -> None:
    said = Answer(exit=code, message={}, data={})
    assert in_an_emergency(Screen(), lambda: said, lambda: pytest.fail("not alone")) is said


def test_when_the_kernel_does_not_let_it_be_done_alone_the_way_by_hand_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> Answer:
        raise KernelError(errno=1, what="not permitted")

    with pytest.raises(KernelError):
        in_an_emergency(Screen(), nobody, refused)
    assert "nft delete table inet ecluse" in capsys.readouterr().err
