"""The log: one line per record, nothing forged, nothing secret."""

import io
import logging
import os
import re
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
        setup(stream=ours, environment=environment)
        logging.getLogger("agent.serve").error("port taken")
        ours.seek(0)
        assert ours.read() == "<3>serve: port taken\n"
