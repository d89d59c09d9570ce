"""The Ray cluster that a fleet works on: one of its own on this machine, or one that runs already."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from typing import Any

from saber.errors import SaberError

OBJECT_STORE_BYTES = 200 * 2**20
"""Shared memory of a local cluster: edits are megabytes, models are built in the workers."""

ANSWER_SECONDS = 10.0
"""How long a cluster's address may take to answer."""

_SETTINGS = b"\x04"
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + _SETTINGS + b"\0\0\0\0\0"
"""How an HTTP/2 client begins (RFC 9113, 3.4); a gRPC server answers with a SETTINGS frame, type at byte 3."""

_PORTS = {"ray": 10001, "gcs": 6379}


@dataclass(frozen=True)
class Connection:
    """This process's connection to a cluster.

    Attributes:
        address: As it was asked for.
        ours: Whether this connection was made here, so that closing it ends it (and a local cluster with it).
    """

    address: str
    ours: bool

    def room(self, workers: int | None, *, threads: int, gpus: float) -> int:
        """How many workers to start: as many as asked for, or as many as fit.

        Raises:
            SaberError: They do not fit into the cluster, or none does.
        """
        import ray

        total: dict[str, Any] = ray.cluster_resources()
        fit = int(total.get("CPU", 0) / threads)
        if gpus > 0:
            fit = min(fit, int(total.get("GPU", 0) / gpus + 1e-9))
        count = fit if workers is None else workers
        if not 1 <= count <= fit:
            needs = f"{threads} CPU" + (f" and {gpus:g} GPU" if gpus > 0 else "")
            raise SaberError(
                f"{count} workers of {needs} each do not fit into the cluster {self.address!r}, which has "
                f"{total.get('CPU', 0):g} CPU and {total.get('GPU', 0):g} GPU",
                hint=f"Ask for 1 to {fit} workers."
                if fit
                else "Join a larger cluster, or reserve less a worker.",
            )
        return count

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        import ray

        if self.ours:
            ray.shutdown()


def connect(address: str, *, workers: int | None, threads: int, gpus: float) -> Connection:
    """Start or join a cluster; a process that is connected already keeps its connection.

    Raises:
        SaberError: Ray is not installed, or nobody answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use over the network
    # it would also warn where a worker reserves no GPU (such a worker sees them all),
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # and tell of each worker that dies, on the driver's output: the fleet sees to them
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^A worker died or was killed")
    try:
        import ray
    except ImportError:
        raise SaberError("Ray is not installed", hint="pip install saber-llm[ray]") from None
    if ray.is_initialized():
        return Connection(address, ours=False)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        cpus = max((workers or 1) * threads, os.cpu_count() or 1)
        ray.init(
            "local", num_cpus=cpus, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet
        )
    else:
        if address != "auto":
            _knock(address)
        _join(address, quiet)
    return Connection(address, ours=True)


def _join(address: str, quiet: dict[str, Any]) -> None:
    import ray

    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _nobody(address, str(error).splitlines()[0]) from error


def _knock(address: str) -> None:
    """See that a gRPC server is at an address before Ray tries for minutes.

    Raises:
        SaberError: Nothing or something else listens there, or it is not an address.
    """
    scheme, _, rest = address.rpartition("://")
    host, colon, port = rest.rpartition(":")
    if not colon:
        host, port = rest, str(_PORTS["ray" if scheme else "gcs"])
    if scheme not in ("", "ray") or not host or not port.isdigit():
        raise SaberError(
            f"{address!r} is not the address of a Ray cluster",
            hint="local, auto, HOST:PORT, or ray://HOST:PORT.",
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS) as line:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                line.sendall(_HELLO)
                reply = line.recv(9)
                if reply[3:4] != _SETTINGS:
                    raise ConnectionError("what listens there is no Ray cluster")
    except (OSError, OverflowError) as error:
        raise _nobody(address, str(error)) from error


def _nobody(address: str, why: str) -> SaberError:
    return SaberError(
        f"no Ray cluster answers at {address!r}: {why}",
        hint="Start one with `ray start --head` and give its address, or use `local`.",
    )
