"""The status page in a browser: Debian's Chromium, without a window."""

from __future__ import annotations

import contextlib
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from status_rig import PRIVATE, Fake, get, serving

from rover.status.listeners import SOCKET_FILE

CHROMIUM = shutil.which("chromium")
LIKE_ROOTS = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr")
PNG = b"\x89PNG\r\n\x1a\n"

browser = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")


def browse(url: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    said = subprocess.run(
        [str(CHROMIUM), *LIKE_ROOTS, f"--user-data-dir={folder / 'profile'}", *options, url],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    complaints = [line for line in said.stderr.splitlines() if ":CONSOLE" in line]
    assert complaints == [], "the browser refused a part of the page"
    return said


class Leading(socketserver.BaseRequestHandler):
    """Leads a request to a socket and the answer back, as `ssh -L PORT:SOCKET` does."""

    def handle(self) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            more = self.request.recv(65_536)
            if not more:
                return
            asked += more
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(self.server.path)
            agent.sendall(asked)
            while answer := agent.recv(65_536):
                self.request.sendall(answer)


@contextlib.contextmanager
def led_to(path: Path) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Leading) as server:
        server.path = str(path)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving(tmp_path, answers=Fake()) as service:
        yield service.port


@browser
def test_on_the_port_it_shows_states_and_charts_and_where_processes_are_told(
    port: int, tmp_path: Path
):
    shown = browse(f"http://127.0.0.1:{port}/", tmp_path, "--dump-dom").stdout
    assert "Processes reported" in shown
    assert "<svg" in shown
    assert str(tmp_path / SOCKET_FILE) in shown
    assert "mysqld" not in shown
    assert PRIVATE not in shown


@browser
@pytest.mark.parametrize("width", [360, 1_280])
def test_it_is_drawn_at_the_width_of_a_phone_and_of_a_desk(port: int, tmp_path: Path, width: int):
    picture = tmp_path / "picture.png"
    browse(
        f"http://127.0.0.1:{port}/", tmp_path, f"--window-size={width},1200",
        f"--screenshot={picture}",
    )  # fmt: skip
    assert picture.read_bytes().startswith(PNG)


@browser
def test_by_the_socket_it_shows_processes_and_finds_them(port: int, tmp_path: Path):  # noqa: ARG001
    with led_to(tmp_path / SOCKET_FILE) as local:
        shown = browse(f"http://localhost:{local}/?q=mysqld", tmp_path, "--dump-dom").stdout
        assert "4711" in shown
        assert PRIVATE in shown
        none = browse(f"http://localhost:{local}/?q=nginx", tmp_path, "--dump-dom").stdout
        assert "4711" not in none


def test_a_name_that_is_none_of_the_agents_own_is_not_answered_on_the_socket_either(
    port: int,  # noqa: ARG001
    tmp_path: Path,
):
    with led_to(tmp_path / SOCKET_FILE) as local:
        assert get(local, "/", host=f"localhost:{local}")[0] == 200
        for path in ("/", "/why?pid=1", "/metrics"):
            status, text = get(local, path, host="evil.example")
            assert status == 421
            assert PRIVATE not in text


def test_a_page_in_a_browser_changes_nothing(port: int, tmp_path: Path):  # noqa: ARG001
    with (
        led_to(tmp_path / SOCKET_FILE) as local,
        socket.create_connection(("127.0.0.1", local)) as asker,
    ):
        asker.sendall(
            b"POST /log-level?level=DEBUG&seconds=60 HTTP/1.1\r\nHost: localhost\r\n"
            b"Origin: http://evil.example\r\n\r\n"
        )
        assert asker.recv(65_536).startswith(b"HTTP/1.1 403 ")


def test_head_is_answered(port: int):
    assert get(port, "/", "HEAD") == (200, "")
