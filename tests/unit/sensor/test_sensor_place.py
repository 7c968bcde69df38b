# ruff: noqa: S108  the paths are only compared
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.sensor.place import tmpdir_of
from rover.sensor.rooted import file_system, may_hang


@pytest.mark.parametrize(
    ("environ", "cwd", "tmpdir"),
    [
        (b"", "/srv", "/tmp"),
        (b"HOME=/root\0", "/srv", "/tmp"),
        (b"HOME=/root\0TMPDIR=/var/tmp/\0", "/srv", "/var/tmp"),
        (b"TMPDIR=/first\0TMPDIR=/second\0", "/srv", "/first"),
        (b"TMPDIR=\0TMPDIR=/second\0", "/srv", "/tmp"),
        (b"XTMPDIR=/x\0", "/srv", "/tmp"),
        (b"TMPDIR=/", "/srv", "/"),
        (b"TMPDIR=work\0", "/srv", "/srv/work"),
        (b"TMPDIR=work\0", "", "/work"),
        (b"TMPDIR=work\0", "(unreachable)/srv", "/tmp"),
        (b"TMPDIR=/" + b"x" * 5000, "/srv", "/tmp"),
        (b"TMPDIR=/a\xff\0", "/srv", "/a\udcff"),
    ],
)
def test_the_first_tmpdir_of_the_environment_counts(environ, cwd, tmpdir):
    assert tmpdir_of(environ, cwd) == tmpdir


@given(st.binary(), st.text())
def test_whatever_the_environment_holds_the_answer_is_an_absolute_path(environ, cwd):
    assert tmpdir_of(b"TMPDIR=" + environ, cwd).startswith("/")


MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 27 0:40 / /data rw - nfs4 server:/x rw
32 27 0:41 / /data/cache rw - tmpfs tmpfs rw
33 27 0:42 / /with\040blank rw - fuse.sshfs me@there rw
34 27 0:43 / /data2 rw - cifs //server/x rw
35 34 0:44 / /data2 rw - xfs /dev/vdb rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/tmp", "ext4"),
        ("/", "ext4"),
        ("/data", "nfs4"),
        ("/data/tmp", "nfs4"),
        ("/data/cache/tmp", "tmpfs"),
        ("/database", "ext4"),
        ("/data/cache/../x", "nfs4"),
        ("/with blank/x", "fuse.sshfs"),
        ("/data2/tmp", "xfs"),
    ],
)
def test_the_innermost_and_latest_mount_tells_the_file_system(path, found):
    assert file_system(MOUNTS, path) == found


@pytest.mark.parametrize(
    ("kind", "hangs"),
    [
        ("nfs4", True),
        ("cifs", True),
        ("fuse", True),
        ("fuse.sshfs", True),
        ("fuseblk", False),
        ("ext4", False),
        ("overlay", False),
        ("", False),
    ],
)
def test_file_systems_that_wait_for_a_server_are_known(kind, hangs):
    assert may_hang(kind) is hangs


@given(st.text(), st.text())
def test_no_mount_table_makes_it_raise(mountinfo, path):
    file_system(mountinfo, path)
