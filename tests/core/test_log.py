"""The log: one line per record, nothing forged, nothing secret."""

import io
import logging
import os
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.log import Formatter, fields, hide, is_journal, setup

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) +\S+: ")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def line(message: str, *args: object, journal: bool = False, level: int = logging.INFO, **values: object) -> str:
    record = logging.LogRecord("agent.intake", level, __file__, 1, message, args, None)
    record.__dict__.update(fields(**values))
    assert hide(record)
    return Formatter(journal=journal).format(record)


class Secret:
    """As careless as a secret can be."""

    def __str__(self) -> str:
        return "whsec_abc"

    __repr__ = __str__


class TextSecret(str):
    __slots__ = ()


class Colour(StrEnum):
    RED = "red"


def test_a_line_tells_time_level_room_message_and_fields() -> None:
    assert re.fullmatch(LINE.pattern + "webhook held company=za seq=12", line("webhook %s", "held", company="za", seq=12))


@pytest.mark.parametrize(
    ("level", "number"),
    [(logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7), (1, 7)],
)
def test_in_the_journal_a_line_starts_with_its_priority_and_has_no_time(level: int, number: int) -> None:
    assert line("held", journal=True, level=level, company="za") == f"<{number}>intake: held company=za"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("two words", '"two words"'),
        ('say "no"', '"say \\"no\\""'),
        ("", '""'),
        ("été", "été"),
        (None, "None"),
        (True, "True"),
        (12, "12"),
        (0.5, "0.5"),
        (Decimal("12.50"), "12.50"),
        (datetime(2026, 3, 2, 9, tzinfo=UTC), "2026-03-02T09:00:00+00:00"),
        (ip_network("10.0.0.0/24"), "10.0.0.0/24"),
        (Path("/run/ecluse"), "/run/ecluse"),
        (Colour.RED, "red"),
        (["a", "b"], '"a, b"'),
        (ValueError("no"), '"ValueError: no"'),
    ],
)
def test_plain_values_are_written_so_that_programs_can_read_them(value: object, text: str) -> None:
    assert line("m", v=value, journal=True) == f"<6>intake: m v={text}"


@pytest.mark.parametrize("secret", [Secret(), TextSecret("whsec_abc"), b"whsec_abc", bytearray(b"whsec_abc"), object()])
def test_what_is_not_plain_is_never_written(secret: object) -> None:
    assert "whsec" not in line("key %s", secret)
    assert line("key %s", secret, journal=True).endswith("key ***")
    assert line("m", key=secret, journal=True).endswith("key=***")
    assert line("m", key=[secret, "a"], journal=True).endswith('key="***, a"')
    named = logging.LogRecord("agent.intake", logging.INFO, __file__, 1, "key %(k)s", ({"k": secret},), None)
    assert hide(named)
    assert Formatter(journal=True).format(named).endswith("key ***")
    assert line("m", key={"k": secret}, journal=True).endswith("key=***")


@given(message=st.text(), value=st.text(), journal=st.booleans())
def test_text_from_outside_can_not_forge_a_line(message: str, value: str, journal: bool) -> None:
    text = line("%s", message, journal=journal, company=value, end="1")
    assert len(text.splitlines()) == 1
    assert text.encode()
    assert text.endswith(" end=1")


def test_a_traceback_is_told_line_by_line_behind_a_bar() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter(journal=True))
    logger = logging.getLogger("agent.enforce.traceback")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        raise ValueError("no\n<2>forged: entry")
    except ValueError:
        logger.exception("cycle failed")
    first, *rest = stream.getvalue().splitlines()
    assert first == "<3>enforce.traceback: cycle failed"
    assert rest[0] == "<3>  | Traceback (most recent call last):"
    assert all(each.startswith("<3>  | ") for each in rest)


def test_setup_sends_everything_once_and_obeys_the_level(root: logging.Logger) -> None:
    stream = io.StringIO()
    setup("debug", stream=io.StringIO(), environment={})
    setup("warning", stream=stream, environment={})
    logging.getLogger("agent.intake").info("unheard")
    logging.getLogger("agent.intake").warning("held", extra=fields(company="za", key=Secret()))
    logging.getLogger("uvicorn.error").error("of a library")
    lines = stream.getvalue().splitlines()
    assert [re.sub(LINE, "", each) for each in lines] == ["held company=za key=***", "of a library"]
    assert len(root.handlers) == 1


def test_a_level_that_does_not_exist_is_refused(root: logging.Logger) -> None:
    with pytest.raises(ValueError, match="LOUD"):
        setup("loud", stream=io.StringIO(), environment={})


def test_the_journal_is_recognised_by_device_and_inode_and_not_by_the_variable_alone(tmp_path: Path, root: logging.Logger) -> None:
    with (tmp_path / "a").open("w+") as ours, (tmp_path / "b").open("w+") as other:
        status = os.fstat(ours.fileno())
        environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(ours, environment)
        assert not is_journal(other, environment)
        assert not is_journal(ours, {})
        assert not is_journal(io.StringIO(), environment)
        setup(stream=ours, environment=environment, journal=tmp_path / "nobody")
        logging.getLogger("agent.serve").error("port taken")
        root.handlers[0].close()  # its thread has written then
        ours.seek(0)
        assert ours.read() == "<3>serve: port taken\n"


@pytest.fixture
def journal(tmp_path: Path, root: logging.Logger) -> Iterator[socket.socket]:
    """A journal that is listening, and the log set up to reach it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard, (tmp_path / "stream").open("w") as stream:
        heard.bind(str(tmp_path / "journal"))
        heard.settimeout(2)
        status = os.fstat(stream.fileno())
        setup(stream=stream, environment={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, journal=tmp_path / "journal")
        yield heard


def test_the_journal_gets_each_field_under_its_own_name(journal: socket.socket, tmp_path: Path) -> None:
    logging.getLogger("agent.intake").warning("held", extra=fields(company="za", lease_until=12.5, key=Secret()))
    assert journal.recv(4096).decode().splitlines() == [
        "PRIORITY=4",
        "SYSLOG_IDENTIFIER=ecluse",
        "MESSAGE=intake: held company=za lease_until=12.5 key=***",
        "ECLUSE_ROOM=intake",
        "ECLUSE_COMPANY=za",
        "ECLUSE_LEASE_UNTIL=12.5",
        "ECLUSE_KEY=***",
    ]
    assert not (tmp_path / "stream").read_text()


def test_text_from_outside_can_not_forge_a_field_of_the_journal(journal: socket.socket) -> None:
    outside = "no\nPRIORITY=0\u2028ECLUSE_COMPANY=zb\r"
    logging.getLogger("agent.intake").error("%s", outside, extra=fields(company=outside, **{"a\n=b": 1}))
    lines = journal.recv(4096).decode().split("\n")
    assert [each.split("=")[0] for each in lines] == [
        "PRIORITY", "SYSLOG_IDENTIFIER", "MESSAGE", "ECLUSE_ROOM", "ECLUSE_COMPANY", "ECLUSE_A__B", "",
    ]  # fmt: skip


def test_a_journal_that_is_stuck_never_blocks_us_and_one_that_is_gone_is_read_from_the_stream(
    journal: socket.socket, tmp_path: Path
) -> None:
    logger = logging.getLogger("agent.enforce")
    for _ in range(2000):  # nobody reads; far more than a socket holds
        logger.info("x" * 1000)
    assert not (tmp_path / "stream").read_text()
    journal.close()
    logger.info("still here")
    logging.getLogger().handlers[0].close()  # its thread has written then
    assert (tmp_path / "stream").read_text() == "<6>enforce: still here\n"
