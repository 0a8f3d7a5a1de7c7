"""The demonstration, run for real: what it shows, that it can say no, and that it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.lab.namespaces import NAMESPACES, PREFIX

pytestmark = pytest.mark.kernel

ECLUSE = Path(sysconfig.get_path("scripts")) / "ecluse"
FILES = Path("/var/tmp")
LIMIT = 120


class Demo:
    """One running demonstration: its lines as they come, and what belongs to it on this machine."""

    def __init__(self, language: str) -> None:
        environment = {**os.environ, "LC_ALL": f"{language}.UTF-8"}
        self.process = subprocess.Popen(
            [ECLUSE, "demo"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self.lines: list[str] = []

    def until(self, text: str) -> None:
        """Read on until a line holds `text`."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return
        raise AssertionError("\n".join(self.lines[-30:]))

    def end(self) -> int:
        """Read to the end; the exit code."""
        self.lines += [line.rstrip("\n") for line in self.process.stdout]
        return self.process.wait(LIMIT)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def namespaces(self) -> list[str]:
        return sorted(path.name for path in NAMESPACES.glob(f"{PREFIX}-{self.process.pid}-*"))

    def programs(self) -> dict[int, str]:
        """Every living process below the demonstration, and its command line."""
        found, todo = {}, [self.process.pid]
        while todo:
            for child in children(todo.pop()):
                found[child] = command_line(child)
                todo.append(child)
        return found

    def gateway(self) -> int:
        (pid,) = [pid for pid, line in self.programs().items() if "agent.demo.gateway" in line]
        return pid

    def left_behind(self, programs: dict[int, str]) -> list[str]:
        """Namespaces, programs and files that are still there."""
        deadline = time.monotonic() + 5
        while any(alive(pid, line) for pid, line in programs.items()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return [*self.namespaces(), *(line for pid, line in programs.items() if alive(pid, line))]


def children(pid: int) -> list[int]:
    try:
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except OSError:
        return []


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def alive(pid: int, line: str) -> bool:
    """Still the same program, and not merely a zombie that waits for its parent."""
    return bool(line) and command_line(pid) == line


@contextmanager
def demo(language: str = "en_GB") -> Iterator[Demo]:
    running = Demo(language)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.stdout.close()
        running.process.wait(30)


def files() -> set[Path]:
    return set(FILES.glob("ecluse-demo-*"))


def host_interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def test_two_at_once_show_the_whole_story_and_leave_nothing_behind() -> None:
    before, interfaces = files(), host_interfaces()
    with demo("en_GB") as english, demo("fr_FR") as french:
        english.until("while za and zb are suspended")
        french.until("pendant la suspension de za et zb")
        programs = {**english.programs(), **french.programs()}
        assert len(programs) >= 2 * 6  # a gateway and five listeners each
        assert english.end() == 0, english.text
        assert french.end() == 0, french.text
        assert english.left_behind(programs) == french.left_behind(programs) == []
    assert files() == before
    assert host_interfaces() == interfaces
    assert re.search(r"reporting +tcp 443 +refused \S+ +refused \S+ +open \S+ +open ", english.text)
    assert re.search(r"reporting +tcp 443 +open \S+ +refused \S+ +open \S+ +open ", english.text)
    assert re.search(r"vpn +udp 500 1194 4500 +refused \S+ +refused \S+ +open \S+ +open ", english.text)
    assert not re.search(r"(erp|portal|sip|dns|licence|ntp|backup)\S* +(tcp|udp) .*refused", english.text)
    assert re.search(r"ok  za: from the payment's webhook to the first connection through \d+", english.text)
    assert re.search(r"ok  zb: from the payment's webhook to the first connection through \d+", english.text)
    assert "Zéphyr Assistance: suspended reporting, shared-documents, vpn" in english.text
    assert english.text.count("(the demonstration's clock)") == french.text.count("(horloge de la démonstration)") == 10
    assert english.lines[-1].startswith("Everything is as expected:")
    assert french.lines[-1].startswith("Tout est comme attendu :")
    assert max(map(len, [*english.lines, *french.lines])) <= 100
    assert "\x1b" not in english.text + french.text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_interrupted_in_the_middle_it_takes_everything_down(number: signal.Signals, code: int) -> None:
    before = files()
    with demo() as running:
        running.until("Friday 27 March")
        programs = running.programs()
        assert len(running.namespaces()) == 11
        os.killpg(running.process.pid, number)  # as a terminal does: everybody in the foreground hears it
        assert running.end() == code, running.text
        assert running.left_behind(programs) == []
    assert files() == before


def test_a_gateway_that_dies_is_said_and_makes_it_fail() -> None:
    before = files()
    with demo() as running:
        running.until("Monday 30 March 2026, 08:59:55")
        programs = running.programs()
        os.kill(running.gateway(), signal.SIGKILL)
        assert running.end() == 1, running.text
        assert running.left_behind(programs) == []
    assert files() == before
    assert "the gateway ended (code -9)" in running.text
    assert "not as expected" in running.text


def test_a_single_cell_that_is_not_as_expected_is_named_and_makes_it_fail() -> None:
    with demo() as running:
        running.until("Two persons")
        (gateway,) = [name for name in running.namespaces() if name.endswith("-gw")]
        chain = "{ type filter hook forward priority -20; iifname za1 tcp dport 1433 reject with tcp reset; }"
        rules = f"table inet foreign {{ chain forward {chain}\n}}"
        subprocess.run(["ip", "netns", "exec", gateway, "nft", rules], check=True, timeout=10)
        assert running.end() == 1, running.text
        assert running.namespaces() == []
    assert "NO  za -> erp-database" in running.text
    assert "ok  before: 56 cells of 56" not in running.text
    faults = running.text.partition("not as expected:")[2]
    assert "za -> erp-database" in faults
    assert not re.search(r"z[bcd] -> ", faults)


def test_somebody_who_is_not_root_is_told_so() -> None:
    program = "import agent.demo, os, sys; os.setuid(65534); sys.exit(agent.demo.main('en'))"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr == "the demonstration makes network namespaces: run it as root (sudo ecluse demo)\n"
    assert done.stdout == ""


def test_root_without_the_right_to_make_namespaces_is_told_so() -> None:
    bounded = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", ECLUSE, "--lang", "en", "demo"]
    done = subprocess.run(bounded, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "CAP_SYS_ADMIN and CAP_NET_ADMIN are needed" in " ".join(done.stdout.split())
