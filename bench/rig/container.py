"""The container of deploy/daemonset.yaml, as far as a host without a cluster can make one.

Its rights, mounts, variables and command are read from the manifest. Its root is the host's, under
an overlay, or a tree of its own. The network is the host's, where backend and API server are.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.rig import agent
from bench.rig.manifest import CHECKOUT, manifest, quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.rig.cgroup import MemoryCgroup

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Mount:
    path: str
    """Where the container sees it."""
    source: str
    """``hostPath:/path`` or ``configMap:name``."""
    read_only: bool


@dataclass(frozen=True)
class Container:
    """What a kubelet makes of a DaemonSet with one container."""

    command: tuple[str, ...]
    env: dict[str, str]
    capabilities: tuple[str, ...]
    mounts: tuple[Mount, ...]
    host_pid: bool
    read_only_root: bool
    no_new_privileges: bool
    user: int
    memory: int
    """Bytes that it may use."""

    @classmethod
    def of_manifest(cls, node: str) -> Container:
        """Read the DaemonSet.

        Args:
            node: Name of the node, for the downward API.
        """
        pod = manifest("DaemonSet")["spec"]["template"]["spec"]
        (spec,) = pod["containers"]
        security = spec["securityContext"]
        assert security["capabilities"]["drop"] == ["ALL"]
        assert not security["privileged"]
        volumes = {each["name"]: _source(each) for each in pod["volumes"]}
        return cls(
            command=(*spec["command"],),
            env={each["name"]: _value(each, node) for each in spec["env"]},
            capabilities=tuple(security["capabilities"]["add"]),
            mounts=tuple(
                Mount(each["mountPath"], volumes[each["name"]], each.get("readOnly", False))
                for each in spec["volumeMounts"]
            ),
            host_pid=pod.get("hostPID", False),
            read_only_root=security["readOnlyRootFilesystem"],
            no_new_privileges=not security["allowPrivilegeEscalation"],
            user=security["runAsUser"],
            memory=quantity(spec["resources"]["limits"]["memory"]),
        )

    def started_by(
        self,
        folder: Path,
        sources: Mapping[str, Path],
        *,
        account: Path | None = None,
        root: Path | None = None,
        wrap: tuple[str, ...] = (),
    ) -> list[str]:
        """Return a command that becomes the container's, for root on a host with tracefs.

        With `host_pid` it keeps its pid all the way.

        Args:
            folder: Empty or not there yet, for mounts of this container alone.
            sources: What stands for the volumes' sources; those not named stand for themselves.
            account: Directory with the ServiceAccount's token, ca.crt and namespace.
            root: Tree of an image; None for this host's own, in which the checkout is installed.
            wrap: Command to start the container's own with, after its rights are set.
        """
        mounts = [
            (mount.path, sources.get(mount.source, Path(mount.source.partition(":")[2])), mount)
            for mount in self.mounts
        ]
        new_root = folder / "root"
        lines = [
            "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing",
            f"mkdir -p {_q(folder)}; mount -t tmpfs tmpfs {_q(folder)}",
            f"cd {_q(folder)}; mkdir upper work root",
            f"below={_q(root or '/')}",
            'mount -t overlay overlay root -o "lowerdir=$below,upperdir=upper,workdir=work"',
        ]
        for path in () if root else ("/usr", CHECKOUT):  # may be file systems of their own
            lines += _bind(path, new_root, str(path), read_only=True)
        lines += [
            f"mount -t proc proc {_q(new_root)}/proc",
            f"mount -t sysfs -o ro sysfs {_q(new_root)}/sys",
            f"mount --rbind /dev {_q(new_root)}/dev",
        ]
        for path, source, mount in mounts:
            lines += _bind(source, new_root, path, read_only=mount.read_only)
        if account:
            lines += _bind(account, new_root, ACCOUNT, read_only=True)
        if self.read_only_root:
            lines.append(f"mount -o remount,bind,ro {_q(new_root)}")
        rights = ",".join(["-all", *(f"+{name.lower()}" for name in self.capabilities)])
        privileges = ["--no-new-privs"] if self.no_new_privileges else []
        variables = [f"{name}={value}" for name, value in self.env.items()]
        final = [
            *("chroot", str(new_root)),
            *("setpriv", f"--bounding-set={rights}", "--inh-caps=-all", *privileges),
            *("env", "-i", *variables, *wrap, *self.command),
        ]
        lines.append(f"exec {shlex.join(final)}")
        namespaces = ["--mount", "--propagation=private"]
        if not self.host_pid:
            namespaces += ["--pid", "--fork", "--kill-child"]
        return ["unshare", *namespaces, "sh", "-ec", "\n".join(lines)]


def volumes(folder: Path, files: Mapping[str, str]) -> dict[str, Path]:
    """Make what stands for the sources of the manifest's volumes, in a folder.

    Args:
        folder: Where they are made; the state that is there already is kept.
        files: The ConfigMap's, by their names.
    """
    state, config = folder / "state", folder / "config"
    state.mkdir(exist_ok=True)
    config.mkdir(exist_ok=True)
    for name, text in files.items():
        (config / name).write_text(text)
    return {"hostPath:/var/lib/rover": state, "configMap:rover": config}


@contextlib.contextmanager
def running(
    container: Container,
    folder: Path,
    files: Mapping[str, str],
    *,
    root: Path | None = None,
    cgroup: MemoryCgroup | None = None,
) -> Iterator[tuple[int, Path]]:
    """Run an agent's container until the end of the block; give its pid and its log.

    Args:
        container: It sees the host's pids.
        folder: For its volumes, mounts and log.
        files: The ConfigMap's, by their names.
        root: As for `Container.started_by`.
        cgroup: What it runs in.
    """
    command = container.started_by(folder / "mounts", volumes(folder, files), root=root)
    log = folder / "log"
    with agent.started(cgroup.entered_by(command) if cgroup else command, log) as pid:
        yield pid, log


def _source(volume: dict[str, Any]) -> str:
    if "hostPath" in volume:
        return f"hostPath:{volume['hostPath']['path']}"
    return f"configMap:{volume['configMap']['name']}"


def _value(variable: dict[str, Any], node: str) -> str:
    if "value" in variable:
        return str(variable["value"])
    return {"spec.nodeName": node}[variable["valueFrom"]["fieldRef"]["fieldPath"]]


def _bind(source: Path | str, root: Path, path: str, *, read_only: bool) -> list[str]:
    """Mount something below a root, where a link must not lead out of it."""
    place = f"{_q(root)}{_q(os.path.realpath(path))}"
    lines = [f"[ -e {place} ] || mkdir -p {place}", f"mount --bind {_q(source)} {place}"]
    return [*lines, f"mount -o remount,bind,ro {place}"] if read_only else lines


def _q(text: Path | str) -> str:
    return shlex.quote(str(text))
