"""What a person sees."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
import threading


class Terminal:
    """A pseudo terminal that collects what is drawn on it."""

    def __init__(self, columns, rows):
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._seen = ""
        self._drawn = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        # reading fails once the other side is closed everywhere
        with contextlib.suppress(OSError):
            while piece := os.read(self.ours, 65_536):
                with self._drawn:
                    self._seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", piece.decode())
                    self._drawn.notify_all()

    def wait_for(self, pattern):
        with self._drawn:
            found = self._drawn.wait_for(lambda: re.search(pattern, self._seen), 20)
            assert found, self._seen
            return found
