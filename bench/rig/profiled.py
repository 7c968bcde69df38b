"""Programs to be profiled, built without frame pointers, and what the kernel says of their time."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

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
"""Spends 70, 20 and 10 % of its time in three functions, in as many threads as it is told."""

NAP_C = """
#include <unistd.h>
volatile long sink;
__attribute__((noinline)) void nap(void) { usleep(2000); sink++; }
int main(void) { for (;;) nap(); }
"""

READ_C = """
#include <unistd.h>
volatile long sink;
__attribute__((noinline)) void read_wait(int from) { char c; sink += read(from, &c, 1); sink++; }
__attribute__((noinline)) void reader(int from) { for (;;) { read_wait(from); sink++; } }
int main(void) {
	int ends[2];
	if (pipe(ends)) return 1;
	if (!fork()) for (;;) { usleep(2000); sink += write(ends[1], "x", 1); }
	reader(ends[0]);
}
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

COUNT_C = """
#include <fcntl.h>
#include <sys/mman.h>
volatile unsigned long sink;
int main(int argc, char **argv) {
	volatile unsigned long *turns = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
		open(argv[1], O_RDWR), 0);
	for (;;) { for (long i = 0; i < 10000; i++) sink += i * i; turns[0]++; }
}
"""
"""Tells in a file how often it has done its work."""

PING_PONG_C = """
#include <unistd.h>
int main(void) {
	int there[2], back[2];
	char c = 0;
	if (pipe(there) || pipe(back)) return 1;
	if (!fork()) for (;;) if (read(there[0], &c, 1) != 1 || write(back[1], &c, 1) != 1) return 0;
	close(there[0]);
	for (;;) if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1) return 0;
}
"""

THROWS_CC = """
#include <stdexcept>
volatile long sink;
struct Worker {
  __attribute__((noinline)) void leaf(int n) { for (int i = 0; i < 20000; i++) sink += i;
    if (n % 2) throw std::runtime_error("odd"); sink++; }
  __attribute__((noinline)) void run() { for (int i = 0;; i++)
    try { leaf(i); } catch (std::exception &e) { sink += e.what()[0]; } }
};
int main() { Worker w; w.run(); }
"""

RUST = """
use std::hint::black_box;
#[inline(never)] fn leaf(n: u64) -> u64 { (0..n).fold(0, |s, i| black_box(s + i * i)) }
#[inline(never)] fn branch(n: u64) -> u64 { black_box(leaf(n)) + 1 }
fn main() { loop { black_box(branch(100000)); } }
"""

GO = """package main
var sink int
//go:noinline
func leaf(n int) { for i := 0; i < n; i++ { sink += i * i } }
//go:noinline
func branch(n int) { leaf(n); leaf(n); sink++ }
func main() { for { branch(2000000) } }
"""

GO_AND_C = """package main
/*
static volatile long sink;
__attribute__((noinline)) static void c_leaf(long n) { for (long i = 0; i < n; i++) sink += i; }
__attribute__((noinline)) static void c_branch(long n) { c_leaf(n); sink++; }
static void c_run(long n) { c_branch(n); }
*/
import "C"
var sink int
//go:noinline
func calls() { C.c_run(3000000); sink++ }
//go:noinline
func leaf() { for i := 0; i < 3000000; i++ { sink += i * i } }
func main() { for { calls(); leaf() } }
"""
"""As much time in C as in Go."""

GO_NAPS = """package main
import "time"
func main() {
	for i := 0; i < 4; i++ { go func() { for { time.Sleep(2 * time.Millisecond) } }() }
	select {}
}
"""

PYTHON = """
def leaf(n):
    return sum(i * i for i in range(n))
def branch(n):
    return leaf(n) + leaf(n)
while True:
    branch(20000)
"""

NODE = """
function leaf(n) { let s = 0; for (let i = 0; i < n; i++) s += Math.sqrt(i) * i; return s }
function branch(n) { return leaf(n) + leaf(n) }
for (;;) branch(200000)
"""

JAVA = """
public class Burns {
  static double sink;
  static double leaf(int n) {
    double s = 0; for (int i = 0; i < n; i++) s += Math.sin(i); return s; }
  static double branch(int n) { return leaf(n) + leaf(n + 1); }
  public static void main(String[] a) { for (;;) sink += branch(20000); }
}
"""


def built(folder: Path, name: str, source: str, *flags: str) -> Path:
    """Compile a C program without frame pointers."""
    program, text = folder / name, folder / f"{name}.c"
    text.write_text(source)
    options = ["-O2", "-fomit-frame-pointer", *flags]
    subprocess.run(["gcc", *options, "-o", program, text, "-lpthread", "-ldl"], check=True)
    return program


def built_cc(folder: Path) -> Path:
    (folder / "throws.cc").write_text(THROWS_CC)
    command = ["g++", "-O2", "-o", folder / "throws", folder / "throws.cc"]
    subprocess.run(command, check=True)
    return folder / "throws"


def built_rust(folder: Path) -> Path:
    (folder / "a.rs").write_text(RUST)
    subprocess.run(["rustc", "-O", "-o", folder / "rust", folder / "a.rs"], check=True)
    return folder / "rust"


def built_go(folder: Path, flags: str = "", source: str = GO, mode: str = "exe") -> Path:
    place = folder / "go"
    place.mkdir(exist_ok=True)
    (place / "main.go").write_text(source)
    (place / "go.mod").write_text("module x\ngo 1.20\n")
    command = ["go", "build", "-buildmode", mode, "-ldflags", flags, "-o", "burns", "."]
    subprocess.run(command, check=True, cwd=place)
    return place / "burns"


def pythons_with_perf() -> list[str]:
    """Pythons of 3.12 and later, which tell of their functions with `-X perf`."""
    named = [shutil.which(f"python3.{minor}") for minor in (12, 13, 14)]
    homes = sorted(Path.home().glob(".pyenv/versions/3.1[2-9].*/bin/python3"))
    found = [*map(str, homes), *filter(None, named)]
    return [each for each in found if _knows_perf(each)][:1]


def _knows_perf(python: str) -> bool:
    code = "import sys; sys.exit(not sys._is_perf_supported())"
    how = subprocess.run([python, "-c", code], capture_output=True, check=False)
    if how.returncode:
        code = "import sys; sys.activate_stack_trampoline('perf')"
        how = subprocess.run([python, "-c", code], capture_output=True, check=False)
    return how.returncode == 0


@contextlib.contextmanager
def running(*command: str | Path, **how: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block, and what it has started."""
    process = subprocess.Popen(
        [str(each) for each in command],
        stdout=subprocess.DEVNULL,
        **how,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        for child in children:
            subprocess.run(["kill", "-9", child], check=False)
        for left in Path("/", "tmp").glob(f"perf-{process.pid}.map"):
            left.unlink()


def cpu_seconds(pid: int) -> float:
    """Return what a process has run, from its scheduler's own clock, in all threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in tasks) / 1e9


def switches(pid: int) -> int:
    """Return how often a process's first thread was switched out."""
    text = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)
