"""A program whose first thread ends before its second."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = """
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static void *work(void *none) { for (;;) pause(); return none; }
int main(int count, char **arguments)
{
	pthread_t thread;
	pthread_create(&thread, 0, work, 0);
	usleep(1000 * atoi(arguments[1]));
	syscall(SYS_exit, 0); /* this thread alone */
}
"""


def build(folder: Path) -> Path:
    """Compile it; its argument is after how many milliseconds the first thread ends."""
    program = folder / "leader-ends"
    compiler = ["cc", "-x", "c", "-", "-pthread", "-o", program]
    subprocess.run(compiler, input=SOURCE, text=True, check=True)
    return program
