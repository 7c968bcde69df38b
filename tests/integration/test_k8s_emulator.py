"""An emulator that others made: kmock, driven over HTTP like a cluster."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from urllib.parse import urlsplit

import pytest
from kmock import KubernetesEmulator, Server

from bench.cluster.objects import container_id, pod, service, uid_of
from bench.rig.follower import Follower, kubeconfig
from rover.k8s.cgroup import ContainerRef


@pytest.fixture
def url():
    """Serve kmock in a thread of its own."""
    loop = asyncio.new_event_loop()
    ready, stop, found = threading.Event(), asyncio.Event(), []

    async def serve():
        async with KubernetesEmulator() as handler, Server(handler) as server:
            found.append(str(server.url).rstrip("/"))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10.0)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10.0)
    loop.close()


def send(method, url, item=None):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5.0)
    body = json.dumps(item) if item else None
    connection.request(method, parts.path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status < 300


def test_pods_and_services_of_kmock_are_followed(url, tmp_path, eventually):
    pods, services = (f"{url}/api/v1/namespaces/default/{each}" for each in ("pods", "services"))
    send("POST", pods, pod("web"))
    send("POST", pods, pod("elsewhere", node="node-2"))
    with Follower(None, kubeconfig(tmp_path, url)) as follower:

        def seen():
            follower.read_messages()
            return {key[1]: found[1] for key, found in follower.index.pods().items()}

        eventually(lambda: seen() == {"web": ""})
        send("POST", services, service("web"))
        send("POST", pods, pod("late"))
        eventually(lambda: seen() == {"web": "web", "late": ""})
        send("DELETE", f"{pods}/web")
        eventually(lambda: seen() == {"late": ""})
        ref = ContainerRef(container_id(uid_of("default", "web"), "app", 0), "containerd")
        assert follower.index.find(ref).service == "web"
