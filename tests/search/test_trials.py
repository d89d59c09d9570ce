"""Trials survive: journals and a real PostgreSQL, crashes, lost storages, and passwords that nobody sees."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from saber.errors import StoreError
from saber.files import read_jsonl
from saber.search.storage import StorageLostError
from saber.search.trials import TrialStore, content_key

SETTINGS = {"model": "pico", "seed": 0, "prompts": "abc"}
HALF = {"strength": 0.5, "layer": 3}
FULL = {"strength": 1.0, "layer": 3}


def opened(where: str | Path, **changes: object) -> TrialStore:
    return TrialStore.open(where, **{"name": "search", "settings": SETTINGS, **changes})


def stored(store: TrialStore, params: dict[str, object], objectives: tuple[float, float] = (0.1, 0.2)) -> str:
    key = content_key(params)
    assert store.propose(key, params, proposer="qp")
    assert store.record(
        key, objectives, {"screen": {"log_odds": -1.5}, "select": None}, constraints=[-0.1, 0.2]
    )
    return key


@pytest.fixture(scope="module")
def server() -> Iterator[object]:
    pgserver = pytest.importorskip("pgserver", reason="pgserver (a PostgreSQL in a wheel) is not installed")
    # Not below pytest's folder: every session closes that to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="saber-pg-"))
    server = pgserver.get_server(folder / "data", cleanup_mode="stop")
    server.psql("create role saber login password 's3cret&word'; create database trials owner saber;")
    hba = server.pgdata / "pg_hba.conf"
    hba.write_text("local all saber scram-sha-256\n" + hba.read_text())
    server.psql("select pg_reload_conf();")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server: object, request: pytest.FixtureRequest) -> str:
    socket = server.get_postmaster_info().socket_dir
    return f"postgresql://saber:s3cret%26word@/trials?host={socket}"


@pytest.fixture(params=["journal", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    return tmp_path / "trials.journal" if request.param == "journal" else request.getfixturevalue("url")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return request.node.name


def test_a_finished_evaluation_is_stored_once_and_whole(where: str | Path, name: str) -> None:
    with opened(where, name=name) as store:
        key = stored(store, HALF)
        assert not store.propose(key, HALF, proposer="tpe")
        assert not store.record(key, (9.0, 9.0), {}), "the first evaluation stays"
    with opened(where, name=name) as again:
        (found,) = again.known().values()
        assert not again.pending()
    assert (found.key, found.params, found.proposer) == (key, HALF, "qp")
    assert found.objectives == (0.1, 0.2)
    assert found.constraints == (-0.1, 0.2)
    assert not found.feasible
    assert found.record == {"screen": {"log_odds": -1.5}, "select": None}


def test_what_was_proposed_and_not_evaluated_is_pending_for_the_next_process(
    where: str | Path, name: str
) -> None:
    with opened(where, name=name) as store:
        done = stored(store, FULL)
        for _ in range(2):
            assert store.propose(content_key(HALF), HALF, proposer="grid")
    with opened(where, name=name) as again:
        (waiting,) = again.pending().values()
        assert (waiting.params, waiting.proposer) == (HALF, "grid")
        assert again.record(waiting.key, (1.0, 2.0), {})
        assert list(again.known()) == [done, waiting.key]


def test_two_writers_store_one_evaluation(where: str | Path, name: str) -> None:
    with opened(where, name=name) as one, opened(where, name=name) as two:
        key = content_key(HALF)
        assert one.propose(key, HALF, proposer="qp")
        assert two.propose(key, HALF, proposer="qp")
        assert one.record(key, (1.0, 2.0), {})
        assert not two.record(key, (3.0, 4.0), {})
        assert [trial.objectives for trial in two.known().values()] == [(1.0, 2.0)]


def test_an_evaluation_that_a_dead_process_had_almost_stored_is_completed(
    where: str | Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = content_key(HALF)
    with opened(where, name=name) as store:
        store.propose(key, HALF, proposer="qp")
        with monkeypatch.context() as patch:
            patch.setattr(TrialStore, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                store.record(key, (0.5, 0.6), {"a": 1}, constraints=[0.0])
    with opened(where, name=name) as again:
        found = again.known()[key]
    assert (found.objectives, found.constraints, found.record) == ((0.5, 0.6), (0.0,), {"a": 1})


def test_other_settings_are_refused_and_named(where: str | Path, name: str) -> None:
    with opened(where, name=name):
        pass
    with pytest.raises(StoreError, match="seed was 0, is 7") as caught:
        opened(where, name=name, settings={**SETTINGS, "seed": 7})
    assert "\n" not in caught.value.message
    with pytest.raises(StoreError, match="objectives was 2, is 3"):
        opened(where, name=name, directions=3)


def test_numbers_that_are_not_finite_and_unknown_candidates_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as store:
        key = content_key(HALF)
        with pytest.raises(StoreError, match="never proposed"):
            store.record(key, (1.0, 2.0), {})
        store.propose(key, HALF, proposer="qp")
        with pytest.raises(StoreError, match="cannot be stored"):
            store.record(key, (float("nan"), 2.0), {})
        with pytest.raises(StoreError, match="has 1 objectives, the study 2"):
            store.record(key, (1.0,), {})
        assert key in store.pending()


def test_content_keys_ignore_order_and_see_every_value() -> None:
    assert content_key({"a": 1, "b": [0.1, None]}) == content_key({"b": [0.1, None], "a": 1})
    assert content_key(HALF) != content_key(FULL)


def test_a_process_killed_in_the_middle_loses_nothing_that_it_had_stored(tmp_path: Path) -> None:
    script = """
        import sys
        from saber.search.trials import TrialStore, content_key
        store = TrialStore.open(sys.argv[1], name="search", settings={"model": "pico", "seed": 0, "prompts": "abc"})
        for index in range(10_000):
            params = {"index": index}
            key = content_key(params)
            store.propose(key, params, proposer="qp")
            store.record(key, (index, -index), {"index": index})
            print(index, flush=True)
    """
    journal = tmp_path / "trials.journal"
    command = [sys.executable, "-c", textwrap.dedent(script), str(journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(25)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split()]
    lock = Path(f"{journal}.lock")
    if lock.is_symlink():  # killed while it held the lock; Optuna would wait 30 s for it
        lock.unlink()
    data = journal.read_bytes()
    journal.write_bytes(data[: data.rindex(b"\n") + 1])
    with opened(journal) as store:
        found = [trial.record["index"] for trial in store.known().values()]
    assert found[: len(acknowledged)] == acknowledged
    assert len(found) <= len(acknowledged) + 1
    assert len(set(found)) == len(found)


def test_a_torn_last_line_says_what_is_kept_and_its_hint_works(tmp_path: Path) -> None:
    journal = tmp_path / "trials.journal"
    with opened(journal) as store:
        key = stored(store, HALF)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    with pytest.raises(
        StoreError, match=r"cut short \(19 bytes\); the \d+ whole lines before it are kept"
    ) as caught:
        opened(journal)
    assert "\n" not in caught.value.message + caught.value.hint
    subprocess.run(caught.value.hint.partition(": ")[2], shell=True, check=True)
    with opened(journal) as again:
        assert list(again.known()) == [key]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    journal = tmp_path / "trials.journal"
    with opened(journal) as store:
        stored(store, HALF)
    lines = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([*lines[:2], lines[2][:5], *lines[3:]]))
    with pytest.raises(StoreError, match="line 3 of"):
        opened(journal)


@pytest.mark.parametrize("loss", ["removed", "replaced", "cut"])
def test_a_journal_lost_in_the_middle_is_rescued_and_taken_back(tmp_path: Path, loss: str) -> None:
    journal = tmp_path / "trials.journal"
    store = opened(journal)
    first = stored(store, HALF)
    second = content_key(FULL)
    store.propose(second, FULL, proposer="qp")
    if loss == "removed":
        journal.unlink()
    elif loss == "replaced":
        copy = shutil.copy(journal, tmp_path / "copy")
        os.replace(copy, journal)
    else:
        os.truncate(journal, 0)
    with pytest.raises(StorageLostError, match="2 finished trials are kept in") as caught:
        store.record(second, (0.3, 0.4), {"new": True})
    assert "\n" not in caught.value.message + caught.value.hint
    assert not list(tmp_path.glob("*.partial*"))
    with opened(journal) as again:
        assert {key: one.objectives for key, one in again.known().items()} == {
            first: (0.1, 0.2),
            second: (0.3, 0.4),
        }
        assert again.known()[first].constraints == (-0.1, 0.2)
        assert not again.pending()
    assert not list(tmp_path.glob("*.rescued.jsonl"))


def test_a_rescue_of_another_search_is_left_alone(tmp_path: Path) -> None:
    journal, rescue = tmp_path / "a", tmp_path / "rescue.jsonl"
    with opened(journal, rescue=rescue) as store:
        stored(store, HALF)
        journal.unlink()
        with pytest.raises(StorageLostError):
            store.known()
    with opened(tmp_path / "b", name="other", rescue=rescue) as other:
        assert not other.known()
    assert len(read_jsonl(rescue)) == 1
    with opened(tmp_path / "c", rescue=rescue) as again:
        assert len(again.known()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("s3cret%26word", "wr0ng%26word"), "password authentication failed"),
        (("/trials", "/nothing"), "does not exist"),
        (("host=/", "host=/nowhere/"), "No such file"),
    ],
)
def test_a_database_that_cannot_be_opened_is_said_without_its_password(
    url: str, change: tuple[str, str], said: str
) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        opened(url.replace(*change))
    shown = f"{caught.value.message} {caught.value.hint} {caught.value.__cause__!r}"
    assert "saber:***@" in shown
    assert not [word for word in ("s3cret", "wr0ng") if word in shown]
    assert "\n" not in shown


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/db", "refused"),
        ("postgresql://127.0.0.1:1/db?user=u&password=hunter2", "refused"),
        ("nodb://u:hunter2@host/db", "cannot be opened"),
        ("postgresql://u:hunter2@host:port/db", "cannot be read"),
        ("mysql+pymysql://u:hunter2@host/db", "not installed"),
    ],
)
def test_urls_that_lead_nowhere(where: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        opened(where)
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_server_that_stops_in_the_middle_loses_nothing(
    server: object, url: str, tmp_path: Path, name: str
) -> None:
    from pgserver._commands import pg_ctl

    rescue = tmp_path / "rescue.jsonl"
    store = opened(url, name=name, rescue=rescue)
    first = stored(store, HALF)
    second = content_key(FULL)
    store.propose(second, FULL, proposer="qp")
    pg_ctl(["-w", "-m", "fast", "stop"], pgdata=server.pgdata, user=server.system_user)
    with pytest.raises(StorageLostError, match="2 finished trials are kept in") as caught:
        store.record(second, (0.3, 0.4), {})
    assert "\n" not in caught.value.message
    assert "s3cret" not in caught.value.message + rescue.read_text()
    store.close()
    server.ensure_postgres_running()
    with opened(url, name=name, rescue=rescue) as again:
        assert list(again.known()) == [first, second]
        assert not again.pending()


def test_no_file_holds_the_password(url: str, tmp_path: Path, name: str) -> None:
    rescue = tmp_path / "rescue.jsonl"
    with opened(url, name=name, rescue=rescue) as store:
        stored(store, HALF)
        store.place.check()
        store._save()
    assert json.loads(rescue.read_text())["owner"]["study"] == name
    assert "s3cret" not in rescue.read_text()
    assert "s3cret" not in repr(store)
