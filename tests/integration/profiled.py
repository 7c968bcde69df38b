"""Programs to be profiled: what they are made of, started, and sampled on the real kernel."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rover.profiling.records import StackCount, Target
from rover.profiling.sampling import KernelSampler

ON = frozenset({Target.ON_CPU})
OFF = frozenset({Target.OFF_CPU})

SPLIT_C = """
#include <pthread.h>
#include <stdlib.h>
volatile unsigned long sink;
#define N __attribute__((noinline))
N static void spin(long n) { for (long i = 0; i < n; i++) sink += i * i; }
N void heavy(void) { spin(700000); sink++; }
N void medium(void) { spin(200000); sink++; }
N void light(void) { spin(100000); sink++; }
N void *work(void *none) { for (;;) { heavy(); medium(); light(); } return none; }
int main(int argc, char **argv) {
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t thread;
	for (int i = 1; i < threads; i++) pthread_create(&thread, 0, work, 0);
	work(0);
}
"""
NAP_C = """
#include <unistd.h>
volatile long sink;
__attribute__((noinline)) void nap(void) { usleep(2000); sink++; }
int main(void) { for (;;) nap(); }
"""
DEEP_C = """
volatile long sink;
__attribute__((noinline)) long down(int n) {
	char room[64]; room[0] = n; asm volatile("" :: "r"(room) : "memory");
	if (!n) { for (long i = 0; i < 1000000; i++) sink += i; return room[0]; }
	long r = down(n - 1); sink += r; return r + room[0];
}
int main(void) { for (;;) sink += down(100); }
"""


def built(folder: Path, name: str, source: str, *flags: str) -> Path:
    """Compile a C program without frame pointers."""
    program, text = folder / name, folder / f"{name}.c"
    text.write_text(source)
    options = ["-O2", "-fomit-frame-pointer", *flags]
    subprocess.run(["gcc", *options, "-o", program, text, "-lpthread", "-ldl"], check=True)
    return program


@contextlib.contextmanager
def running(*command: str | Path, **how: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block."""
    process = subprocess.Popen(
        [str(each) for each in command],
        stdout=subprocess.DEVNULL,
        **how,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def sampled(
    sampler: KernelSampler,
    pid: int,
    enough: Callable[[Sequence[StackCount]], bool],
    within: float = 30,
) -> Sequence[StackCount]:
    """Read until there is enough; fail where there never is."""
    until = time.monotonic() + within
    while True:
        stacks = [stack for stack in sampler.counts() if stack.pid == pid]
        if enough(stacks):
            return stacks
        if time.monotonic() > until:
            raise AssertionError(f"not within {within:g} s: {stacks[:20]}")
        time.sleep(0.1)


def counted(stacks: Sequence[StackCount], *names: str) -> int:
    """Return how many were met whose user frames have all these names, in this order."""

    def has(user: tuple[str, ...]) -> bool:
        left = iter(user)
        return all(any(name in frame for frame in left) for name in names)

    return sum(stack.count for stack in stacks if has(stack.user))


def total(stacks: Sequence[StackCount]) -> int:
    return sum(stack.count for stack in stacks)


def cpu_seconds(pid: int) -> float:
    """Return what a process has run, from its scheduler's own clock, in all threads."""
    return (
        sum(
            int(path.read_text().split()[0])
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
        )
        / 1e9
    )


def switches(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)
