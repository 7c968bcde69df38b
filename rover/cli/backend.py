"""``rover backend``."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rover.cli.backend_profile import profile
from rover.cli.live import GONE_AFTER, show
from rover.cli.patient import patient_output
from rover.cli.terminal import mute
from rover.errors import BackendError, ConfigError
from rover.host_limits import ensure_room
from rover.stopping import StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rover.backend import BackendOptions, Change, EmbeddedBackend

PORT: Final = 11_800
"""The server's own."""
VIOLATIONS_SHOWN: Final = 50

_FILE: Final = click.Path(path_type=Path)
_PORT: Final = click.IntRange(0, 65_535)


@click.group(invoke_without_command=True)
@click.option(
    "--address", default="127.0.0.1", show_default=True, help="Listen here; 0.0.0.0: everywhere."
)
@click.option(
    "--port",
    type=_PORT,
    default=PORT,
    show_default=True,
    help="Listen here; 0: on a free port.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all it holds as JSON at the end.")
@click.option("--watch", is_flag=True, help="Print each change as a line of JSON.")
@click.option(
    "--strict",
    is_flag=True,
    help="End with exit code 1 if a rule of the protocol was broken, and list them.",
)
@click.option(
    "--fault",
    "faults",
    metavar="KIND[:NAME=VALUE,...]",
    multiple=True,
    help="Fail on demand, as error:code=UNAVAILABLE,rate=0.3; may be repeated.",
)
@click.option("--seed", type=int, help="Make faults by rate repeat themselves.")
@click.option(
    "--control",
    "control_port",
    metavar="PORT",
    type=_PORT,
    help="Serve the control interface (HTTP, JSON) on this port of 127.0.0.1.",
)
@click.option("--token", help="Calls must carry this token; seen by all who may list processes.")
@click.option("--token-file", type=_FILE, help="Calls must carry the token that this file holds.")
@click.option("--tls-cert", type=_FILE, help="Certificate with its chain, PEM.")
@click.option("--tls-key", type=_FILE, help="Its key, PEM.")
@click.option("--client-ca", type=_FILE, help="Clients must show a certificate signed by this.")
@click.option("--newer-layers", is_flag=True, help="Know the layers of servers after 10.1 too.")
@click.option(
    "--gone-after",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=GONE_AFTER,
    show_default=True,
    help="Show a process as gone when no beat came for so long.",
)
def backend(
    *,
    as_json: bool,
    watch: bool,
    strict: bool,
    gone_after: float,
    **given: Any,  # noqa: ANN401  as the options above say; _options reads them
) -> None:
    """Run a SkyWalking backend of our own, in memory, and show what agents report to it.

    It ends with Ctrl-C or SIGTERM. SIGUSR1 prints what it holds as one line of JSON at once.

    Faults: refuse, reset, black-hole, slow (bytes-per-second), delay (seconds), error (code,
    details, stored), fewer (items, stored), reorder, drop-ids, wrong-ids, message-limit (size,
    code), token (token). Those that strike calls take method, rate and count as well.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    # gRPC is imported here: --help needs none
    from rover.backend import EmbeddedBackend  # noqa: PLC0415

    ensure_room()
    running = EmbeddedBackend(_options(**given))
    stop = StopRequest()
    with _signals(stop.set, lambda: _print_state(running)), running:
        where = f"rover backend listens on {running.address}"
        if running.control_address:
            where += f", control on http://{running.control_address}"
        if watch or as_json or not sys.stdout.isatty():
            click.echo(where, err=True)
        if watch:
            with patient_output(stop), _watching(running, stop):
                stop.wait()
        elif as_json:
            stop.wait()
        else:
            show(running.state, None, stop, gone_after=gone_after, title=where)
    if as_json:
        _print_state(running)
    if strict:
        _judge(running)


backend.add_command(profile)


def _options(
    *,
    address: str,
    port: int,
    faults: tuple[str, ...],
    seed: int | None,
    control_port: int | None,
    token: str | None,
    token_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    newer_layers: bool,
) -> BackendOptions:
    from rover.backend import (  # noqa: PLC0415  see above
        LAYERS_10_1,
        LAYERS_LATER,
        BackendOptions,
        Tls,
        parse_fault,
    )

    if token is not None and token_file is not None:
        raise click.UsageError("--token and --token-file exclude each other")
    if token_file is not None:
        token = _read_token(token_file)
    tls = None
    if tls_cert is not None and tls_key is not None:
        tls = Tls(tls_cert, tls_key, client_ca)
    elif tls_cert is not None or tls_key is not None or client_ca is not None:
        raise click.UsageError("TLS takes both --tls-cert and --tls-key")
    return BackendOptions(
        host=address,
        port=port,
        tls=tls,
        token=token or "",
        layers=LAYERS_10_1 | LAYERS_LATER if newer_layers else LAYERS_10_1,
        faults=tuple(map(parse_fault, faults)),
        seed=seed,
        control_port=control_port,
    )


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the token from {path}: {error}") from error
    if not token:
        raise ConfigError(f"the token file {path} is empty: write the token into it")
    return token


@contextlib.contextmanager
def _signals(end: Callable[[], None], dump: Callable[[], None]) -> Iterator[None]:
    """End on SIGINT and SIGTERM, dump on SIGUSR1.

    The dump runs in a thread of its own: a handler may interrupt a write to the same stream.
    """

    def ending(_number: int, _frame: object) -> None:
        end()

    def dumping(_number: int, _frame: object) -> None:
        threading.Thread(target=dump, name="rover-backend-dump").start()

    wanted = {signal.SIGINT: ending, signal.SIGTERM: ending, signal.SIGUSR1: dumping}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)


@contextlib.contextmanager
def _watching(running: EmbeddedBackend, stop: StopRequest) -> Iterator[None]:
    """Print each change as a line of JSON; a slow reader slows the calls down."""

    def tell(changes: tuple[Change, ...]) -> None:
        try:
            sys.stdout.write("".join(json.dumps(change.as_dict()) + "\n" for change in changes))
            sys.stdout.flush()
        except BrokenPipeError:
            mute()
            stop.set()

    unsubscribe = running.state.subscribe(tell)
    try:
        yield
    finally:
        unsubscribe()


def _print_state(running: EmbeddedBackend) -> None:
    text = json.dumps(running.state.snapshot().as_dict())
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        mute()


def _judge(running: EmbeddedBackend) -> None:
    held = running.state.snapshot()
    if not held.violations_total:
        return
    lines = [f"- {violation}" for violation in held.violations[:VIOLATIONS_SHOWN]]
    if held.violations_total > len(lines):
        lines.append(f"- and {held.violations_total - len(lines)} more")
    raise BackendError(
        "\n".join([f"rules of the protocol were broken {held.violations_total} times:", *lines])
    )
