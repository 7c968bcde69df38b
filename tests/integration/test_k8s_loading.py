"""The official client is loaded where Kubernetes is active, and nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rover.config.settings import KubernetesSettings
from rover.errors import KubernetesError
from rover.k8s.access import by_kubeconfig, in_cluster
from rover.k8s.cluster import Cluster


def test_a_cluster_that_is_not_started_loads_none_of_the_client():
    script = (
        "import sys; import rover.k8s.cluster, rover.naming.pods.join, rover.naming.pods.analyzers;"
        "sys.exit(any(name.split('.')[0] in ('kubernetes', 'urllib3') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_models_of_the_client_are_never_loaded():
    script = (
        "import sys; from rover.k8s.access import by_kubeconfig;"
        "sys.exit('kubernetes.client.models.v1_pod' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


KUBECONFIGS = {
    "not there": None,
    "empty": "",
    "no YAML": "a: [",
    "no mapping": "- 1\n- 2\n",
    "no context": "apiVersion: v1\nkind: Config\nclusters: []\n",
    "unknown context": "current-context: x\ncontexts: []\nclusters: []\nusers: []\n",
    "bytes": "\0\1",
    "missing token file": (
        "current-context: a\n"
        "contexts: [{name: a, context: {cluster: a, user: a}}]\n"
        "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "users: [{name: a, user: {tokenFile: /nonexistent/token}}]\n"
    ),
    "missing certificate": (
        "current-context: a\n"
        "contexts: [{name: a, context: {cluster: a, user: a}}]\n"
        "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1',"
        " certificate-authority: /nonexistent/ca}}]\n"
        "users: [{name: a, user: {token: x}}]\n"
    ),
}


@pytest.mark.parametrize("text", KUBECONFIGS.values(), ids=KUBECONFIGS)
def test_a_kubeconfig_that_cannot_be_used_is_an_error_and_no_traceback(tmp_path, text):
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(KubernetesError, match="credentials"):
        by_kubeconfig(str(path))


def test_outside_of_a_pod_the_in_cluster_account_is_an_error(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KubernetesError, match="credentials"):
        in_cluster()


def test_without_credentials_a_cluster_does_not_start(tmp_path):
    settings = KubernetesSettings(kubeconfig=str(tmp_path / "none"), node_name="n")
    cluster = Cluster(settings, print)
    with pytest.raises(KubernetesError):
        cluster.start()
    assert cluster.stop()
