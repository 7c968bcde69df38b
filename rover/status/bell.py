"""What wakes a thread that waits for descriptors."""

from __future__ import annotations

import os
import threading


class Bell:
    """A descriptor that is readable once it was rung."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # a thread that outlives the bell must not ring what has its number by then
        self._lock = threading.Lock()
        self._is_open = True

    def fileno(self) -> int:
        """Return what to wait for."""
        return self.descriptor

    def ring(self) -> None:
        """Wake who waits; from any thread, also after the bell was closed."""
        with self._lock:
            if self._is_open:
                os.eventfd_write(self.descriptor, 1)

    def heard(self) -> bool:
        """Tell whether it was rung since this was asked."""
        try:
            return os.eventfd_read(self.descriptor) > 0
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                os.close(self.descriptor)
