"""The wish to end may come from a signal handler, between any two instructions."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

from rover.stopping import StopRequest


def test_it_is_set_once_and_for_all():
    stop = StopRequest()
    assert not stop.is_set()
    assert not stop.wait(0)
    stop.set()
    stop.set()
    assert stop.is_set()
    assert stop.wait()
    assert stop.wait(0)
    assert stop.is_set()


def test_every_waiting_thread_is_woken():
    stop = StopRequest()
    woken = []
    threads = [threading.Thread(target=lambda: woken.append(stop.wait(10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(10)
    assert woken == [True] * 4


SIGNALLED = """
import signal, time
from rover.stopping import StopRequest

stop = StopRequest()

def ask(number, frame):
    stop.set()
    stop.is_set()

signal.signal(signal.SIGALRM, ask)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
until = time.monotonic() + 1
while time.monotonic() < until:
    for _ in range(1000):
        stop.wait(0)
    stop = StopRequest()
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_at_any_moment_of_a_wait_is_no_deadlock():
    """The same program with `threading.Event` does not survive its first second."""
    done = subprocess.run([sys.executable, "-c", SIGNALLED], timeout=30, check=False)
    assert done.returncode == 0, signal.strsignal(-done.returncode)


def test_what_is_to_be_done_meanwhile_is_done_by_who_waits_and_ends_no_wait():
    stop, done = StopRequest(), []
    stop.meanwhile(lambda: done.append(1))
    assert not stop.wait(0.01)
    assert done == [1]
    stop.meanwhile(lambda: done.append(2))
    stop.meanwhile(stop.set)
    assert stop.wait(5)
    assert done == [1, 2]


ON_ANOTHER_THREAD = """
import signal, threading, time
from rover.stopping import StopRequest

stop = StopRequest()
signal.signal(signal.SIGTERM, lambda *_: stop.set())

def send():
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(20)

threading.Thread(target=send, daemon=True).start()
assert stop.wait(10)
"""


def test_a_signal_that_another_thread_is_given_ends_the_wait():
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", ON_ANOTHER_THREAD], timeout=30, check=False)
    assert done.returncode == 0
    assert time.monotonic() - began < 8
