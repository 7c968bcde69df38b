"""A thread that cannot read /proc, as BCC compiles in."""

from __future__ import annotations

from pathlib import Path

import pytest

from rover.probes import without_proc

HAS_LANDLOCK = without_proc.landlock_version() > 0
SYMBOLS = Path("/proc/kallsyms")


@pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock")
def test_it_cannot_read_the_kernels_symbols_and_the_others_can():
    with pytest.raises(PermissionError):
        without_proc.run(SYMBOLS.open)
    SYMBOLS.open().close()


def test_it_reads_what_is_elsewhere(tmp_path: Path):
    file = tmp_path / "source.c"
    file.write_text("int main;")
    assert without_proc.run(file.read_text) == "int main;"
    assert without_proc.run(lambda: Path("/sys/kernel/notes").read_bytes()[:0]) == b""


def test_what_it_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        without_proc.run(lambda: 1 // 0)


def test_a_kernel_without_landlock_lets_it_read_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(without_proc, "CREATE_RULESET", 100_000)  # no such system call
    assert not without_proc.run(without_proc.confine)
    without_proc.run(SYMBOLS.open).close()
