"""The agent's id: kept, derived, told apart, locked."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover import identity
from rover.errors import StateError
from rover.identity import AgentIdentity, Machine, read_agent_id

HOST = Machine(machine_id="a" * 32, hardware="11111111-2222-3333-4444-555555555555")
COPY = Machine(machine_id="b" * 32, hardware="99999999-2222-3333-4444-555555555555")


def agent_id(state_dir, machine=HOST):
    with AgentIdentity.acquire(state_dir, machine) as taken:
        return taken.id


def test_the_id_is_a_uuid_and_the_same_at_every_start(tmp_path):
    first = agent_id(tmp_path / "state")
    assert str(uuid.UUID(first)) == first
    assert agent_id(tmp_path / "state") == first


def test_the_directory_and_its_files_are_for_their_owner_only(tmp_path):
    agent_id(tmp_path / "state")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    for name in (identity.ID_FILE, identity.LOCK_FILE):
        assert stat.S_IMODE((tmp_path / "state" / name).stat().st_mode) == 0o600


def test_a_directory_that_was_there_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    agent_id(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "wreck", [b"", b"\xff\xfe", b"{", b"[" * 4000, b'{"agent_id": 1}', b"\0" * 300, b"x" * 9000]
)
def test_a_corrupt_file_gives_the_same_id_again(tmp_path, wreck):
    first = agent_id(tmp_path)
    (tmp_path / identity.ID_FILE).write_bytes(wreck)
    assert agent_id(tmp_path) == first
    assert json.loads((tmp_path / identity.ID_FILE).read_text())["agent_id"] == first


def test_a_lost_file_gives_the_same_id_again(tmp_path):
    first = agent_id(tmp_path)
    (tmp_path / identity.ID_FILE).unlink()
    assert agent_id(tmp_path) == first


@given(st.binary(max_size=300))
def test_no_content_of_the_file_raises(content):
    text = content.decode(errors="replace")
    stored = identity._parse(text)
    assert stored is None or identity.UUID_TEXT.fullmatch(stored.id)


def test_a_copied_disk_gets_an_id_of_its_own_and_the_original_keeps_its(tmp_path):
    original = agent_id(tmp_path, HOST)
    copied = agent_id(tmp_path, COPY)
    assert copied != original
    assert agent_id(tmp_path, COPY) == copied
    assert agent_id(tmp_path, HOST) == original


def test_a_copy_with_the_same_machine_id_is_told_by_its_firmware(tmp_path):
    twin = Machine(machine_id=HOST.machine_id, hardware=COPY.hardware)
    assert agent_id(tmp_path, HOST) != agent_id(tmp_path, twin)


@pytest.mark.parametrize(
    "less", [Machine(machine_id=HOST.machine_id), Machine(hardware=HOST.hardware), Machine()]
)
def test_a_fact_that_cannot_be_read_today_changes_nothing(tmp_path, less):
    first = agent_id(tmp_path, HOST)
    assert agent_id(tmp_path, less) == first
    assert agent_id(tmp_path, HOST) == first


def test_a_fact_that_becomes_known_is_remembered_under_the_same_id(tmp_path):
    first = agent_id(tmp_path, Machine(machine_id=HOST.machine_id))
    assert agent_id(tmp_path, Machine("a-node", HOST.machine_id)) == first
    assert agent_id(tmp_path, Machine("other-node", HOST.machine_id)) != first


def test_nodes_made_from_one_image_differ_by_their_name(tmp_path):
    assert agent_id(tmp_path / "a", Machine("one", HOST.machine_id)) != agent_id(
        tmp_path / "a", Machine("two", HOST.machine_id)
    )


def test_two_directories_on_one_host_never_share_an_id(tmp_path):
    assert agent_id(tmp_path / "a") != agent_id(tmp_path / "b")


def test_an_id_written_by_hand_is_taken_as_it_stands(tmp_path):
    mine = "0f0e0d0c-0b0a-4908-8706-050403020100"
    (tmp_path / identity.ID_FILE).write_text(mine.upper() + "\n")
    assert agent_id(tmp_path) == mine
    assert agent_id(tmp_path, COPY) != mine


def test_a_machine_without_any_fact_keeps_its_id_in_the_file(tmp_path):
    first = agent_id(tmp_path, Machine())
    assert agent_id(tmp_path, Machine()) == first


def test_the_file_does_not_hold_the_machine_id_itself(tmp_path):
    agent_id(tmp_path)
    assert HOST.machine_id not in (tmp_path / identity.ID_FILE).read_text()


def test_a_second_agent_is_refused_with_the_pid_of_the_first(tmp_path):
    with AgentIdentity.acquire(tmp_path, HOST), pytest.raises(StateError) as refusal:
        AgentIdentity.acquire(tmp_path, HOST)
    assert f"pid {os.getpid()}" in str(refusal.value)
    assert "--state-dir" in str(refusal.value)


def test_the_lock_is_gone_when_its_holder_is_killed(tmp_path):
    hold = (
        "import sys, time; from rover.identity import AgentIdentity;"
        "kept = AgentIdentity.acquire(sys.argv[1]); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateError, match=f"pid {holder.pid}"):
            AgentIdentity.acquire(tmp_path, HOST)
        holder.kill()
    agent_id(tmp_path)


def test_a_program_started_by_the_agent_does_not_inherit_the_lock(tmp_path):
    with AgentIdentity.acquire(tmp_path, HOST):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        agent_id(tmp_path)
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def unwritable(monkeypatch):
    """Refuse writing as a read-only file system does; root is not stopped by modes."""
    real = os.open

    def refuse(path, flags, *more, **kw):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            raise OSError(30, "Read-only file system")
        return real(path, flags, *more, **kw)

    monkeypatch.setattr(identity.os, "open", refuse)


@pytest.mark.usefixtures("unwritable")
def test_an_unwritable_directory_gives_the_derived_id_with_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        taken = AgentIdentity.acquire(tmp_path, HOST)
    with taken:
        assert taken.id == read_agent_id(tmp_path, HOST)
        assert not taken.persistent
    assert "Read-only file system" in caplog.text
    assert "abstract-socket" in caplog.text


@pytest.mark.usefixtures("unwritable")
def test_without_a_file_the_lock_still_refuses_a_second_agent_by_pid(tmp_path):
    with (
        AgentIdentity.acquire(tmp_path, HOST),
        pytest.raises(StateError, match=f"pid {os.getpid()}"),
    ):
        AgentIdentity.acquire(tmp_path, HOST)
    AgentIdentity.acquire(tmp_path, HOST).close()


@pytest.mark.usefixtures("unwritable")
@pytest.mark.parametrize("listens", ["listen(1)", "getsockname()"])
def test_another_user_who_takes_the_locks_name_keeps_no_agent_from_starting(
    tmp_path, listens, caplog
):
    with identity._lock_name(tmp_path) as lock:
        name = lock.getsockname()
    take = (
        "import os, socket, sys; os.setuid(65534); taken = socket.socket(socket.AF_UNIX);"
        f"taken.bind(bytes.fromhex(sys.argv[1])); taken.{listens}; print('taken', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", take, name.hex()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stranger:
        assert stranger.stdout.readline() == b"taken\n"
        with caplog.at_level(logging.WARNING):
            AgentIdentity.acquire(tmp_path, HOST).close()
        stranger.stdin.close()
    assert "stranger" in caplog.text


def test_a_pipe_in_the_place_of_the_file_holds_nothing_up(tmp_path):
    os.mkfifo(tmp_path / identity.ID_FILE)
    assert read_agent_id(tmp_path, HOST) == identity.derive(tmp_path, HOST)


def test_a_directory_that_became_read_only_still_gives_its_id(tmp_path, request):
    first = agent_id(tmp_path, HOST)
    request.getfixturevalue("unwritable")
    with AgentIdentity.acquire(tmp_path, Machine()) as taken:
        assert (taken.id, taken.persistent) == (first, True)


def test_an_agent_that_cannot_open_the_file_meets_the_one_that_holds_it(tmp_path, request):
    with AgentIdentity.acquire(tmp_path, HOST):
        request.getfixturevalue("unwritable")
        with pytest.raises(StateError, match=f"pid {os.getpid()}"):
            AgentIdentity.acquire(tmp_path, HOST)


def test_a_file_in_the_place_of_the_directory_is_a_clear_error(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(StateError, match=re.escape(str(tmp_path / "state"))):
        AgentIdentity.acquire(tmp_path / "state", HOST)


def test_reading_the_id_takes_no_lock_and_writes_nothing(tmp_path):
    expected = read_agent_id(tmp_path / "state", HOST)
    assert not (tmp_path / "state").exists()
    with AgentIdentity.acquire(tmp_path / "state", HOST) as taken:
        assert read_agent_id(tmp_path / "state", HOST) == taken.id == expected


@pytest.mark.parametrize("text", ["", "uninitialized", "0" * 32, "zz" * 16])
def test_a_machine_id_that_says_nothing_is_no_fact(tmp_path, text):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text(text + "\n")
    assert Machine.here(root=tmp_path) == Machine()


def test_the_facts_come_from_the_host_before_the_container(tmp_path):
    for path, digit in ((identity.MACHINE_ID_PATHS[0], "1"), (identity.MACHINE_ID_PATHS[1], "2")):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(digit * 32 + "\n")
    assert Machine.here(root=tmp_path).machine_id == "1" * 32


def test_a_firmware_uuid_that_no_maker_set_is_no_fact(tmp_path):
    path = tmp_path / identity.HARDWARE_PATH
    path.parent.mkdir(parents=True)
    path.write_text("03000200-0400-0500-0006-000700080009\n")
    assert Machine.here(root=tmp_path).hardware == ""
    path.write_text("4C4C4544-0042-3510-8054-B9C04F4E5A32\n")
    assert Machine.here(root=tmp_path).hardware == "4c4c4544-0042-3510-8054-b9c04f4e5a32"
