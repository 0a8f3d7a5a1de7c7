"""The stop file: whole or not at all, and a doubt stops everything new."""

import json
import os
import stat
import string
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.stopfile import Pause, Stop, read, write

AT = datetime(2026, 3, 2, 9, 30, 0, 123456, tzinfo=UTC)
CALM = Pause(by="claire", at=AT, reason="flood in Lyon")
RESTORE = replace(CALM, restore=True, reason="wrong invoices")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stop.json"


def test_no_file_means_nothing_is_stopped(path: Path) -> None:
    assert read(path) == Stop()
    assert not read(path)
    assert read(path).pause("za") is None


def test_what_is_written_reads_back(path: Path) -> None:
    stop = Stop(all=CALM, companies={"za": RESTORE, "zb": CALM})
    write(path, stop)
    assert read(path) == stop


pauses = st.builds(
    Pause,
    by=st.text(string.printable, max_size=20),
    at=st.integers(946_800_000, 4_102_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    reason=st.text(max_size=40),
    restore=st.booleans(),
)


@given(
    stop=st.builds(Stop, all=st.none() | pauses, companies=st.dictionaries(st.text(min_size=1, max_size=10), pauses, max_size=3))
)
@settings(max_examples=50, deadline=None)
def test_any_stop_reads_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, stop: Stop) -> None:
    path = tmp_path_factory.getbasetemp() / "any-stop.json"
    write(path, stop)
    assert read(path) == stop
    assert path.exists() == bool(stop)


def test_writing_an_empty_stop_removes_the_file(path: Path) -> None:
    write(path, Stop(all=CALM))
    write(path, Stop())
    assert not path.exists()
    write(path, Stop())
    assert read(path) == Stop()


def test_a_restore_outweighs_a_mere_pause_wherever_it_stands(path: Path) -> None:
    assert Stop(all=CALM, companies={"za": RESTORE}).pause("za") == RESTORE
    assert Stop(all=RESTORE, companies={"za": CALM}).pause("za") == RESTORE
    assert Stop(all=CALM, companies={"za": RESTORE}).pause("zb") == CALM
    assert Stop(companies={"za": CALM}).pause("za") == CALM
    assert Stop(companies={"za": CALM}).pause("zb") is None


def written(**changes: object) -> bytes:
    pause = {"by": "claire", "at": "2026-03-02T09:30:00Z", "reason": "flood", "restore": True}
    return json.dumps({"version": 1, "all": {**pause, **changes}, "companies": {}}).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 200,
        written()[:-20],
        b"[]",
        b"null",
        b"{}",
        b'{"version": 2, "all": null, "companies": {}}',
        b'{"version": 1, "all": null, "companies": []}',
        b'{"version": 1, "all": null, "companies": {"za": null}}',
        b'{"version": 1, "all": null, "all": null, "companies": {}}',
        b'{"version": 1, "all": null, "companies": {}, "more": 1}',
        b"[" * 100_000,
        written(restore="yes"),
        written(by=None),
        written(reason=7),
        written(at="yesterday"),
        written(at="2026-03-02T09:30:00"),
        written(at=5),
        written(extra=1),
    ],
)
def test_a_damaged_file_stops_everything_new_and_restores_nothing(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    stop = read(path)
    assert str(path) in stop.fault
    assert "No new suspension" in stop.fault
    assert stop.all is not None
    assert not stop.all.restore
    assert stop.pause("anybody") == stop.all


def test_every_truncation_of_a_stop_file_is_a_doubt(path: Path) -> None:
    write(path, Stop(all=RESTORE, companies={"za": CALM}))
    whole = path.read_bytes()
    for length in range(len(whole) - 1):  # the last byte is the line end
        path.write_bytes(whole[:length])
        assert read(path).fault, length


@pytest.mark.parametrize("kind", ["directory", "pipe", "link", "loop", "huge"])
def test_what_is_no_readable_file_is_a_doubt_and_never_waits(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        write(path.with_name("other"), Stop(all=CALM))
        path.symlink_to("other")
    elif kind == "loop":
        path.symlink_to(path.name)
    else:
        write(path, Stop(all=CALM))
        with path.open("ab") as file:
            file.write(b" " * 17 * 2**20)
    stop = read(path)
    assert stop.fault
    assert stop.all is not None


def test_a_file_that_leads_through_a_file_is_a_doubt(path: Path) -> None:
    path.write_text("in the way")
    assert read(path / "stop.json").fault


def test_writing_anew_mends_a_damaged_file(path: Path) -> None:
    path.write_text("damaged")
    write(path, Stop(all=CALM))
    assert read(path) == Stop(all=CALM)
    path.write_text("damaged")
    write(path, Stop())
    assert read(path) == Stop()


def test_a_half_written_file_of_a_crash_is_never_read_and_not_in_the_way(path: Path) -> None:
    write(path, Stop(all=CALM))
    leftover = path.with_name(".stop.json.new")
    leftover.write_text("half")
    assert read(path) == Stop(all=CALM)
    write(path, Stop(all=RESTORE))
    assert read(path) == Stop(all=RESTORE)
    assert not leftover.exists()


def test_a_failed_write_leaves_the_former_file(path: Path) -> None:
    write(path, Stop(all=CALM))
    path.with_name(".stop.json.new").mkdir()  # the new file can not be made
    with pytest.raises(OSError, match="directory"):
        write(path, Stop(all=RESTORE))
    assert read(path) == Stop(all=CALM)


def test_a_missing_directory_is_an_error_of_the_writer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "nowhere" / "stop.json", Stop(all=CALM))
    assert read(tmp_path / "nowhere" / "stop.json") == Stop()


def test_the_file_belongs_to_the_owner_of_its_directory_and_to_nobody_else(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    if os.geteuid() == 0:
        os.chown(directory, 4321, 4322)
    write(directory / "stop.json", Stop(all=CALM))
    status, parent = (directory / "stop.json").stat(), directory.stat()
    assert (status.st_uid, status.st_gid) == (parent.st_uid, parent.st_gid)
    assert stat.S_IMODE(status.st_mode) == 0o600
