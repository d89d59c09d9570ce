"""A real Ray cluster of this machine: every task arrives once, whatever happens to the workers."""

import importlib.util
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from saber.errors import EditError, SaberError
from saber.search.cluster import connect
from saber.search.fleet import DEATHS, Fleet

if importlib.util.find_spec("ray") is None:
    pytest.skip("ray is not installed", allow_module_level=True)


class Replica:
    """A replica with a base that was built once, and every way to fail."""

    def __init__(self, base: int) -> None:
        self.base = base

    def add(self, number: int) -> int:
        return self.base + number

    def where(self) -> int:
        return os.getpid()

    def slow(self, number: int, log: str) -> int:
        Path(log, f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(0.15)
        return self.base + number

    def die_once(self, number: int, log: str) -> int:
        mark = Path(log, f"died-{number}")
        if number % 3 == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.base + number

    def fragile(self, number: int) -> int:
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    def raises(self, number: int) -> int:
        if number == 1:
            raise KeyError(f"task {number}")
        if number == 2:
            raise EditError(f"task {number} does not fit", hint="Use another base.")
        return number

    def threads(self) -> str:
        return os.environ["OMP_NUM_THREADS"]


def refused() -> Replica:
    raise EditError("the base is another one", hint="Use its own base.")


def dying() -> Replica:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    cluster = connect("local", workers=3, threads=1, gpus=0.0)  # one place more than the fleet takes
    with Fleet(partial(Replica, 100), workers=2) as fleet:
        yield fleet
    cluster.close()


def test_a_cluster_of_two_workers_does_every_task_once(fleet: Fleet) -> None:
    assert fleet.size == 2
    results = list(fleet.map("add", [(f"key {n}", (n,)) for n in range(40)]))
    assert len(results) == 40
    assert dict(results) == {f"key {n}": 100 + n for n in range(40)}
    assert {pid for _, pid in fleet.map("where", [(n, ()) for n in range(20)])} <= set(fleet.processes())
    assert dict(fleet.map("threads", [(0, ())])) == {0: "1"}
    assert list(fleet.map("add", [])) == []


def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(fleet: Fleet, tmp_path: Path) -> None:
    victims = fleet.processes()
    results = []
    for result in fleet.map("slow", [(n, (n, str(tmp_path))) for n in range(16)]):
        results.append(result)
        if len(results) == 4:
            os.kill(victims[0], signal.SIGKILL)
    assert sorted(results) == [(n, 100 + n) for n in range(16)]
    assert victims[0] not in fleet.processes()
    assert len(fleet.processes()) == 2
    runs = sorted(int(path.name.split("-")[0]) for path in tmp_path.iterdir())
    assert 16 <= len(runs) <= 17, "only the task that was under way ran again"


def test_tasks_that_kill_their_workers_once_run_again(fleet: Fleet, tmp_path: Path) -> None:
    results = list(fleet.map("die_once", [(n, (n, str(tmp_path))) for n in range(4)]))
    assert sorted(results) == [(n, 100 + n) for n in range(4)]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_task_that_kills_every_worker_is_named(fleet: Fleet) -> None:
    arrived: list[Any] = []
    with pytest.raises(SaberError, match=f"{DEATHS} workers died on task 2") as caught:
        arrived.extend(fleet.map("fragile", [(n, (n,)) for n in (2, 0, 1)]))
    assert "\n" not in caught.value.message
    assert dict(fleet.map("add", [(5, (5,))])) == {5: 105}, "the fleet is whole again"


def test_an_error_of_a_task_is_raised_as_it_is_after_what_was_under_way(fleet: Fleet) -> None:
    with pytest.raises(KeyError, match="task 1"):
        list(fleet.map("raises", [(1, (1,))]))
    results = fleet.map("raises", [(7, (7,)), (2, (2,)), (8, (8,)), (9, (9,))])
    assert next(results) in [(7, 7), (8, 8)]
    with pytest.raises(EditError, match="task 2 does not fit") as caught:
        list(results)
    assert caught.value.hint == "Use another base."
    assert dict(fleet.map("add", [(5, (5,))])) == {5: 105}


def test_two_tasks_of_one_key_are_refused(fleet: Fleet) -> None:
    with pytest.raises(SaberError, match="same key"):
        fleet.map("add", [(1, (1,)), (1, (2,))])


def test_a_replica_that_cannot_be_built_is_said(fleet: Fleet) -> None:
    with pytest.raises(EditError, match="another one") as caught, Fleet(refused, workers=1):
        pass
    assert caught.value.hint == "Use its own base."
    with (
        pytest.raises(SaberError, match="died while it built its replica"),
        Fleet(dying, workers=1),
    ):
        pass
    lock = threading.Lock()  # which does not pickle
    with pytest.raises(SaberError, match="cannot be sent"), Fleet(lambda: lock, workers=1):
        pass


def test_more_workers_than_the_cluster_holds_are_refused(fleet: Fleet) -> None:
    with pytest.raises(SaberError, match="1000 workers of 1 CPU each do not fit"), Fleet(dying, workers=1000):
        pass
    with pytest.raises(SaberError, match="and 8 GPU each"), Fleet(dying, gpus_per_worker=8.0):
        pass


def test_ctrl_c_ends_the_cluster_and_its_processes() -> None:
    """Comes after the module's fleet: its cluster ends here, and another one is started and interrupted."""
    import ray

    ray.shutdown()
    processes: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        _interrupted(processes)
    assert not ray.is_initialized()
    end = time.monotonic() + 10
    while any(_lives(process) for process in processes) and time.monotonic() < end:
        time.sleep(0.1)
    assert len(processes) == 2
    assert not any(_lives(process) for process in processes)


def _interrupted(processes: list[int]) -> None:
    with Fleet(partial(Replica, 0), workers=2) as fleet:
        processes.extend(fleet.processes())
        for _ in fleet.map("add", [(n, (n,)) for n in range(10)]):
            signal.raise_signal(signal.SIGINT)


def _lives(process: int) -> bool:
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_nobody_answers_is_said_soon(scheme: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(SaberError, match="no Ray cluster answers"), Fleet(dying, address=address):
            pass
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_something_else_that_listens_is_said_soon(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(64)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(SaberError, match="no Ray cluster"), Fleet(dying, address=address):
            pass
        thread.join()


def test_what_is_no_address_is_said() -> None:
    for address in ("http://127.0.0.1:80", "host:port", "ray://"):
        with pytest.raises(SaberError, match="not the address"), Fleet(dying, address=address):
            pass


def test_without_ray_the_hint_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SaberError, match="not installed") as caught, Fleet(dying):
        pass
    assert caught.value.hint == "pip install saber-llm[ray]"
