"""What profiling finds and costs: ``python -m bench.profile [PART]... [--json]``.

`counts` holds dumps, shares and waits against the kernel's own account of the same time. `stacks`
tells which share of stacks is whole, unwound and by frame pointers alone (what other eBPF profilers
do), beside `perf record` where the machine has it. `cost` measures what sampling costs the sampled,
the others, and the agent.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.rig import profiled
from bench.rig.figures import Figures
from bench.rig.options import options
from bench.rig.profiled import built, cpu_seconds, running, switches
from bench.rig.program_statistics import run_time, statistics_on
from rover.binaries.reader import Reader
from rover.probes.profile_programs import ProfilePrograms
from rover.profiling.profiler import MOST_ENTITIES
from rover.profiling.records import StackCount, Target
from rover.profiling.sampling import PERIOD_NS, KernelSampler
from rover.profiling.usage import start_ticks

ON, OFF = frozenset({Target.ON_CPU}), frozenset({Target.OFF_CPU})
COUNTED_S = 20.0
SPLIT_S = 60.0
FLUSHES = 6
STACKS_S = 4.0
TURNS, TURN_S = 12, 1.0
LIBJVM = "/usr/lib/jvm"


@contextmanager
def sampling(**how: bool) -> Iterator[KernelSampler]:
    sampler = KernelSampler(**how)  # type: ignore[arg-type]
    try:
        yield sampler
    finally:
        sampler.close()


def total(stacks: Sequence[StackCount]) -> int:
    return sum(stack.count for stack in stacks)


def share(stacks: Sequence[StackCount], *names: str) -> float:
    """Share, in percent, of stacks whose user frames have these names in this order."""

    def has(user: tuple[str, ...]) -> bool:
        left = iter(user)
        return all(any(name in frame for frame in left) for name in names)

    found = sum(stack.count for stack in stacks if has(stack.user))
    return 100 * found / (total(stacks) or 1)


def warm(sampler: KernelSampler, pid: int, target: frozenset[Target]) -> None:
    """Sample until names are known, so that a reading takes no time beside what it is held to."""
    sampler.follow({pid: target})
    for _ in range(3):
        time.sleep(0.5)
        sampler.counts()


def counts(figures: Figures, folder: Path) -> None:
    split, nap = built(folder, "split", profiled.SPLIT_C), built(folder, "nap", profiled.NAP_C)
    with sampling() as sampler:
        for threads in (1, 50):
            with running(split, str(threads)) as process:
                time.sleep(0.5)
                warm(sampler, process.pid, ON)
                known, before = total(sampler.counts()), cpu_seconds(process.pid)
                time.sleep(SPLIT_S)
                expected = (cpu_seconds(process.pid) - before) * 1e9 / PERIOD_NS
                stacks = sampler.counts()
                off = 100 * abs(total(stacks) - known - expected) / expected
                what = f"{threads} threads, {expected:.0f} dumps expected"
                figures.limit(f"{what}: off by", off, "%", 1)
                for name, part in (("heavy", 70), ("medium", 20), ("light", 10)):
                    wrong = abs(share(stacks, f"{name}", "work") - part)
                    figures.limit(f"{what}: share of {name} off by", wrong, "points", 2)
        with running(nap) as process:
            time.sleep(0.5)
            warm(sampler, process.pid, OFF)
            first = sampler.counts()
            began, made, ran = time.monotonic(), switches(process.pid), cpu_seconds(process.pid)
            time.sleep(COUNTED_S)
            made = switches(process.pid) - made
            waited = time.monotonic() - began - (cpu_seconds(process.pid) - ran)
            stacks = sampler.counts()
            wrong = 100 * abs(total(stacks) - total(first) - made) / made
            figures.limit(f"{made} waits: off by", wrong, "%", 0.5)
            seconds = sum(each.ns for each in stacks) - sum(each.ns for each in first)
            wrong = 100 * abs(seconds / 1e9 - waited) / waited
            figures.limit(f"{waited:.2f} s waited: off by", wrong, "%", 0.5)


def programs(folder: Path) -> Iterator[tuple[str, list[str], frozenset[Target], tuple[str, ...]]]:
    """Name, command, target, and the frames that a whole stack has."""
    yield "C -O2", [str(built(folder, "split", profiled.SPLIT_C))], ON, ("spin", "work", "_start")
    yield (
        "C, read in libc, OFF_CPU",
        [str(built(folder, "read", profiled.READ_C))],
        OFF,
        ("read", "read_wait", "reader", "main", "_start"),
    )
    deep = ("down",) * 101
    yield "C, 100 deep", [str(built(folder, "deep", profiled.DEEP_C))], ON, (*deep, "_start")
    yield "C++, exceptions", [str(profiled.built_cc(folder))], ON, ("Worker::run", "_start")
    (folder / "a.py").write_text(profiled.PYTHON)
    yield "Debian's python3", ["/usr/bin/python3", str(folder / "a.py")], ON, ("Py_", "_start")
    for python in profiled.pythons_with_perf():
        names = ("py::leaf", "py::branch", "py::<module>", "_start")
        yield "python -X perf", [python, "-X", "perf", str(folder / "a.py")], ON, names
    if shutil.which("rustc"):
        names = ("::leaf", "::branch", "::main", "_start")
        yield "Rust", [str(profiled.built_rust(folder))], ON, names
    if shutil.which("go"):
        names = ("main.leaf", "main.branch", "main.main", "runtime.goexit")
        yield "Go", [str(profiled.built_go(folder))], ON, names
    if shutil.which("node"):
        (folder / "a.js").write_text(profiled.NODE)
        command = ["node", "--perf-basic-prof", "--interpreted-frames-native-stack"]
        names = ("leaf", "branch", "node::Start", "_start")
        yield "node --perf-basic-prof", [*command, str(folder / "a.js")], ON, names
    if shutil.which("javac"):
        (folder / "Burns.java").write_text(profiled.JAVA)
        subprocess.run(["javac", "-d", folder, folder / "Burns.java"], check=True)
        command = ["java", "-XX:+PreserveFramePointer", "-cp", str(folder), "Burns"]
        yield "java, kept frame pointers", command, ON, ("JavaMain", "start_thread", "clone")


def stacks(figures: Figures, folder: Path) -> None:
    for name, command, target, names in list(programs(folder)):
        with running(*command, cwd=folder) as process:  # node leaves a log where it runs
            time.sleep(1.5)
            with sampling() as sampler:
                began = time.monotonic()
                sampler.follow({process.pid: target})
                while not sampler.counts() and time.monotonic() - began < 10:
                    time.sleep(0.02)
                first = time.monotonic() - began
                time.sleep(STACKS_S)
                found = sampler.counts()
                aim = 3.0 if name.startswith(("node", "java")) else 1.5
                figures.limit(f"{name}: programs loaded, first sample", first, "s", aim)
                whole = share(found, *names)
                aim = 99.0
                what = f"{name}: whole and named, of {total(found)}"
                figures.add(what, whole, "%", f">= {aim:g}", met=whole >= aim)
            with sampling(unwind=False) as sampler:
                sampler.follow({process.pid: target})
                time.sleep(STACKS_S / 2)
                figures.add(f"{name}: by frame pointers", share(sampler.counts(), *names), "%")
            if target is ON and shutil.which("perf") and name.startswith(("C -O2", "Debian")):
                for graph in ("fp", "dwarf"):
                    figures.add(
                        f"{name}: perf record --call-graph {graph}",
                        by_perf(folder, process.pid, graph, names),
                        "%",
                    )


def by_perf(folder: Path, pid: int, graph: str, names: tuple[str, ...]) -> float:
    """Share of whole stacks as perf has them."""
    record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "99", "--call-graph", graph]
    where = ["-o", str(folder / "perf.data"), "-p", str(pid), "--", "sleep", "2"]
    subprocess.run([*record, *where], check=False, capture_output=True)
    script = ["perf", "script", "-i", str(folder / "perf.data"), "-F", "ip,sym"]
    said = subprocess.run(script, check=False, capture_output=True, text=True).stdout
    found = [
        StackCount(pid, Target.ON_CPU, (), tuple(line.strip() for line in block.splitlines()), 1, 0)
        for block in said.split("\n\n")
        if block.strip()
    ]
    return share(found, *names)


def cost(figures: Figures, folder: Path) -> None:
    slower(figures, folder)
    others(figures, folder)
    memory(figures, folder)
    naming(figures)


def slower(figures: Figures, folder: Path) -> None:
    """Compare the same work in turns, so that a drift of the machine meets both alike."""
    place = folder / "turns"
    place.write_bytes(bytes(4096))
    with place.open("r+b") as file, running(built(folder, "count", profiled.COUNT_C), place) as it:
        shared = mmap.mmap(file.fileno(), 4096)

        def work() -> float:
            ran, done = cpu_seconds(it.pid), struct.unpack_from("<Q", shared)[0]
            time.sleep(TURN_S)
            more = struct.unpack_from("<Q", shared)[0] - done
            return float(more / (cpu_seconds(it.pid) - ran))

        ratios = []
        with sampling() as sampler, running("/bin/sleep", "600") as other:
            sampler.follow({other.pid: ON})
            for turn in range(TURNS):
                done = {}
                for profiled_now in (turn % 2 == 0, turn % 2 == 1):
                    sampler.follow({other.pid: OFF} if not profiled_now else {it.pid: ON})
                    done[profiled_now] = work()
                ratios.append(done[False] / done[True])
    figures.limit("CPU-bound program: slower by", 100 * (statistics.median(ratios) - 1), "%", 1)


def loaded(sampler: KernelSampler) -> ProfilePrograms:
    assert sampler._loaded  # noqa: SLF001  the bench looks inside
    return sampler._loaded.programs  # noqa: SLF001


def others(figures: Figures, folder: Path) -> None:
    pong = built(folder, "pong", profiled.PING_PONG_C)
    nap = built(folder, "nap", profiled.NAP_C)
    split = built(folder, "split", profiled.SPLIT_C)
    with statistics_on():
        with sampling() as sampler, running("/bin/sleep", "600") as it, running(pong):
            sampler.follow({it.pid: OFF})
            program = loaded(sampler).off_cpu
            before = run_time(program)
            time.sleep(3)
            after = run_time(program)
            each = (after[0] - before[0]) / (after[1] - before[1])
            figures.limit("OFF_CPU, a switch of others", each / 1000, "us", 0.3)
        for name, command, target in (("dump", split, ON), ("switch out of its own", nap, OFF)):
            with sampling() as sampler, running(command) as process:
                sampler.follow({process.pid: target})
                which = loaded(sampler).on_cpu if target is ON else loaded(sampler).off_cpu
                before, known = run_time(which), total(sampler.counts())
                time.sleep(3)
                after, met = run_time(which), total(sampler.counts()) - known
                each = (after[0] - before[0]) / max(met, 1)
                figures.add(f"a {name}, others' runs of the program counted in", each / 1000, "us")


AGENT = """
import json, sys, time
from pathlib import Path
from rover.binaries.reader import Reader
from rover.profiling.records import Target
from rover.profiling.sampling import KernelSampler

def private(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    lines = [line.split() for line in text.splitlines() if line.startswith(("Private_", "Shared_"))]
    return sum(int(line[1]) for line in lines if line[0].startswith("Private_")) / 1024

def kernel():
    found = 0
    for path in Path("/proc/self/fdinfo").iterdir():
        try:
            text = path.read_text()
        except OSError:
            continue
        if "map_type" in text:
            found += int(text.partition("memlock:")[2].split()[0])
    return found / 2**20

reader = Reader()
sampler = KernelSampler(reader=reader)
pids = map(int, sys.argv[1].split(","))
at_rest = private("self")
sampler.follow(dict.fromkeys(pids, frozenset({Target.ON_CPU})))
most = child = 0
def spent():
    ticks = int(Path(f"/proc/{reader.pid}/schedstat").read_text().split()[0])
    return time.process_time(), ticks / 1e9

for flush in range(int(sys.argv[2])):
    time.sleep(5)
    sampler.counts()
    most, child = max(most, private("self")), max(child, private(reader.pid))
    if flush == 0:
        began, before = time.monotonic(), spent()
        first = before[1]
lasted = time.monotonic() - began
agent, other = (100 * (now - then) / lasted for now, then in zip(spent(), before))
maps = kernel()
sampler.follow({})
print(json.dumps({"agent": most - at_rest, "child": child, "kernel": maps,
    "after": private("self") - at_rest, "cpu": agent + other, "child_cpu": other,
    "first": first}))
"""


def memory(figures: Figures, folder: Path) -> None:
    """What a process with the sampler takes more while it samples; by its private pages."""
    (folder / "a.py").write_text(profiled.PYTHON)
    targets: list[tuple[str, list[str]]] = [("python3", ["/usr/bin/python3", str(folder / "a.py")])]
    if shutil.which("javac"):
        (folder / "Burns.java").write_text(profiled.JAVA)
        subprocess.run(["javac", "-d", folder, folder / "Burns.java"], check=True)
        targets.append(("java", ["java", "-cp", str(folder), "Burns"]))
    for name, command in targets:
        with running(*command) as process:
            found = as_an_agent([process.pid])
            more = found["agent"] + found["child"]
            figures.limit(f"{name}: agent and its child, more while sampling", more, "MB", 15)
            figures.add(f"{name}: of that the child", found["child"], "MB")
            figures.limit(f"{name}: left after", found["after"], "MB", 1)
            figures.limit(f"{name}: kernel memory of maps", found["kernel"], "MB", 40)
            what = f"{name}: CPU of agent and child, flushes of 5 s after the first"
            figures.limit(what, found["cpu"], "% of a core", 0.5)
            figures.add(f"{name}: of that the child", found["child_cpu"], "% of a core")
            figures.add(f"{name}: child's CPU until the first flush", found["first"], "s")
    with contextlib.ExitStack() as programs:
        command = targets[0][1]
        pids = [programs.enter_context(running(*command)).pid for _ in range(MOST_ENTITIES)]
        found = as_an_agent(pids)
        what = f"{MOST_ENTITIES} at once: CPU of agent and child, flushes of 5 s after the first"
        figures.limit(what, found["cpu"], "% of a core", 1)


def as_an_agent(pids: list[int]) -> dict[str, float]:
    """Sample processes for some flushes in a process of its own, as `AGENT` has it."""
    time.sleep(1)
    said = subprocess.run(
        [sys.executable, "-c", AGENT, ",".join(map(str, pids)), str(FLUSHES)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONMALLOC": "malloc"},
    ).stdout
    found: dict[str, float] = json.loads(said)
    return found


def naming(figures: Figures) -> None:
    reader = Reader()
    code = "import ctypes,sys,time\nctypes.CDLL(sys.argv[1])\nprint(1,flush=True)\ntime.sleep(600)"
    found = [str(path) for path in Path(LIBJVM).rglob("libjvm.so")] or ["libc.so.6"]
    for path in found[:1]:
        with subprocess.Popen(
            ["/usr/bin/python3", "-c", code, path], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout
            process.stdout.readline()
            generation, mappings = reader.look(process.pid, start_ticks(process.pid))
            mapping = max(mappings, key=lambda each: each.end - each.start)
            step = (mapping.end - mapping.start) // 10_000
            asked = [mapping.start + at * step for at in range(10_000)]
            began = time.monotonic()
            names = reader.names(process.pid, generation, asked)
            spent = time.monotonic() - began
            process.kill()
        named = sum("+0x" not in name for name in names)
        figures.limit(f"10,000 addresses of {Path(path).name}", spent, "s", 0.2)
        figures.add("of these named", named, "")
    reader.close()


PARTS = {"counts": counts, "stacks": stacks, "cost": cost}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    chosen = parser.parse_args()
    figures = Figures("what profiling finds and costs", as_json=chosen.json)
    figures.start()
    with tempfile.TemporaryDirectory() as folder:
        for part in chosen.parts or PARTS:
            PARTS[part](figures, Path(folder))
    figures.end()


if __name__ == "__main__":
    main()
