"""Faults of the API at random, then quiet: ``python -m bench.k8s_soak [--seconds 1800] [--json]``.

Pods, services and processes come and go all the while. At the end the index must equal what the
API holds, each process must have the verdict it would get afresh, and nothing may have leaked.
"""

from __future__ import annotations

import gc
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.cluster.api import ApiServer
from bench.cluster.objects import NODE, cgroup_of, pod, service, uid_of
from bench.cluster.state import Fault
from bench.rig.figures import Figures
from bench.rig.follower import QUICK, Follower, kubeconfig
from bench.rig.options import options

PODS = 40
SERVICES = 60
PROCESSES = 100
STATUSES = (401, 403, 404, 410, 429, 500, 503, 504)


@dataclass
class Result:
    """What a soak came to."""

    events: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    judged: int = 0
    quiet_after: float = 0.0
    """Seconds from the last fault until the index equalled the API."""
    equal: bool = False
    verdicts_right: bool = False
    threads: tuple[int, int] = (0, 0)
    descriptors: tuple[int, int] = (0, 0)
    rss: tuple[int, int] = (0, 0)
    """Bytes when a fifth of the time had passed, and at the end; the API server included."""
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


class Soak:
    """One run; the same seed chooses the same steps."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.random = random.Random(seed)
        self.api = ApiServer()
        self.token = directory / "token"
        self.directory = directory
        self.result = Result()
        self.names = [f"web-{number}" for number in range(PODS)]
        self.generation: Counter[str] = Counter()
        self.restarts: Counter[str] = Counter()
        self.pid = 0
        self.revive_at: float | None = None
        self.repairs: list[tuple[float, str]] = []

    def run(self, seconds: float) -> Result:
        self._rotate()
        self._recover(float("inf"))
        self.api.start()
        config = kubeconfig(self.directory, self.api.url, token_file=str(self.token))
        before = self._leaks()
        with Follower(self.api, config, timing=QUICK) as self.follower:
            self._disturb(seconds)
            self._wait_until_equal()
            self.result.counts = {
                state.resource: dict(state.counts) for state in self.follower.cluster.states()
            }
        self.api.stop()
        after = self._settled(before)
        self.result.threads = (before[0], after[0])
        self.result.descriptors = (before[1], after[1])
        return self.result

    def _disturb(self, seconds: float) -> None:
        now = time.monotonic()
        end, fault_at = now + seconds, now + 1.0
        fifth, early = now + seconds / 5, 0
        while (now := time.monotonic()) < end:
            for _ in range(self.random.randrange(4)):
                self._change()
            if now >= fault_at:
                self._fault()
                fault_at = now + self.random.uniform(0.05, 0.6)
            self._recover(now)
            self.follower.read_messages(keep=False)
            if not early and now >= fifth:
                early = psutil.Process().memory_info().rss
            time.sleep(0.02)
        self.result.rss = (early, psutil.Process().memory_info().rss)

    def _wait_until_equal(self) -> None:
        """End all faults, and see that the truth is reached."""
        self._recover(float("inf"))
        with self.api.changed:
            self.api.faults.clear()
            self.api.denied.clear()
        self.api.trickle = 0
        began = time.monotonic()
        while time.monotonic() < began + 15.0 and not self.result.equal:
            self.follower.read_messages(keep=False)
            self.result.equal = self.follower.has_truth()
            time.sleep(0.02)
        self.result.quiet_after = time.monotonic() - began
        self.result.judged = self.follower.judged
        join, live = self.follower.join, self.follower.live
        self.result.verdicts_right = all(
            (verdict := self.follower.verdicts[pid]) is not None
            and (fresh := join.judge(process)) is not None
            and verdict.reports == fresh.reports
            for pid, process in live.items()
        )

    # --- the cluster and the node ---

    def _change(self) -> None:
        self.result.events += 1
        name = self.random.choice(self.names)
        what = self.random.random()
        exists = ("default", name) in self.api.keys("pods")
        if what < 0.35 or not exists:
            if not exists and self.random.random() < 0.5:
                self.generation[name] += 1
            self._put(name)
        elif what < 0.45:
            self.api.delete("pods", "default", name)
        elif what < 0.50:  # the same name, another pod, and nobody saw the old one go
            self.generation[name] += 1
            self._put(name)
        elif what < 0.60:
            self.restarts[name] += 1
            self._put(name)
        elif what < 0.75:
            number = self.random.randrange(SERVICES)
            selector = {"app": f"web-{number % PODS}"} if number % 3 else {"tier": "front"}
            self.api.put("services", service(f"service-{number}", selector=selector))
        elif what < 0.80 and (keys := self.api.keys("services")):
            self.api.delete("services", *self.random.choice(sorted(keys)))
        elif what < 0.95 and len(self.follower.live) < PROCESSES:
            self.pid += 1
            cgroup = cgroup_of(self._uid(name), "app", restarts=self.restarts[name])
            self.follower.start_process(self.pid, cgroup)
        elif self.follower.live:
            self.follower.end_process(self.random.choice(sorted(self.follower.live)))

    def _uid(self, name: str) -> str:
        return uid_of(name, self.generation[name])

    def _put(self, name: str) -> None:
        labels = {"app": name, "tier": self.random.choice(("front", "back"))}
        node = NODE if self.random.random() < 0.95 else "node-2"
        started = self.random.random() < 0.8
        restarts = self.restarts[name]
        uid = self._uid(name)
        known = self.api.objects("pods").get(("default", name))
        if known and known["metadata"]["uid"] == uid:
            node = known["spec"]["nodeName"]  # a pod never moves
        self.api.put(
            "pods",
            pod(name, uid=uid, labels=labels, node=node, started=started, restarts=restarts),
        )

    # --- faults ---

    def _fault(self) -> None:
        faults = (
            self._break_watches,
            self._refuse,
            self._hang,
            self._expire,
            self._outage,
            self._deny,
            self._rotate,
            self._garble,
            self._refresh,
            self._trickle,
        )
        fault = self.random.choice(faults)
        self.result.faults[fault.__name__.removeprefix("_")] += 1
        fault()

    def _break_watches(self) -> None:
        tail = self.random.choice((b"", b'{"type":"ADDED","object":{"meta'))
        self.api.end_watches(self.random.choice(("reset", "clean")), tail=tail)

    def _refuse(self) -> None:
        headers = {"Retry-After": "1"} if self.random.random() < 0.2 else {}
        status = self.random.choice(STATUSES)
        self.api.fail(Fault(status, times=self.random.randint(1, 4), headers=headers))

    def _hang(self) -> None:
        if self.random.random() < 0.5:
            self.api.hang_watches()
        else:
            self.api.fail(Fault(hang=1.0, times=self.random.randint(1, 2)))

    def _expire(self) -> None:
        self.api.expire()

    def _outage(self) -> None:
        if self.revive_at is None:
            self.api.stop(self.random.choice(("reset", "clean")))
            self.revive_at = time.monotonic() + self.random.uniform(0.1, 1.5)

    def _deny(self) -> None:
        verb = self.random.choice(("list", "watch"))
        self.api.denied.add((verb, self.random.choice(("pods", "services"))))
        self.repairs.append((time.monotonic() + self.random.uniform(0.1, 1.5), "rights"))

    def _rotate(self) -> None:
        """Change the token; the file follows a little later, as with projected tokens."""
        self.api.token = f"token-{self.random.random()}"
        self.repairs.append((time.monotonic() + self.random.uniform(0.0, 0.5), "token"))

    def _garble(self) -> None:
        lines = (b"{]\n", b'{"type":"ADDED","object":{}}\n', b'{"type":"ADDED"}\n', b"\xff\n")
        self.api.send_raw(self.random.choice(lines))

    def _refresh(self) -> None:
        self.follower.cluster.list_pods_again()

    def _trickle(self) -> None:
        self.api.trickle = self.random.choice((0, 0, 1_000))

    def _recover(self, now: float) -> None:
        if self.revive_at is not None and now >= self.revive_at:
            self.revive_at = None
            self.api.restart()
        for due, what in self.repairs:
            if now >= due and what == "rights":
                self.api.denied.clear()
            elif now >= due:
                self.token.write_text(self.api.token)
        self.repairs = [(due, what) for due, what in self.repairs if now < due]

    @staticmethod
    def _leaks() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), psutil.Process().num_fds()

    def _settled(self, before: tuple[int, int]) -> tuple[int, int]:
        """Wait for the server's own threads to end, then count what is left."""
        until = time.monotonic() + 5.0
        while time.monotonic() < until:
            after = self._leaks()
            if after[0] <= before[0] and after[1] <= before[1]:
                break
            time.sleep(0.05)
        return after


def main() -> None:
    chosen = options(__doc__, seconds=1_800.0, seeded=True).parse_args()
    title = f"faults of the Kubernetes API for {chosen.seconds:g} s, seed {chosen.seed}"
    figures = Figures(title, as_json=chosen.json)
    figures.start()
    with tempfile.TemporaryDirectory() as directory:
        result = Soak(chosen.seed, Path(directory)).run(chosen.seconds)
    figures.add("changes of pods, services and processes", result.events, "")
    for name, count in sorted(result.faults.items()):
        figures.add(f"  fault {name}", count, "")
    for resource, counts in result.counts.items():
        for name, count in sorted(counts.items()):
            figures.add(f"  {resource}: {name}", count, "")
    figures.add("processes judged again", result.judged, "")
    equal, right = result.equal, result.verdicts_right
    figures.add("index equals the API at the end", equal, "", "yes", met=equal)
    figures.add("each process has its verdict", right, "", "yes", met=right)
    figures.limit("time from the last fault to that", result.quiet_after, "s", 5)
    grown = (result.rss[1] - result.rss[0]) / 2**20
    figures.add("memory grown, API server included", grown, "MiB")
    for what, (before, after) in (("threads", result.threads), ("fds", result.descriptors)):
        figures.limit(f"{what} left over", after - before, "", 0)
    figures.end()
    sys.exit(not (equal and right))


if __name__ == "__main__":
    main()
