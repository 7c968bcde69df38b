import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.config.contexts import HOST_NAMES
from rover.config.settings import RegexFinderSettings, ScanMode, ScannerSettings
from rover.gotemplate import Template
from rover.model import Entity, Process, ProcessKey, Reason, Verdict
from rover.naming.entity import is_blank, service_in_cluster, split_labels
from rover.naming.host.finders import HostFinders
from rover.naming.host_facts import Host
from rover.sensor.metadata import Metadata


class Sensor:
    """Stands for the memory of an Sensor."""

    def __init__(self, **metadata):
        self.known = {int(pid.removeprefix("pid")): one for pid, one in metadata.items()}

    def metadata(self, key):
        return self.known.get(key.pid)


HOST = Host("agent-1", name="metal-3", interfaces=lambda: {"eth0": ["10.0.0.5", "2001:db8::5"]})
METADATA = Metadata("GENERAL", "shop", "shop-1", "shop-p", ("a",), (("os", "linux"),), "golang")


def process(command_line="nginx -g daemon off;", **facts):
    known = {
        "key": ProcessKey(42, 1),
        "ppid": 1,
        "name": "nginx",
        "exe": "/usr/sbin/nginx",
        "arguments": command_line.encode(),
        "cwd": "/srv",
        "uid": 0,
        "cgroup": "0::/",
        "pid_namespace": 1,
        "mount_namespace": 1,
        "namespace_pid": 42,
        "image": 1,
    }
    return Process(**{**known, **facts})


def regex(match_cmd, service="svc", instance="{{.Rover.HostName}}", name="p", **more):
    labels = more.pop("labels", None)
    return RegexFinderSettings(
        re.compile(match_cmd),
        more.pop("layer", "OS_LINUX"),
        Template.compile(service, HOST_NAMES),
        Template.compile(instance, HOST_NAMES),
        Template.compile(name, HOST_NAMES),
        labels and Template.compile(labels, HOST_NAMES),
    )


def finders(mode=ScanMode.AUTO, *, regexes=(), ignore=(), sensor=None, cluster="", host=HOST):
    settings = ScannerSettings(mode=mode, regex=tuple(regexes))
    patterns = tuple(re.compile(pattern) for pattern in ignore)
    return HostFinders(settings, patterns, host, sensor or Sensor(), cluster)


def entity(verdict):
    assert verdict.reason is Reason.REPORTED, verdict
    (report,) = verdict.reports
    return report.entity


IN_NGINX = process(cgroup="0::/system.slice/nginx.service")


def test_a_process_of_a_service_is_named_after_the_unit():
    verdict = finders().judge(IN_NGINX)
    assert entity(verdict) == Entity("OS_LINUX", "nginx", "metal-3", "nginx")
    assert verdict.detail == "systemd unit nginx.service"
    assert verdict.reports[0].process is IN_NGINX
    assert verdict.reports[0].container is None


def test_a_process_of_no_service_is_named_after_the_host():
    verdict = finders().judge(process(cgroup="0::/user.slice/user-0.slice/session-3.scope"))
    assert entity(verdict) == Entity("OS_LINUX", "metal-3", "metal-3", "nginx")
    assert verdict.detail == "host"


@pytest.mark.parametrize(
    ("cgroup", "detail"),
    [
        (f"0::/system.slice/docker-{'a1' * 32}.scope", "host: container a1a1a1a1a1a1 (docker)"),
        (
            f"1:name=systemd:/docker/{'a1' * 32}\n0::/system.slice/containerd.service",
            "host: container a1a1a1a1a1a1 (docker)",
        ),
        (f"0::/../{'a1' * 32}", "host: container a1a1a1a1a1a1"),
    ],
)
def test_a_container_of_no_pod_is_the_hosts_and_the_detail_tells_which(cgroup, detail):
    verdict = finders().judge(process(cgroup=cgroup))
    assert entity(verdict) == Entity("OS_LINUX", "metal-3", "metal-3", "nginx")
    assert verdict.detail == detail


def test_what_an_agent_says_comes_before_all_else():
    judge = finders(regexes=[regex("nginx")], sensor=Sensor(pid42=METADATA)).judge
    verdict = judge(IN_NGINX)
    assert entity(verdict) == Entity("GENERAL", "shop", "shop-1", "shop-p", ("a",))
    assert verdict.reports[0].properties == (("os", "linux"), ("language", "golang"))


def test_a_regex_comes_before_the_unit():
    judge = finders(regexes=[regex("nginx", service="web")]).judge
    assert entity(judge(IN_NGINX)).service == "web"
    assert entity(judge(process(command_line="other"))).service == "metal-3"


def test_an_agent_has_no_say_in_the_facts_that_rover_finds_out():
    properties = (("pid", "1"), ("host_ip", "x"), ("support_ebpf_profiling", "true"), ("os", "l"))
    sensor = Sensor(pid42=Metadata("L", "s", "i", "p", (), properties))
    verdict = finders(sensor=sensor).judge(process())
    assert verdict.reports[0].properties == (("os", "l"),)


def test_labels_that_an_agent_says_are_told_without_their_secrets():
    labels = ("password=hunter2", "zone=a", "db=postgres://u:hunter2@h/d")
    sensor = Sensor(pid42=Metadata("L", "s", "i", "p", labels))
    verdict = finders(sensor=sensor).judge(process())
    assert entity(verdict).labels == ("password=***", "zone=a", "db=postgres://u:***@h/d")


@pytest.mark.parametrize(
    ("exe", "name", "expected"),
    [
        ("/usr/bin/python3.11", "gunicorn", "python3.11"),
        ("", "kept-back", "kept-back"),
        ("/srv/ ", "x", "x"),
        ("", "", "unnamed"),
        ("", " \t", "unnamed"),
    ],
)
def test_without_a_template_a_process_is_named_after_its_executable(exe, name, expected):
    assert entity(finders().judge(process(exe=exe, name=name))).process == expected


def test_the_first_matching_regex_wins():
    judge = finders(ScanMode.REGEX, regexes=[regex("g.x", "a"), regex("^nginx", "b")]).judge
    assert entity(judge(process())).service == "b"
    assert entity(judge(process(command_line="nginx gax"))).service == "a"


def test_a_regex_may_match_anywhere_in_the_command_line():
    judge = finders(ScanMode.REGEX, regexes=[regex("daemon")]).judge
    assert judge(process()).reports


def test_a_regex_finder_gives_layer_names_and_labels():
    finder = regex(
        r"java.* -Dname=(\w+)(-\w+)? .*\.(jar)",
        service="{{.Finder.RegexMatchGroup 1}}",
        instance='{{.Rover.HostIPV4 "eth0"}}|{{.Rover.HostIPV6 "eth0"}}|{{.Rover.InstanceID}}',
        name="{{.Process.Pid}}:{{.Process.WorkDir}}:{{.Process.User}}{{.Finder.RegexMatchGroup 2}}",
        labels=" {{.Finder.Layer}},, {{.Finder.RegexMatchGroup 3}} ,",
        layer="GENERAL",
    )
    line = "/opt/java -Dname=shop -cp x shop.jar run"
    verdict = finders(ScanMode.REGEX, regexes=[finder]).judge(process(command_line=line))
    assert entity(verdict) == Entity(
        "GENERAL", "shop", "10.0.0.5|2001:db8::5|agent-1", "42:/srv:root", ("GENERAL", "jar")
    )


def test_group_0_is_the_whole_match():
    finder = regex("ngi.x", service="{{.Finder.RegexMatchGroup 0}}")
    assert entity(finders(regexes=[finder]).judge(process())).service == "nginx"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"service": "{{.Finder.RegexMatchGroup 3}}"}, "service_name, column 3: .*no group 3"),
        ({"service": "{{.Finder.RegexMatchGroup -1}}"}, "no group -1"),
        ({"instance": '{{.Rover.HostIPV4 "en0"}}'}, 'instance_name.*"en0" has no IPv4.*eth0'),
        ({"instance": '{{.Rover.HostIPV6 "en0"}}'}, 'instance_name.*"en0" has no IPv6'),
        ({"name": "{{.Process.SystemdUnit}}"}, "process_name is empty"),
        ({"service": " {{.Process.SystemdUnit}}\t"}, "service_name is empty"),
        ({"labels": "{{.Finder.RegexMatchGroup 3}}"}, "labels, column 3"),
    ],
)
@pytest.mark.parametrize("mode", [ScanMode.REGEX, ScanMode.AUTO])
def test_a_template_that_fails_concerns_its_process_alone(broken, said, mode):
    judge = finders(mode, regexes=[regex("(nginx)", **broken), regex("")]).judge
    verdict = judge(process())
    assert (verdict.reason, verdict.reports) == (Reason.TEMPLATE, ())
    assert re.search(said, verdict.detail), verdict.detail
    assert judge(process(command_line="other")).reports


def test_a_template_that_fails_is_warned_of_once_however_many_processes_it_fails_on(caplog):
    judge = finders(regexes=[regex("nginx", instance='{{.Rover.HostIPV4 "en0"}}')]).judge
    for pid in range(42, 142):
        judge(process(key=ProcessKey(pid, 1)))
    (warning,) = caplog.messages
    assert "regex nginx fails, on pid 42 first" in warning
    assert 'interface "en0" has no IPv4 address' in warning


@pytest.mark.parametrize(
    ("facts", "template", "expected"),
    [
        ({"exe": "/usr/bin/python3.11", "name": "gunicorn"}, "ExeName", "gunicorn"),
        (
            {"exe": "/opt/long-name-indeed", "name": "long-name-indee"},
            "ExeName",
            "long-name-indeed",
        ),
        (
            {
                "exe": "/usr/bin/perl",
                "name": "a-longer-script",
                "command_line": "/x/a-longer-script2 b",
            },
            "ExeName",
            "a-longer-script2",
        ),
        ({"exe": "/usr/bin/node", "name": "node-MainThread"}, "ExeName", "node-MainThread"),
        ({"exe": "/bin/x", "name": ""}, "ExeName", "x"),
        ({}, "ExeFilePath", "/usr/sbin/nginx"),
        ({}, "CommandLine", "nginx -g daemon off;"),
        ({}, "ExeNameInCommandLine", "nginx"),
        ({"cgroup": "0::/system.slice/a.service"}, "SystemdUnit", "a"),
        ({"uid": 4_000_000_123}, "User", "4000000123"),
    ],
)
def test_templates_see_the_facts_of_the_process(facts, template, expected):
    judge = finders(ScanMode.REGEX, regexes=[regex("", name=f"{{{{.Process.{template}}}}}")]).judge
    assert entity(judge(process(**facts))).process == expected


@pytest.mark.parametrize(
    ("facts", "template"),
    [
        ({"exe": ""}, "ExeFilePath"),
        ({"cwd": ""}, "WorkDir"),
        ({"command_line": ""}, "ExeNameInCommandLine"),
    ],
)
def test_a_fact_that_is_hidden_fails_the_template_instead_of_naming_by_nothing(facts, template):
    judge = finders(ScanMode.REGEX, regexes=[regex("", name=f"x{{{{.Process.{template}}}}}")]).judge
    assert judge(process(**facts)).reason is Reason.TEMPLATE


def test_regex_mode_names_nothing_else():
    judge = finders(ScanMode.REGEX, regexes=[regex("apache")], sensor=Sensor(pid42=METADATA)).judge
    verdict = judge(IN_NGINX)
    assert (verdict.reason, verdict.reports) == (Reason.NO_FINDER, ())
    assert verdict.detail == "no regex matches its command line"


def test_agent_sensor_mode_names_nothing_else():
    judge = finders(ScanMode.AGENT_SENSOR, regexes=[regex("")], sensor=Sensor(pid7=METADATA)).judge
    assert judge(IN_NGINX).reason is Reason.NO_FINDER
    assert entity(judge(process(key=ProcessKey(7, 1)))).service == "shop"


@pytest.mark.parametrize("mode", list(ScanMode))
def test_ignored_processes_are_nobodys_whichever_finder_would_take_them(mode):
    judge = finders(
        mode, regexes=[regex("")], sensor=Sensor(pid42=METADATA), ignore=["^cron", "off;$"]
    ).judge
    assert judge(process()) == Verdict(reason=Reason.IGNORED, detail="off;$")


def test_the_clusters_name_goes_before_the_service_unless_it_has_a_group():
    judge = finders(cluster="west", regexes=[regex("shop", service="east::shop")]).judge
    assert entity(judge(IN_NGINX)).service == "west::nginx"
    assert entity(judge(process())).service == "west::metal-3"
    assert entity(judge(process(command_line="shop"))).service == "east::shop"


def test_the_service_of_an_agent_keeps_the_name_that_the_agent_reports_under():
    judge = finders(cluster="west", sensor=Sensor(pid42=METADATA)).judge
    assert entity(judge(process())).service == "shop"


def test_a_blank_service_is_refused_before_the_cluster_would_hide_it():
    verdict = finders(cluster="west", regexes=[regex("", service=" ")]).judge(process())
    assert (verdict.reason, verdict.detail) == (Reason.TEMPLATE, "regex : service_name is empty")


@given(
    st.builds(
        process,
        name=st.text(),
        exe=st.text(),
        command_line=st.text(),
        cwd=st.text(),
        cgroup=st.text(),
        uid=st.integers(),
    )
)
def test_no_process_makes_it_raise_or_name_anything_blank(one):
    named = entity(finders().judge(one))
    assert not any(is_blank(name) for name in (named.service, named.instance, named.process))
    verdict = finders(
        ScanMode.REGEX, regexes=[regex("", "{{.Process.ExeName}}", "{{.Process.WorkDir}}", "p")]
    ).judge(one)
    assert verdict.reason in (Reason.REPORTED, Reason.TEMPLATE)


@given(st.text(), st.text())
def test_a_service_has_one_prefix_at_most(cluster, name):
    once = service_in_cluster(cluster, name)
    assert once.endswith(name)
    assert service_in_cluster(cluster, once) == once


@given(st.text())
def test_labels_are_trimmed_and_never_empty(text):
    assert all(label == label.strip() != "" for label in split_labels(text))
