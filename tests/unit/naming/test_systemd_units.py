import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.naming.systemd import service_name, service_unit

CONTAINER = "7dae778c37bd1204677518f1032bbecf01f5c41878ea7bd370021263417cc626"


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        (r"/system.slice/dev\x2dlog.service", "dev-log.service"),
        (r"/system.slice/caf\xc3\xa9.service", "café.service"),
        ("/system.slice/_cpu.service", "cpu.service"),
        ("/system.slice/app.service/worker/3", "app.service"),
        ("/system.slice/app.service/init.scope", "app.service"),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service",
            "syncthing.service",
        ),
        (
            r"/user.slice/user-1000.slice/user@1000.service/app.slice/app-my\x2dtool@4f.service/x",
            "app-my-tool@4f.service",
        ),
        ("/../../system.slice/cron.service", "cron.service"),
        ("/lxc.payload.web/system.slice/nginx.service", "nginx.service"),
        ("/machine.slice/systemd-nspawn@c1.service/payload/system.slice/a.service", "a.service"),
        (f"/system.slice/docker-{CONTAINER}.scope/system.slice/sshd.service", "sshd.service"),
        (f"/system.slice/web.service/libpod-payload-{CONTAINER}", "web.service"),
    ],
)
def test_the_innermost_service_names_the_unit(path, unit):
    assert service_unit(f"0::{path}\n") == unit


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/init.scope",
        "/system.slice",
        "/user.slice/user-1000.slice/session-3.scope",
        "/system.slice/.service",
        "/system.slice/a b.service",
        "/system.slice/" + "x" * 250 + ".service",
        f"/docker/{CONTAINER}",
        f"/system.slice/docker-{CONTAINER}.scope",
        f"/system.slice/docker.service/docker/{CONTAINER}",
        f"/system.slice/containerd.service/kubepods-burstable-podX.slice:cri-containerd:{CONTAINER}",
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{CONTAINER}.scope/container",
    ],
)
def test_a_process_outside_any_service_has_no_unit(path):
    assert service_unit(f"0::{path}\n") == ""


@pytest.mark.parametrize(
    "cgroup",
    [
        "0::/system.slice/a.service\n",
        "2:cpu:/\n1:name=systemd:/system.slice/a.service\n",
        "9:name=systemd:/system.slice/a.service\n1:cpu:/other.service\n0::/system.slice/a.service\n",
        "9:name=systemd:/\n0::/system.slice/a.service\n",
        "9:name=systemd:/system.slice/a.service\n0::/\n",
    ],
    ids=["v2", "v1", "hybrid", "hybrid with an idle v1 tree", "hybrid with an idle v2 tree"],
)
def test_the_unit_is_found_in_each_cgroup_layout(cgroup):
    assert service_unit(cgroup) == "a.service"


def test_other_controllers_do_not_name_a_unit():
    assert service_unit("3:cpu,cpuacct:/system.slice/a.service\n") == ""


def test_a_colon_in_the_path_is_part_of_the_unit():
    assert service_unit("0::/system.slice/a:b.service\n") == "a:b.service"


def test_escaped_control_characters_stay_escaped():
    assert service_unit("0::/system.slice/a\\x0ab.service\n") == r"a\x0ab.service"


def test_the_service_is_the_unit_without_its_suffix():
    assert service_name("0::/system.slice/nginx.service\n") == "nginx"


@given(st.text())
def test_no_text_makes_it_raise_or_answer_with_anything_but_a_service(text):
    unit = service_unit(text)
    assert unit == "" or (unit.endswith(".service") and "\n" not in unit)


@given(st.lists(st.from_regex(r"[\w.@:\\-]{0,12}(\.service|\.slice|\.scope)?", fullmatch=True)))
def test_the_unit_is_one_level_of_the_path(levels):
    unit = service_unit("0::/" + "/".join(levels))
    assert unit == "" or "/" not in unit or r"\x2f" in "".join(levels)
