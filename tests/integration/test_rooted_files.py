# ruff: noqa: S108  the paths lie in roots of their own
import os
from pathlib import Path

import pytest

from rover.sensor import rooted
from rover.sensor.rooted import open_directory, read_file


@pytest.fixture(params=["openat2", "by steps"], autouse=True)
def resolver(request, monkeypatch):
    if request.param == "by steps":
        monkeypatch.setattr(rooted, "_has_openat2", lambda: False)
    elif not rooted._has_openat2():
        pytest.fail("this kernel has openat2, and it was not found")
    return request.param


@pytest.fixture
def root(tmp_path):
    (tmp_path / "inside" / "tmp").mkdir(parents=True)
    (tmp_path / "inside" / "tmp" / "file").write_bytes(b"inside")
    (tmp_path / "outside" / "tmp").mkdir(parents=True)
    (tmp_path / "outside" / "tmp" / "file").write_bytes(b"outside")
    descriptor = os.open(tmp_path / "inside", os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def directory(root):
    descriptor = os.open("tmp", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(autouse=True)
def descriptors():
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "a descriptor was left open"


def content(root, path):
    opened = open_directory(root, path)
    try:
        return read_file(opened, "file", 100)[1]
    finally:
        os.close(opened)


def test_a_path_begins_at_the_root_that_was_opened(root):
    assert content(root, "/tmp") == b"inside"


def test_an_absolute_link_stays_in_the_root(resolver, root, tmp_path):
    (tmp_path / "inside" / "var").symlink_to("/tmp")
    if resolver == "openat2":
        assert content(root, "/var") == b"inside"
    else:
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            content(root, "/var")


@pytest.mark.parametrize("target", ["../outside/tmp", "{tmp_path}/outside/tmp"])
def test_no_link_leads_out_of_the_root(root, tmp_path, target):
    (tmp_path / "inside" / "out").symlink_to(target.format(tmp_path=tmp_path))
    with pytest.raises(OSError):  # noqa: PT011  the number differs between the two ways
        content(root, "/out")


def test_dots_do_not_lead_out_of_the_root(root):
    with pytest.raises(OSError):  # noqa: PT011  the number differs between the two ways
        content(root, "/../outside/tmp")


@pytest.mark.parametrize("as_link", ["file", "directory"])
def test_a_file_is_never_read_through_a_link(directory, tmp_path, as_link):
    below = tmp_path / "inside" / "tmp"
    (below / "real").mkdir()
    (below / "real" / "x").write_bytes(b"x")
    if as_link == "file":
        (below / "link").symlink_to("real/x")
        path = "link"
    else:
        (below / "link").symlink_to("real")
        path = "link/x"
    with pytest.raises(OSError):  # noqa: PT011  the number differs between the two ways
        read_file(directory, path, 100)


def test_a_file_is_never_read_from_above_the_directory(directory):
    with pytest.raises(OSError):  # noqa: PT011  the number differs between the two ways
        read_file(directory, "../../outside/tmp/file", 100)


def test_a_pipe_is_refused_without_waiting_for_a_writer(directory):
    os.mkfifo("pipe", dir_fd=directory)
    with pytest.raises(OSError, match="not a regular file"):
        read_file(directory, "pipe", 100)


def test_a_directory_is_no_file(directory, tmp_path):
    (tmp_path / "inside" / "tmp" / "below").mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        read_file(directory, "below", 100)


def test_no_more_is_read_than_was_asked_for(directory, tmp_path):
    (tmp_path / "inside" / "tmp" / "file").write_bytes(b"x" * 1000)
    assert len(read_file(directory, "file", 100)[1]) == 100


def test_a_missing_file_is_told_from_one_that_may_not_be_read(directory):
    with pytest.raises(FileNotFoundError):
        read_file(directory, "nothing", 100)
