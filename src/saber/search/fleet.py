"""Many replicas of one model on many GPUs or machines: Ray actors that are replaced when they die.

Every worker is one process with one replica. A task goes to one living worker at a time; its result is delivered
once. When a worker dies (killed, out of memory, its machine gone), another takes its place and its task runs again.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from saber.errors import SaberError
from saber.search.cluster import Connection, connect
from saber.search.replica import Refusal, Replica

DEATHS = 3
"""How many workers a task may kill before the search gives up on it."""

PLACE_SECONDS = 60.0
"""How long the cluster may take to start a worker's process; building its replica may take longer."""

Key = Hashable
Task = tuple[Key, tuple[Any, ...]]


class Fleet:
    """Workers that each hold one replica of what `build` makes.

    Args:
        build: Makes a replica, in the worker's process; Ray pickles it by cloudpickle.
        workers: How many; None takes one for each of the cluster's GPUs (by `gpus_per_worker`), else CPU threads.
        address: `local` starts a cluster on this machine and stops it at the end; `auto` finds the one that runs
            here; `HOST:PORT` or `ray://HOST:PORT` joins that one. A process that is connected already stays so.
        gpus_per_worker: Share of a GPU that a worker reserves; with 0 none, and each worker sees them all.
        threads: CPU threads of a worker.

    Raises:
        SaberError: On entering: Ray is missing, nobody answers at the address, the cluster is too small, or a
            replica cannot be built.
    """

    def __init__(
        self,
        build: Callable[[], Any],
        *,
        workers: int | None = None,
        address: str = "local",
        gpus_per_worker: float = 0.0,
        threads: int = 1,
    ) -> None:
        self._build = build
        self._wanted = workers
        self._address = address
        self._gpus = gpus_per_worker
        self._threads = threads
        self._connection: Connection | None = None
        self._workers: list[Any] = []

    def __enter__(self) -> Fleet:
        self._connection = connect(
            self._address, workers=self._wanted, threads=self._threads, gpus=self._gpus
        )
        try:
            count = self._connection.room(self._wanted, threads=self._threads, gpus=self._gpus)
            self._workers = [self._start() for _ in range(count)]
            self._await_processes()
            self._await_replicas()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers, and the cluster if it is ours."""
        if self._connection is not None:
            import ray

            if ray.is_initialized():
                for worker in self._workers:
                    ray.kill(worker)
            self._workers = []
            self._connection.close()
            self._connection = None

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def processes(self) -> list[int]:
        """The process id of every worker, on its own machine."""
        import ray

        return list(ray.get([worker.ping.remote() for worker in self._workers]))

    def map(self, method: str, tasks: Sequence[Task]) -> Iterator[tuple[Key, Any]]:
        """Call a method of the replicas once for every task.

        Args:
            method: Name of the method.
            tasks: Key, which is unique, and arguments of each.

        Yields:
            Key and result, in the order in which they are finished.

        Raises:
            SaberError: A key is there twice, a task killed its worker `DEATHS` times, or no worker can be had.
            Exception: What a task raised, as it was; the tasks that were under way are delivered before it.
        """
        if len({key for key, _ in tasks}) != len(tasks):
            raise SaberError("two tasks of a fleet have the same key", hint="Please report this.")
        return _Round(self, method, tasks).results()

    def _start(self) -> Any:
        """Ask the cluster for one more worker."""
        import ray

        options = {
            "num_cpus": self._threads,
            "num_gpus": self._gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        try:
            return ray.remote(Replica).options(**options).remote(self._build, self._threads)
        except TypeError as error:  # the message lists every variable that was looked into
            raise SaberError(
                f"what makes a replica cannot be sent to a worker: {str(error).splitlines()[0]}",
                hint="Give a function of a module, or functools.partial of one, with arguments that pickle.",
            ) from error

    def _replace(self, worker: Any) -> Any:
        """Put a new worker in the place of one that died, or that cannot be reached any more."""
        import ray

        ray.kill(worker)
        new = self._start()
        self._workers[self._workers.index(worker)] = new
        return new

    def _await_processes(self) -> None:
        import ray

        pings = [worker.ping.remote() for worker in self._workers]
        ready, late = ray.wait(pings, num_returns=len(pings), timeout=PLACE_SECONDS)
        if late:
            raise SaberError(
                f"only {len(ready)} of {len(pings)} workers were started within {PLACE_SECONDS:.0f} s",
                hint="The cluster is busy or too small: ask for fewer workers, or a smaller share of a GPU for each.",
            )

    def _await_replicas(self) -> None:
        import ray

        try:
            for refused in ray.get([worker.prepare.remote() for worker in self._workers]):
                if refused is not None:
                    raise refused.error()
        except ray.exceptions.RayTaskError as error:
            raise _original(error) from None
        except _deaths() as error:
            raise SaberError(
                f"a worker died while it built its replica: {_first_line(error)}",
                hint="Often memory: ask for fewer workers on a machine, or load the model in a smaller dtype.",
            ) from error


class _Round:
    """One `map`: which tasks wait, and which worker does what."""

    def __init__(self, fleet: Fleet, method: str, tasks: Sequence[Task]) -> None:
        self._fleet = fleet
        self._method = method
        self._waiting = deque(tasks)
        self._idle = list(fleet._workers)
        self._flying: dict[Any, tuple[Any, Task | None]] = {}  # a worker without a task is being started
        self._killed: Counter[Key] = Counter()

    def results(self) -> Iterator[tuple[Key, Any]]:
        """Key and result of every task, in the order in which they are finished."""
        raised: BaseException | None = None
        while self._flying or (self._waiting and raised is None):
            while self._idle and self._waiting and raised is None:
                self._submit(self._idle.pop(), self._waiting.popleft())
            if raised is not None and not any(task for _, task in self._flying.values()):
                break
            worker, task, outcome = self._next()
            if isinstance(outcome, _Died):
                self._mourn(worker, task, outcome)
                continue
            self._idle.append(worker)
            if isinstance(outcome, _Raised):
                raised = raised or outcome.error
            elif task is not None:
                yield task[0], outcome
        if raised is not None:
            raise raised

    def _submit(self, worker: Any, task: Task) -> None:
        self._flying[worker.run.remote(self._method, task[1])] = (worker, task)

    def _next(self) -> tuple[Any, Task | None, Any]:
        """Wait for a worker: itself, its task, and the task's result or what became of it.

        Raises:
            SaberError: All workers died and the cluster starts no other.
        """
        import ray

        working = any(task for _, task in self._flying.values())
        done, _ = ray.wait(list(self._flying), num_returns=1, timeout=None if working else PLACE_SECONDS)
        if not done:
            raise SaberError(
                f"every worker died, and the cluster started no other within {PLACE_SECONDS:.0f} s",
                hint="Look at the cluster with `ray status`, then resume: finished evaluations are not run again.",
            )
        worker, task = self._flying.pop(done[0])
        try:
            result = ray.get(done[0])
        except ray.exceptions.RayTaskError as error:
            return worker, task, _Raised(_original(error))
        except _deaths() as error:
            return worker, task, _Died(_first_line(error))
        if isinstance(result, Refusal):
            return worker, task, _Raised(result.error())
        return worker, task, result

    def _mourn(self, worker: Any, task: Task | None, died: _Died) -> None:
        """Replace a dead worker; its task goes to the head of the line.

        Raises:
            SaberError: This task killed too many.
        """
        key = "starting a worker" if task is None else task[0]
        self._killed[key] += 1
        if self._killed[key] >= DEATHS:
            raise SaberError(
                f"{DEATHS} workers died on task {key!r}: {died.why}",
                hint="Often memory: fewer workers on a machine, smaller batches, or a smaller dtype. "
                "Resume goes on after the finished ones.",
            )
        if task is not None:
            self._waiting.appendleft(task)
        new = self._fleet._replace(worker)
        self._flying[new.ping.remote()] = (new, None)  # a task goes only to a worker that lives


@dataclass(frozen=True)
class _Died:
    """A worker that did not come back."""

    why: str


@dataclass(frozen=True)
class _Raised:
    """A task that raised."""

    error: BaseException


def _deaths() -> tuple[type[Exception], ...]:
    """What Ray raises when a worker, its machine or its result is gone."""
    from ray import exceptions

    return (
        exceptions.RayActorError,
        exceptions.WorkerCrashedError,
        exceptions.OutOfMemoryError,
        exceptions.ObjectLostError,
        exceptions.NodeDiedError,
    )


def _original(error: Any) -> BaseException:
    """The exception that a task raised, with the worker's traceback as its note."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    cause = error.cause
    if not isinstance(cause, BaseException):  # its class does not pickle
        return SaberError(f"a worker failed: {text.splitlines()[-1]}", hint="Run without Ray to see where.")
    cause.add_note(f"in a worker: {text}")
    return cause


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
