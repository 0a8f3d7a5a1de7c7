"""Each role as a user of its own with no right too many: what it can do together, and what it can not do alone.

The accounts are Debian's own. The checkout must be readable by them, as an installation is.
"""

import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process.house import House, refused, until

pytestmark = pytest.mark.kernel

#: The accounts `daemon`, `bin`, `sys` and `nobody`, and the groups that go with them.
ENFORCE, SERVE, OPERATORS, STRANGER = 1, 2, 3, 65534
NET_ADMIN = 1 << 12

#: Groups: to give the sockets away to them; a unit does the same with SupplementaryGroups.
AS_ENFORCE = ("setpriv", f"--reuid={ENFORCE}", f"--regid={ENFORCE}", f"--groups={SERVE},{OPERATORS}", "--no-new-privs")
ONLY_NET_ADMIN = ("--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin", "--bounding-set=-all,+net_admin")
AS_SERVE = (
    "setpriv",
    f"--reuid={SERVE}",
    f"--regid={SERVE}",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all",
    "--bounding-set=-all",
)


@pytest.fixture
def split(make_house: Callable[..., House]) -> House:
    """A house whose files belong to the enforcing user. Nothing runs."""
    named = f"[{{name: Claire, user: {ENFORCE}, roles: [approver]}}, {{name: Root, user: root, roles: [approver]}}]"
    built = make_house(more=f"serve_group: {SERVE}\noperators_group: {OPERATORS}\n", operators=named)
    for path in (built.state, built.run, built.directory / "secret"):
        os.chown(path, ENFORCE, ENFORCE)
    return built


def start(house: House) -> None:
    house.start("enforce", prefix=(*AS_ENFORCE, *ONLY_NET_ADMIN))
    house.start("serve", prefix=AS_SERVE)


def fails(house: House, prefix: tuple[str, ...]) -> str:
    """Start the enforcer, which can not; returns what it says."""
    process = house.start("enforce", prefix=prefix, wait=False)
    assert process.wait(20) == 1
    assert "Traceback" not in house.log()
    return house.log()


def capabilities(house: House, role: str) -> dict[str, int]:
    text = Path(f"/proc/{house.roles[role].pid}/status").read_text()
    found = dict(line.split(":\t") for line in text.splitlines() if line.startswith(("Cap", "Uid", "NoNewPrivs")))
    return {name: int(value.split()[0], 10 if name in ("Uid", "NoNewPrivs") else 16) for name, value in found.items()}


def test_two_users_who_can_do_little_suspend_and_restore_together(split):
    start(split)
    split.suspend("c000", "c001")
    assert split.cut() == {"c000", "c001"}
    assert split.pay("c000").status == 200
    until(lambda: split.cut() == {"c001"}, 1, what="payment restores")
    split.nft("flush", "ruleset")
    until(lambda: split.cut() == {"c001"}, 1, what="a flush is put right")
    assert split.ask("reload")["exit"] == 0
    split.kill()
    split.start("enforce", prefix=(*AS_ENFORCE, *ONLY_NET_ADMIN))
    assert split.ask("clear", reason="test")["exit"] == 0
    assert not split.table()
    assert split.status()["failures"] == []


def test_the_hand_has_one_capability_and_the_face_has_none(split):
    start(split)
    enforce, serve = capabilities(split, "enforce"), capabilities(split, "serve")
    assert enforce["Uid"] == ENFORCE
    assert enforce["CapEff"] == enforce["CapPrm"] == enforce["CapBnd"] == NET_ADMIN
    assert serve["Uid"] == SERVE
    assert serve["CapEff"] == serve["CapPrm"] == serve["CapBnd"] == 0
    assert enforce["NoNewPrivs"] == serve["NoNewPrivs"] == 1


def test_the_hand_has_no_ip_socket_and_the_face_no_netlink(split):
    start(split)
    split.heartbeat()
    assert sockets(split, "enforce") == {"netlink", "unix"}
    assert "netlink" not in sockets(split, "serve")
    assert "tcp" in sockets(split, "serve")


def sockets(house: House, role: str) -> set[str]:
    """The kinds of socket that a role has open, told by their inodes."""
    process = Path(f"/proc/{house.roles[role].pid}")
    links = []
    for entry in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            links.append(str(entry.readlink()))
    mine = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for kind, column in (("tcp", 9), ("tcp6", 9), ("udp", 9), ("udp6", 9), ("raw", 9), ("netlink", 9), ("unix", 6), ("packet", 8)):
        rows = (process / "net" / kind).read_text().splitlines()[1:]
        if mine & {fields[column] for fields in map(str.split, rows) if len(fields) > column}:
            found.add(kind)
    return found


@pytest.mark.parametrize("user", [SERVE, STRANGER], ids=["the face", "a stranger"])
def test_others_can_neither_read_the_ledger_nor_the_secrets_nor_ask_the_operators_socket(split, user):
    start(split)
    split.heartbeat()
    private = [split.state / "ledger.db", split.state / "ledger.db-wal", split.state, split.directory / "secret"]
    for path in private:
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path
        assert unreadable(user, path), path
    assert refused(split.ask_as(user, "status"))
    assert refused(split.ask_as(user, "restore", company="c000", reason="x"))


def test_a_stranger_can_not_even_pass_a_webhook_on_past_the_face(split):
    start(split)
    assert connects(SERVE, split.run / "intake.sock")
    assert not connects(STRANGER, split.run / "intake.sock")


def test_who_is_in_the_operators_group_can_ask_and_who_is_not_named_can_not_approve(split):
    start(split)
    assert split.ask_as(OPERATORS, "status")["exit"] == 0
    assert refused(split.ask_as(OPERATORS, "approve", case="c000:N-c000", reason="x"))


def unreadable(user: int, path: Path) -> bool:
    """Whether a process of that user is refused by the kernel."""
    return as_user(user, lambda: os.close(os.open(path, os.O_RDONLY)))


def connects(user: int, path: Path) -> bool:
    def connect() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(os.fspath(path))

    return not as_user(user, connect)


def as_user(user: int, action: Callable[[], None]) -> bool:
    """Do something in a child with the rights of a user; True if it was not allowed."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            action()
            code = 0
        except PermissionError:
            code = 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 1)
    return os.waitstatus_to_exitcode(status) == 1


def test_without_the_capability_the_hand_says_which_one_it_needs(split):
    told = fails(split, (*AS_ENFORCE, "--inh-caps=-all", "--bounding-set=-all"))
    assert "CAP_NET_ADMIN" in told


def test_a_state_directory_that_can_not_be_written_is_named_with_what_to_do(split):
    os.chown(split.state, 0, 0)
    split.state.chmod(0o755)
    told = fails(split, (*AS_ENFORCE, *ONLY_NET_ADMIN))
    assert str(split.state) in told
    assert "user" in told


def test_a_ledger_of_somebody_else_is_refused_and_left_alone(split):
    start(split)
    split.suspend("c000")
    before = len(split.events())
    assert split.stop() == 0
    os.chown(split.state / "ledger.db", 0, 0)
    told = fails(split, (*AS_ENFORCE, *ONLY_NET_ADMIN))
    assert "ledger.db" in told
    assert split.cut() == {"c000"}  # a hand that can not start changes nothing; the lease runs
    assert len(split.events()) == before


def test_a_run_directory_that_can_not_be_written_is_named(split):
    os.chown(split.run, 0, 0)
    told = fails(split, (*AS_ENFORCE, *ONLY_NET_ADMIN))
    assert str(split.run) in told


def test_a_secret_that_others_can_read_is_refused(split):
    (split.directory / "secret").chmod(0o644)
    told = fails(split, (*AS_ENFORCE, *ONLY_NET_ADMIN))
    assert "open to others" in told
    assert "chmod 0600" in told


def test_a_socket_group_that_does_not_exist_is_named(split):
    split.config.write_text(split.config.read_text().replace(f"serve_group: {SERVE}", "serve_group: no-such-group"))
    assert "no-such-group" in fails(split, (*AS_ENFORCE, *ONLY_NET_ADMIN))
