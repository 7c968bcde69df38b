"""Tokens, certificates and rights of a watch, over HTTP with the official client."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import time
from itertools import product

import pytest

from bench.cluster.api import ApiServer
from bench.cluster.objects import NODE, pod
from bench.cluster.state import Fault
from bench.rig.follower import QUICK, Follower, kubeconfig
from rover.errors import KubernetesError
from rover.k8s import cluster as cluster_module
from rover.k8s.access import by_kubeconfig, in_cluster
from rover.k8s.cluster import pods_of
from rover.k8s.watch import Watch

pytest_plugins = ("k8s_fixtures",)

FIRST, SECOND = "first-Token", "sEcOnD-token"


def make_tls(directory):
    """Make a certificate for the loopback, and the server's context."""
    certificate, key = directory / "ca.crt", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=kubernetes",
         "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return make_tls(tmp_path_factory.mktemp("tls"))


def test_a_token_that_rotated_is_read_again(api, tmp_path, eventually):
    api.token = FIRST
    token = tmp_path / "token"
    token.write_text(FIRST)
    config = kubeconfig(tmp_path, api.url, token_file=str(token))
    with Follower(api, config) as follower:
        eventually(follower.has_truth)
        api.token = SECOND
        api.end_watches()
        eventually(lambda: "401" in follower.fault("pods"))
        token.write_text(SECOND)
        api.put("pods", pod("late"))
        eventually(follower.has_truth)
        eventually(lambda: follower.fault("pods") == "")


def test_an_open_watch_outlives_its_token(api, tmp_path, eventually):
    api.token = FIRST
    with Follower(api, kubeconfig(tmp_path, api.url, token=FIRST)) as follower:
        eventually(lambda: follower.has_truth() and api.watching() == 2)
        api.token = SECOND
        api.put("pods", pod("late"))
        eventually(follower.has_truth)


def test_a_token_is_in_no_message(api, tmp_path, eventually, caplog):
    api.token = FIRST
    with Follower(api, kubeconfig(tmp_path, api.url, token=SECOND)) as follower:
        eventually(lambda: follower.fault("pods"))
        assert SECOND not in follower.fault("pods")
    assert SECOND not in caplog.text


@pytest.mark.parametrize("right", [*product(("list", "watch"), ("pods", "services"))])
def test_a_right_that_lacks_is_named_and_used_once_it_is_given(
    api, follow, eventually, right, caplog
):
    verb, resource = right
    caplog.set_level(logging.INFO, "rover.k8s")
    api.denied.add((verb, resource))
    follower = follow()
    eventually(lambda: follower.fault(resource))
    assert f"allow the verb {verb} on {resource} in its ClusterRole" in follower.fault(resource)
    other = "services" if resource == "pods" else "pods"
    assert follower.fault(other) == ""
    api.denied.clear()
    api.put("pods", pod("late"))
    eventually(follower.has_truth)
    eventually(lambda: follower.fault(resource) == "")
    lines = [line for line in caplog.messages if f"resource={resource}" in line]
    assert [line.split(" resource")[0] for line in lines] == ["watch fails", "watch restored"]


def test_one_403_at_start_is_not_taken_for_final_nor_told(api, follow, eventually, caplog):
    api.fail(Fault(403, resource="pods"))
    follower = follow()
    eventually(follower.has_truth)
    assert follower.fault("pods") == ""
    assert "RBAC" not in caplog.text


def test_a_right_taken_away_is_noticed_at_the_reconnect(api, followed, eventually):
    api.denied.add(("watch", "pods"))
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    api.end_watches()
    eventually(lambda: "allow the verb watch on pods" in followed.fault("pods"))


def test_retry_after_is_waited_for(api, followed, eventually):
    api.fail(Fault(429, resource="pods", headers={"Retry-After": "1"}))
    api.end_watches(resource="pods")
    eventually(lambda: not api.faults)
    began = time.monotonic()
    api.put("pods", pod("late"))
    eventually(followed.has_truth)
    assert 0.9 < time.monotonic() - began < 2.0


def test_in_a_pod_the_service_account_is_used_over_tls(tmp_path, eventually, tls, monkeypatch):
    certificate, context = tls
    token = tmp_path / "token"
    token.write_text(FIRST)
    with ApiServer(token=FIRST, tls=context) as api:
        api.put("pods", pod("web"))
        host, port = api.url.removeprefix("https://").split(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        posted = []
        access = in_cluster(token_file=str(token), ca_file=str(certificate))
        watch = Watch(pods_of(NODE, with_env=False), access, posted.append, timing=QUICK)
        watch.start()
        assert watch.wait_listed(5.0)
        api.token = SECOND
        token.write_text(SECOND)
        api.end_watches()
        api.put("pods", pod("late"))
        eventually(lambda: any("late" in repr(message) for message in posted))
        assert watch.stop()


def test_a_new_issuer_of_the_servers_certificate_is_read_from_the_mount(
    tmp_path, eventually, tls, monkeypatch
):
    certificate, context = tls
    mounted, token = tmp_path / "mounted.crt", tmp_path / "token"
    mounted.write_bytes(certificate.read_bytes())
    token.write_text(FIRST)
    with ApiServer(token=FIRST, tls=context) as api:
        host, port = api.url.removeprefix("https://").split(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        posted = []
        access = in_cluster(token_file=str(token), ca_file=str(mounted))
        watch = Watch(pods_of(NODE, with_env=False), access, posted.append, timing=QUICK)
        watch.start()
        assert watch.wait_listed(5.0)
        new_certificate, api.tls = make_tls(tmp_path)
        api.stop()
        api.restart()
        eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in watch.state().fault)
        mounted.write_bytes(new_certificate.read_bytes())
        api.put("pods", pod("late"))
        eventually(lambda: any("late" in repr(message) for message in posted))
        assert watch.stop()


def test_a_certificate_of_an_unknown_issuer_is_refused_and_told(tmp_path, eventually, tls):
    _, context = tls
    with ApiServer(tls=context) as api, Follower(api, kubeconfig(tmp_path, api.url)) as follower:
        eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in follower.fault("pods"))
        assert follower.messages == []


# --- which node this is ---


def test_where_no_node_is_named_the_agents_own_pod_tells_it(api, tmp_path, monkeypatch):
    own = tmp_path / "namespace"
    own.write_text("default\n")
    monkeypatch.setattr(cluster_module, "OWN_NAMESPACE", str(own))
    monkeypatch.setenv("HOSTNAME", "web-0")
    access = by_kubeconfig(kubeconfig(tmp_path, api.url))
    assert cluster_module._find_node_name(access, in_cluster=True) == NODE
    monkeypatch.setenv("HOSTNAME", "nosuch")
    with pytest.raises(KubernetesError, match=r"downward API from spec\.nodeName"):
        cluster_module._find_node_name(access, in_cluster=True)
    api.put("pods", pod("lost", node=""))
    monkeypatch.setenv("HOSTNAME", "lost")
    with pytest.raises(KubernetesError, match="is on no node"):
        cluster_module._find_node_name(access, in_cluster=True)


def test_outside_of_the_cluster_the_hosts_name_is_the_nodes(api, tmp_path):
    access = by_kubeconfig(kubeconfig(tmp_path, api.url))
    name = cluster_module._find_node_name(access, in_cluster=False)
    assert name == socket.gethostname().lower()


PLUGIN = """
apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "{server}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
users:
- name: test
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      interactiveMode: Never
      command: {command}
"""
GIVES = """#!/bin/sh
[ -e {flag} ] || exit 1
echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",'
echo ' "status": {{"token": "{token}"}}}}'
"""


@pytest.fixture
def plugin(api, tmp_path):
    """A kubeconfig whose credentials come from a program; it works while a file is there."""
    flag, command = tmp_path / "works", tmp_path / "plugin"
    command.write_text(GIVES.format(flag=flag, token=FIRST))
    command.chmod(0o755)
    config = tmp_path / "kubeconfig"
    config.write_text(PLUGIN.format(server=api.url, command=command))
    api.token = FIRST
    flag.touch()
    return flag, str(config)


def test_a_credential_plugin_is_asked_for_the_token(plugin, api, eventually):
    with Follower(api, plugin[1]) as follower:
        eventually(follower.has_truth)


def test_a_credential_plugin_that_gives_nothing_is_told_and_not_taken_for_nobody(plugin):
    flag, config = plugin
    flag.unlink()
    with pytest.raises(KubernetesError, match=r"the credential plugin of .* gave none"):
        by_kubeconfig(config)


def test_a_credential_plugin_that_fails_for_a_while_is_asked_again(plugin, api, eventually):
    flag, config = plugin
    with Follower(api, config) as follower:
        eventually(lambda: follower.has_truth() and api.watching() == 2)
        flag.unlink()
        api.token = SECOND  # the one that the agent has is of no use any more
        api.end_watches()
        eventually(lambda: "the credential plugin" in follower.fault("pods"))
        api.token = FIRST
        flag.touch()
        api.put("pods", pod("late"))
        eventually(follower.has_truth)


def test_whoever_is_forbidden_everything_has_the_credentials_read_again(api, tmp_path, eventually):
    token = tmp_path / "token"
    token.write_text(SECOND)
    api.token = FIRST
    api.anonymous_auth = True
    with Follower(api, kubeconfig(tmp_path, api.url, token_file=str(token))) as follower:
        eventually(lambda: follower.fault("pods"))
        token.write_text(FIRST)
        eventually(follower.has_truth)


def test_the_agents_own_pod_is_asked_for_again_where_the_server_has_just_started(
    api, tmp_path, monkeypatch
):
    own = tmp_path / "namespace"
    own.write_text("default\n")
    monkeypatch.setattr(cluster_module, "OWN_NAMESPACE", str(own))
    monkeypatch.setattr(cluster_module, "_PAUSE", 0.01)
    monkeypatch.setenv("HOSTNAME", "web-0")
    api.fail(Fault(403, times=2))
    access = by_kubeconfig(kubeconfig(tmp_path, api.url))
    assert cluster_module._find_node_name(access, in_cluster=True) == NODE
