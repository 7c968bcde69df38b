"""Programs whose first thread ends before their second."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

EXIT_NUMBER = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
PYTHON = f"""
import ctypes, threading, time, sys
def work():
    sys.stdin.read()
threading.Thread(target=work).start()
time.sleep(0.4)
# ends this thread alone: the process goes on without its leader
ctypes.CDLL(None).syscall({EXIT_NUMBER}, 0)
"""
"""Its second thread ends with its standard input."""

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
    """Compile one; its argument is after how many milliseconds the first thread ends."""
    program = folder / "leader-ends"
    compiler = ["cc", "-x", "c", "-", "-pthread", "-o", program]
    subprocess.run(compiler, input=SOURCE, text=True, check=True)
    return program
