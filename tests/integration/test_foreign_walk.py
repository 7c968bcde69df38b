"""Walks below a root that another user fills, each with openat2 and without."""

# ruff: noqa: S108  the paths lie in roots of their own
import errno
import os
import time
from pathlib import Path

import fuse
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover.foreign import walk
from rover.foreign.walk import Refused, Walker, mount_types, open_file, read_opened

NOBODY = 65534


@pytest.fixture(params=["openat2", "by steps"], autouse=True)
def resolver(request, monkeypatch):
    if request.param == "by steps":

        def absent(*_):
            raise OSError(errno.ENOSYS, "no such call")

        monkeypatch.setattr(walk, "_openat2", absent)
    return request.param


@pytest.fixture(autouse=True)
def descriptors():
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "a descriptor was left open"


@pytest.fixture
def inside(tmp_path):
    (tmp_path / "inside" / "tmp").mkdir(parents=True)
    (tmp_path / "inside" / "tmp" / "file").write_bytes(b"inside")
    (tmp_path / "outside" / "tmp").mkdir(parents=True)
    (tmp_path / "outside" / "tmp" / "file").write_bytes(b"outside")
    return tmp_path / "inside"


def content(inside, path):
    """What a walk to a directory finds in its file."""
    root = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    try:
        opened = Walker("/proc").open_directory(os.getpid(), 0, root, path)
        try:
            file = open_file(opened, b"file")
            try:
                return read_opened(file, 100)
            finally:
                os.close(file)
        finally:
            os.close(opened)
    finally:
        os.close(root)


def link(inside, name, target, uid=NOBODY):
    path = inside / name
    path.symlink_to(target)
    os.lchown(path, uid, uid)


def test_a_path_is_walked_below_the_root(inside):
    assert content(inside, b"/tmp") == b"inside"
    assert content(inside, b"//./tmp/") == b"inside"


@pytest.mark.parametrize("path", [b"/tmp/../tmp", b"/..", b"/tmp/" + b"a/../" * 800])
def test_a_path_that_leads_upwards_is_refused_at_once(inside, path):
    with pytest.raises(Refused, match="upwards"):
        content(inside, path)


def test_a_path_of_very_many_steps_is_refused_at_once(inside):
    with pytest.raises(Refused, match="1000 steps"):
        content(inside, b"/a" * 1000)


def test_a_link_that_another_user_made_is_refused(inside):
    link(inside, "mine", "tmp")
    with pytest.raises(Refused, match=f"a link of uid {NOBODY}"):
        content(inside, b"/mine")


@pytest.mark.parametrize("target", ["tmp", "/tmp", "../tmp", "/../../tmp", "./tmp/../tmp"])
def test_a_link_that_root_made_is_followed_within_the_root(inside, target):
    link(inside, "var", target, uid=0)
    assert content(inside, b"/var") == b"inside"


def test_a_link_that_root_made_leads_out_of_no_root(inside):
    link(inside, "out", str(inside.parent / "outside" / "tmp"), uid=0)
    with pytest.raises(FileNotFoundError):
        content(inside, b"/out")


def test_chained_links_end_after_a_few(inside):
    for number in range(40):
        link(inside, f"l{number}", f"l{number + 1}", uid=0)
    link(inside, "l40", "tmp", uid=0)
    began = time.perf_counter()
    with pytest.raises(Refused, match="more than 4 links"):
        content(inside, b"/l0")
    assert time.perf_counter() - began < 0.05


@pytest.mark.parametrize("magic", ["/proc/self/cwd", "/proc/self/root"])
def test_a_magic_link_is_refused(magic):
    with pytest.raises((Refused, OSError)):
        content(Path("/"), os.fsencode(magic))


def test_a_mount_of_a_known_kind_is_walked_into(monkeypatch):
    monkeypatch.setattr(walk, "LOCAL", walk.LOCAL | {b"proc"})
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    os.close(Walker("/proc").open_directory(os.getpid(), 0, root, b"/proc/sys"))
    os.close(root)


@pytest.mark.kernel
@pytest.mark.parametrize("unanswered", ["none", f"{fuse.LOOKUP},{fuse.GETATTR},{fuse.STATFS}"])
def test_no_step_is_made_onto_a_file_system_that_somebody_serves(inside, unanswered):
    place = inside / "fuse"
    place.mkdir()
    with fuse.mounted(place, unanswered):
        for path in (b"/fuse", b"/fuse/apache_skywalking"):
            began = time.perf_counter()
            with pytest.raises(Refused, match="file system fuse"):
                content(inside, path)
            assert time.perf_counter() - began < 0.5


@pytest.mark.kernel
def test_a_mount_on_the_file_itself_is_not_entered(inside):
    place = inside / "tmp" / "file"
    place.unlink()
    place.mkdir()
    with fuse.mounted(place, "none"), pytest.raises(OSError, match=r".") as refused:
        content(inside, b"/tmp")
    assert refused.value.errno == errno.EXDEV


def test_what_is_mounted_there_is_looked_at_again_after_a_while(inside, monkeypatch):
    walker, now = Walker("/proc"), [1000.0]
    monkeypatch.setattr(walk.time, "monotonic", lambda: now[0])
    root = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    os.close(walker.open_directory(os.getpid(), 0, root, b"/tmp"))
    monkeypatch.setattr(walk, "mount_types", lambda _: {})
    os.close(walker.open_directory(os.getpid(), 0, root, b"/tmp"))
    now[0] += 31
    with pytest.raises(Refused, match="unknown"):
        walker.open_directory(os.getpid(), 0, root, b"/tmp")
    os.close(root)


NAMES = st.sampled_from(["a", "b", "c", "tmp", "file", "x" * 300])
TREES = st.lists(
    st.tuples(
        st.sampled_from(["directory", "link", "fifo", "file"]),
        st.lists(NAMES, min_size=1, max_size=4).map("/".join),
        st.lists(st.sampled_from(["a", "b", "..", "/", "tmp"]), max_size=6).map("/".join),
        st.sampled_from([0, NOBODY]),
    ),
    max_size=12,
)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tree=TREES, path=st.lists(NAMES, max_size=6).map("/".join))
def test_no_tree_leads_out_or_does_anything_but_open_or_raise(tmp_path_factory, tree, path):
    inside = tmp_path_factory.mktemp("tree")
    for kind, name, target, uid in tree:
        at = inside / name
        try:
            at.parent.mkdir(parents=True, exist_ok=True)
            match kind:
                case "directory":
                    at.mkdir()
                case "link":
                    at.symlink_to(target or "a")
                case "fifo":
                    os.mkfifo(at)
                case _:
                    at.touch()
            os.lchown(at, uid, uid)
        except OSError:
            continue
    root = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    began = time.perf_counter()
    try:
        opened = Walker("/proc").open_directory(os.getpid(), 0, root, path.encode())
    except (Refused, OSError):
        pass
    else:
        led = str(Path(f"/proc/self/fd/{opened}").readlink())
        assert led == str(inside) or led.startswith(f"{inside}/")
        os.close(opened)
    finally:
        os.close(root)
    assert time.perf_counter() - began < 1.0


@given(st.binary())
def test_no_mount_table_makes_it_raise(mountinfo):
    mount_types(mountinfo)
