"""The stored inventory: answers like the one in memory, appears whole or not at all, stays small."""

import asyncio
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import ConfigError, Problem
from agent.inventory import (
    SqliteInventory,
    check_directory,
    compile_directory,
    compile_in_child,
    files,
    keep_in_force,
    last_in_force,
    open_inventory,
)
from agent.policy import Code, MemoryInventory, read
from agent.policy.problems import Problems

EXAMPLES = Path(__file__).parents[2] / "policies"
SERVICES = "services:\n  reporting: {class: A, selectors: [{prefixes: 198.51.100.30, protocol: tcp, ports: 443}]}\n"
POLICIES = "policies:\n  usual: {profile: fr-b2b, mode: approve}\n"


def line(number: int) -> str:
    attachment = {"prefix": f"10.{number // 256}.{number % 256}.0/24", **({"interface": f"v{number % 7}"} if number % 3 else {})}
    company = {
        "id": f"c{number:05}",
        "group": f"g{number // 10}",
        "name": f"Société {number}",
        "contract": f"K{number}",
        "policy": "usual",
        "billing_ids": {"stripe-main": f"cus_{number}"},
        "sites": {"main": {"timezone": "Europe/Paris", "attachments": [attachment]}},
        "subscriptions": ["reporting"],
    }
    return json.dumps(company, ensure_ascii=False) + "\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "policies"
    made.mkdir()
    (made / "services.yaml").write_text(SERVICES)
    (made / "policies.yml").write_text(POLICIES)
    (made / "customers.jsonl").write_text("".join(line(number) for number in range(600)))
    (made / "README.md").write_text("not ours: [")
    (made / ".customers.yaml.swp").write_bytes(b"\xff an editor's own")
    return made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def problems_of(directory: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as raised:
        check_directory(directory)
    return raised.value.problems


def assert_same_answers(stored: SqliteInventory, memory: MemoryInventory) -> None:
    assert stored.digest == memory.digest
    assert stored.services == memory.services
    assert list(stored.services) == list(memory.services)
    assert stored.policies == memory.policies
    assert stored.shapes == memory.shapes
    assert stored.count() == memory.count()
    companies = list(memory.companies())
    assert list(stored.companies()) == companies
    for company in companies:
        assert stored.company(company.id) == company
        for source, customer in company.billing_ids.items():
            assert stored.by_billing_id(source, customer) == memory.by_billing_id(source, customer) == company.id
    assert stored.company("nobody") is memory.company("nobody") is None
    assert stored.by_billing_id("stripe-main", "nobody") is memory.by_billing_id("stripe-main", "nobody") is None
    ids = [company.id for company in companies]
    assert stored.standing_keys(["nobody", *ids]) == {
        company_id: list(keys) for company_id, keys in memory.standing_keys(ids).items()
    }
    assert sorted(map(str, stored.local_networks())) == sorted(map(str, memory.local_networks()))
    assert list(stored.protected_selectors()) == list(memory.protected_selectors())


def test_the_stored_inventory_answers_like_the_one_in_memory(directory: Path, cache: Path) -> None:
    for each in (directory, EXAMPLES):
        stored = open_inventory(compile_directory(each, cache))
        assert_same_answers(stored, MemoryInventory(check_directory(each)))
        stored.close()


def test_the_examples_have_something_to_prove(cache: Path) -> None:
    stored = open_inventory(compile_directory(EXAMPLES, cache))
    assert len(list(stored.local_networks())) == 10
    assert {service for service, _ in stored.protected_selectors()} == {"portal", "sip", "dns", "ntp", "licence", "backup"}
    stored.close()


def test_the_same_bytes_are_compiled_once_and_other_bytes_again(directory: Path, cache: Path) -> None:
    first = compile_directory(directory, cache)
    inode = first.stat().st_ino
    assert compile_directory(directory, cache) == first
    assert first.stat().st_ino == inode
    with (directory / "customers.jsonl").open("a") as file:
        file.write(line(700))
    second = compile_directory(directory, cache)
    assert second != first
    assert first.exists()


def test_an_inventory_of_another_version_is_compiled_again_and_not_opened(directory: Path, cache: Path) -> None:
    path = compile_directory(directory, cache)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value = '0.0.0/0' WHERE name = 'form'")
    database.close()
    with pytest.raises(ConfigError) as raised:
        open_inventory(path)
    (problem,) = raised.value.problems
    assert problem.code == Code.NOT_COMPILED
    assert "form 0.0.0/0" in problem.what
    open_inventory(compile_directory(directory, cache)).close()


@pytest.mark.parametrize("content", [None, b"", b"not a database at all" * 100])
def test_what_is_no_inventory_is_not_opened_and_is_compiled_over(content: bytes | None, directory: Path, cache: Path) -> None:
    path = compile_directory(directory, cache)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        open_inventory(path)
    assert [problem.code for problem in raised.value.problems] == [Code.NOT_COMPILED]
    open_inventory(compile_directory(directory, cache)).close()


def test_a_directory_with_a_problem_leaves_the_cache_as_it_was(directory: Path, cache: Path) -> None:
    good = compile_directory(directory, cache)
    with (directory / "customers.jsonl").open("a") as file:
        file.write(line(3))
    with pytest.raises(ConfigError) as raised:
        compile_directory(directory, cache)
    assert {(problem.line, problem.code) for problem in raised.value.problems} == {(601, "DUPLICATE_ID"), (601, "OVERLAP")}
    assert list(cache.iterdir()) == [good]


def test_only_the_newest_inventories_are_kept_and_an_open_one_stays_readable(directory: Path, cache: Path) -> None:
    first = compile_directory(directory, cache)
    stored = open_inventory(first)
    stray = cache / "compile-killed.tmp"
    stray.write_bytes(b"left by a killed compile")
    os.utime(stray, (0, 0))
    fresh = cache / "compile-running.tmp"
    fresh.write_bytes(b"another compile at work")
    for number in range(6):
        (directory / "policies.yml").write_text(f"{POLICIES}# {number}\n")
        compile_directory(directory, cache)
    assert len(list(cache.glob("inventory-*.db"))) == 5
    assert not first.exists()
    assert not stray.exists()
    assert fresh.exists()
    company = stored.company("c00042")
    assert company is not None
    assert company.name == "Société 42"
    stored.close()


def test_only_the_owner_may_read_the_cache(directory: Path, cache: Path) -> None:
    path = compile_directory(directory, cache)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_look_up_keeps_a_few_hundred_companies_and_no_more(directory: Path, cache: Path) -> None:
    stored = open_inventory(compile_directory(directory, cache))
    first = stored.company("c00000")
    for number in range(600):
        stored.company(f"c{number:05}")
        assert stored.company("c00000") is first
    assert len(stored._kept) == 256
    stored.close()


def test_companies_stream_through_a_load_one_at_a_time() -> None:
    given = 0

    def lines() -> Iterator[str]:
        nonlocal given
        for number in range(100):
            given += 1
            yield line(number)

    kept: list[int] = []
    read({"s.yaml": SERVICES, "p.yaml": POLICIES}, {"c.jsonl": lines()}, lambda _catalogue, _company: kept.append(given))
    assert kept == list(range(1, 101))


# --- what is wrong with files and directories -------------------------------------------------------------------


def test_a_directory_without_yaml_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path)
    assert (problem.code, problem.file) == (Code.NO_FILES, str(tmp_path))
    (tmp_path / "customers.jsonl").write_text(line(1))
    assert [problem.code for problem in problems_of(tmp_path)] == [Code.NO_FILES]


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "nowhere")
    assert (problem.code, problem.what) == (Code.NOT_A_FILE, "can not be read: No such file or directory")


def test_a_pipe_a_folder_and_a_dangling_link_are_refused_without_waiting(directory: Path) -> None:
    os.mkfifo(directory / "pipe.yaml")
    os.mkfifo(directory / "pipe.jsonl")
    (directory / "folder.yaml").mkdir()
    (directory / "link.yaml").symlink_to("nowhere")
    problems = problems_of(directory)
    assert {Path(problem.file).name for problem in problems} == {"pipe.yaml", "pipe.jsonl", "folder.yaml", "link.yaml"}
    assert {problem.code for problem in problems} == {Code.NOT_A_FILE}


def test_a_file_that_can_not_be_read_comes_with_the_problems_of_the_others(directory: Path) -> None:
    (directory / "bad.yaml").write_text("services: {x: {class: Z}}")
    (directory / "link.yaml").symlink_to("nowhere")
    assert [problem.code for problem in problems_of(directory)] == ["BAD_VALUE", "NOT_A_FILE"]


def test_too_much_yaml_in_one_directory_is_refused(directory: Path) -> None:
    for number in range(17):
        (directory / f"{number:02}.yaml").write_text("services: {}\n#" + "x" * 1024 * 1000)
    assert {problem.code for problem in problems_of(directory)} == {Code.TOO_BIG}


def test_a_file_over_the_cap_is_refused_without_reading_it(directory: Path) -> None:
    with (directory / "huge.jsonl").open("wb") as file:
        file.truncate(512 * 1024 * 1024 + 1)
    begun = time.process_time()  # reading it takes seconds of processor time, however busy the machine is
    (problem,) = problems_of(directory)
    assert (problem.code, problem.what) == (Code.TOO_BIG, "larger than 512 MiB")
    assert time.process_time() - begun < 2


def test_a_file_that_changes_while_it_streams_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "customers.jsonl"
    path.write_text(line(1) + line(2))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    problems = Problems()
    stream = files._stream(path, before, problems)
    assert next(stream) == line(1).encode()
    with path.open("a") as file:
        file.write(line(3))
    assert len(list(stream)) == 2
    assert [problem.code for problem in problems.listed()] == [Code.CHANGED]


def test_a_file_that_is_gone_before_it_streams_is_refused(tmp_path: Path) -> None:
    problems = Problems()
    assert list(files._stream(tmp_path / "customers.jsonl", "0" * 64, problems)) == []
    assert [problem.code for problem in problems.listed()] == [Code.NOT_A_FILE]


def test_lines_may_be_blank_and_the_last_one_needs_no_line_feed(directory: Path) -> None:
    (directory / "customers.jsonl").write_text("\n" + line(1) + "  \n\n" + line(2).rstrip())
    assert list(check_directory(directory).companies) == ["c00001", "c00002"]


def test_the_lines_after_one_that_is_too_long_keep_their_numbers(directory: Path) -> None:
    (directory / "customers.jsonl").write_text(line(1) + "x" * 3 * 1024 * 1024 + "\n" + line(2) + "{\n")
    assert [(problem.line, problem.code) for problem in problems_of(directory)] == [(2, Code.TOO_BIG), (4, Code.NOT_JSON)]


# --- the child --------------------------------------------------------------------------------------------------


def test_a_child_compiles_while_the_loop_goes_on(directory: Path, cache: Path) -> None:
    async def both() -> tuple[Path, int]:
        turns = 0
        task = asyncio.create_task(compile_in_child(directory, cache))
        while not task.done():
            await asyncio.sleep(0.005)
            turns += 1
        return await task, turns

    path, turns = asyncio.run(both())
    assert path == compile_directory(directory, cache)
    assert turns >= 5  # starting an interpreter alone takes many times as long; a parse in the loop would leave one turn


def test_a_child_brings_back_every_problem(directory: Path, cache: Path) -> None:
    (directory / "bad.yaml").write_text("services: {x: {class: Z}}\npolicies: {usual: {profile: fr-b2b, mode: auto}}\n")
    with pytest.raises(ConfigError) as raised:
        asyncio.run(compile_in_child(directory, cache))
    assert raised.value.problems == problems_of(directory)
    assert len(raised.value.problems) == 2


def test_a_cache_that_can_not_be_written_is_one_problem(directory: Path, cache: Path) -> None:
    cache.write_text("a file where the cache should be")
    with pytest.raises(ConfigError) as raised:
        asyncio.run(compile_in_child(directory, cache))
    (problem,) = raised.value.problems
    assert (problem.file, problem.code, problem.what) == (str(cache), Code.NOT_COMPILED, "can not be written: File exists")


def test_a_child_that_takes_too_long_is_ended(directory: Path, cache: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        asyncio.run(compile_in_child(directory, cache, seconds=0.01))
    (problem,) = raised.value.problems
    assert (problem.code, problem.what) == (Code.NOT_COMPILED, "reading took more than 0.01 seconds")


def test_a_restart_can_fall_back_to_the_inventory_that_was_in_force(tmp_path: Path) -> None:
    assert last_in_force(tmp_path) is None
    first = compile_directory(EXAMPLES, tmp_path)
    keep_in_force(first)
    keep_in_force(first)
    assert last_in_force(tmp_path) == first
    first.unlink()
    assert last_in_force(tmp_path) is None
