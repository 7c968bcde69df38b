"""deploy/install-bcc.sh refuses what cannot run the agent, before it installs anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "deploy" / "install-bcc.sh"


def test_a_python_that_is_too_old_is_refused_in_one_line(tmp_path: Path):
    old = tmp_path / "python3"
    # as Debian 11's answers
    old.write_text("#!/bin/sh\necho 3.9.2 False\n")
    old.chmod(0o755)
    apt = tmp_path / "apt-get"
    apt.write_text(f"#!/bin/sh\ntouch {tmp_path}/installed\n")
    apt.chmod(0o755)
    script = SCRIPT.read_text().replace("/usr/bin/python3", str(old))
    run = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert line.startswith("rover needs Python 3.11 or later")
    assert line.endswith("here is 3.9.2")
    assert not (tmp_path / "installed").exists()
