"""`saber search` and its neighbours: what options become, what is refused before anything is loaded, what help says."""

from __future__ import annotations

import inspect
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from saber.cli import app as application
from saber.cli import front_table, job, main, options
from saber.cli.options import EXPORT, MEASURED, PROBED, SEARCHED, STRICT, Given, settings
from saber.config import RunConfig, without_passwords
from saber.errors import StoreError
from saber.settings import known_keys, resolve
from saber.store import RunFolder
from tests import tiny
from tests.cli.conftest import Refused
from tests.report import searched

ALL = {setting.key: setting for setting in (*PROBED, *MEASURED, EXPORT, STRICT, *SEARCHED)}
VALUES: dict[str, tuple[str, Any]] = {
    "seed": ("3", 3),
    "model.batch_size": ("8", 8),
    "model.dtype": ("bfloat16", "bfloat16"),
    "export.format": ("adapter", "adapter"),
    "search.goal": ("over-refusal", "over-refusal"),
    "search.optimizer": ("nsga2", "nsga2"),
    "search.points": ("7", 7),
    "search.budget_minutes": ("0.5", 0.5),
    "search.workers": ("2", 2),
    "model.strict": ("", True),
}


def given_by(*arguments: str, command: str = "search", monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a command gets for the arguments: MODEL, the configuration, its text, keywords."""
    caught: list[Any] = []
    places = {"search": "saber.cli.searching.search_command", "sweep": "saber.cli.sweeping.sweep_command"}
    monkeypatch.setattr(
        places.get(command, f"saber.cli.commands.{command}"), lambda *a, **k: caught.extend([*a, k])
    )
    assert main([command, "demo", *arguments]) == 0
    return caught


@pytest.mark.parametrize("key", sorted(ALL))
def test_an_option_is_its_setting(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = VALUES.get(key, ("somewhere", "somewhere"))
    flag = f"--{ALL[key].name.replace('_', '-')}"
    _, config, written, _ = given_by(*([flag, text] if text else [flag]), monkeypatch=monkeypatch)
    section, _, name = key.rpartition(".")
    assert getattr(getattr(config, section) if section else config, name) == value
    assert f"# option: {key} = " in written
    assert config != RunConfig()


def test_every_option_is_a_setting_of_its_type() -> None:
    assert set(ALL) <= set(known_keys())
    default = RunConfig().model_dump()
    for key, setting in ALL.items():
        section, _, name = key.rpartition(".")
        value = (default[section] if section else default)[name]
        assert isinstance(value, setting.kind), key
    assert {key for key in known_keys() if key.startswith("search.")} - set(ALL) == {
        "search.keep",
        "search.keep_weights",
        "search.batch",
        "search.tolerance",
    }


def test_options_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[search]\npoints = 5\nkeep = 0.5\n")
    arguments = [
        "--config",
        str(file),
        "--set",
        "search.points=6",
        "--set",
        "search.batch=2",
        "--points",
        "7",
    ]
    _, config, _, keywords = given_by(
        *arguments, "--out", "x", "--resume", "--quiet", monkeypatch=monkeypatch
    )
    assert (config.search.points, config.search.keep, config.search.batch) == (7, 0.5, 2)
    assert keywords == {"out": Path("x"), "resume": True, "json": False, "quiet": True}


def test_sweep_starts_from_the_published_settings_only_where_nothing_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, bare, _, grid, _ = given_by(command="sweep", monkeypatch=monkeypatch)
    assert (bare, grid) == (resolve(preset="gemma4-e2b-refined")[0], [])
    _, own, _, grid, _ = given_by(
        "--grid", "ablation.alpha_base=0.5,1.0", command="sweep", monkeypatch=monkeypatch
    )
    assert (own, grid) == (RunConfig(), ["ablation.alpha_base=0.5,1.0"])


def test_a_command_gets_its_settings_together() -> None:
    @settings(STRICT)
    def command(model: str, *, given: Given, last: bool = False) -> None:
        """Says."""
        assert (model, given.options, given.assignments, last) == ("demo", {"model.strict": True}, (), True)

    named = list(inspect.signature(command).parameters)
    assert named == ["model", "config", "preset", "set_", "strict", "last"]
    assert command.__doc__ == "Says."
    command(model="demo", config=None, preset=None, set_=None, strict=True, last=True)


@pytest.mark.parametrize("command", ["run", "probe", "search", "sweep"])
def test_help_lists_every_option_once(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {
        "run": (*MEASURED, EXPORT, STRICT),
        "probe": PROBED,
        "search": (*MEASURED, EXPORT, STRICT, *SEARCHED),
        "sweep": (*MEASURED, STRICT),
    }[command]
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out.splitlines()
    flags = [line.split()[0] for line in said if line.startswith("  --")]
    expected = {f"--{setting.name.replace('_', '-')}" for setting in wanted}
    assert len(flags) == len(set(flags))
    assert set(flags) == expected | {
        "--out",
        "--config",
        "--preset",
        "--set",
        "--json",
        "--quiet",
        "--help",
    } | (set() if command == "probe" else {"--resume"}) | ({"--grid"} if command == "sweep" else set())
    assert any("refusal|over-refusal" in line for line in said) == (command == "search")


@pytest.mark.parametrize(
    ("arguments", "words", "fix"),
    [
        (("--points", "0"), "0 points", "--points 2"),
        (("--budget-minutes", "0"), "0 minutes", "--budget-minutes"),
        (("--points", "-1"), "search.points", "saber config"),
        (("--points", "many"), "valid integer", "--help"),
        (("--goal", "everything"), "everything", "saber config"),
        (("--optimizer", "grid"), "grid", "saber config"),
        (("--workers", "2"), "2 workers", "--ray local"),
        (("--ray", "local", "--set", "model.tensor_parallel=true"), "tensor_parallel", "--ray"),
        (("--storage", "sqlite:///x", "--set", "model.tensor_parallel=true"), "tensor_parallel", "--storage"),
        (("--resume", "--set", "model.tensor_parallel=true"), "cannot be resumed", "--out"),
    ],
)
def test_what_cannot_be_searched(
    arguments: tuple[str, ...], words: str, fix: str, tmp_path: Path, refused: Refused
) -> None:
    message, hint = refused("search", tmp_path / "no-such-model", "--out", tmp_path / "out", *arguments)
    assert words in message
    assert fix in hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("goal", "goes", "stays"),
    [
        ("refusal", "harmful", "preserve"),
        ("over-refusal", "borderline", "harmful"),
        ("over-refusal", "borderline", "preserve"),
    ],
)
def test_goals_that_conflict(goal: str, goes: str, stays: str, tmp_path: Path, refused: Refused) -> None:
    file = tiny.write_rows(tmp_path / "both.jsonl", tiny.spread("harmful", 10))
    command = ("search", tmp_path / "no-such-model", "--goal", goal, "--out", tmp_path / "out")
    message, hint = refused(*command, f"--{goes}", file, f"--{stays}", file)
    assert "conflict" in message
    assert f"--{goes}" in hint
    assert f"--{stays}" in hint
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there_leaves_no_folder(tmp_path: Path, refused: Refused) -> None:
    refused("search", tmp_path / "no-such-model", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("held", "command"), [("sweep", "search"), ("search", "run"), ("run", "search")])
def test_a_folder_stays_with_its_command(held: str, command: str, tmp_path: Path, refused: Refused) -> None:
    folder = RunFolder.create(tmp_path / "held")
    if held != "run":
        folder.save_state({"sweep": "sweep", "search": job.SEARCH}[held], {}, settings="")
    folder.resolved_toml.write_text("seed = 0\n")
    message, _ = refused(command, "demo", "--out", folder.path, "--resume")
    assert f"holds a {held}, not a {command}" in message
    assert folder.resolved_toml.read_text() == "seed = 0\n"


PASSWORD = "s3cret@w:ord"
URL = f"postgresql://me:{PASSWORD}@host:5432/trials"


def test_a_password_is_used_and_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f'[search]\nstorage = "{URL}"  # mine\n')
    _, config, text, _ = given_by("--config", str(file), monkeypatch=monkeypatch)
    assert config.search.storage == URL
    folder = RunFolder.create(tmp_path / "out")
    with job.begun(folder, config, text, [folder.front]):
        written = folder.run_toml.read_text() + folder.resolved_toml.read_text() + config.model_dump_json()
    assert PASSWORD not in written
    assert written.count("postgresql://me:***@host:5432/trials") == 3
    assert (
        folder.run_toml.read_text() == '[search]\nstorage = "postgresql://me:***@host:5432/trials"  # mine\n'
    )
    changed, _ = resolve(options={"search.storage": URL.replace(PASSWORD, "another")})
    job.check_resumed(folder, "demo", changed)
    elsewhere, _ = resolve(options={"search.storage": "postgresql://me@host:5432/other"})
    with pytest.raises(StoreError, match="other settings"):
        job.check_resumed(folder, "demo", elsewhere)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://u:p@h/db", "postgresql+psycopg://u:***@h/db"),
        ("--set search.storage=mysql://u:a/b@c@h", "--set search.storage=mysql://u:***@h"),
        ("postgresql:///db?host=/tmp&password=p&user=u", "postgresql:///db?host=/tmp&password=***&user=u"),
        ("postgresql://u@h/db?sslPassword=p", "postgresql://u@h/db?sslPassword=***"),
        ("# see https://example.org/a?b=c\nmail me@example.org", None),
        ("ray://10.0.0.1:10001", None),
        ("hf:org/name[train]:prompt", None),
        ("sqlite:///trials.db", None),
    ],
)
def test_passwords_in_texts(text: str, shown: str | None) -> None:
    assert without_passwords(text) == (text if shown is None else shown)


def test_an_interrupted_job_may_change_what_changes_no_result(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "out")
    with job.begun(folder, RunConfig(), "", [folder.front]):
        pass
    more, _ = resolve(options={"search.points": 9})
    job.check_resumed(folder, "demo", more, ["search.points"])
    with pytest.raises(StoreError, match=r"search\.points = 48, now 9"):
        job.check_resumed(folder, "demo", more)


def test_a_job_without_findings_leaves_no_folder(tmp_path: Path) -> None:
    for found in (False, True):
        folder = RunFolder.create(tmp_path / str(found))
        if found:
            folder.trials.write_text("{}\n")
        with (
            pytest.raises(StoreError),
            job.begun(folder, RunConfig(), "", [folder.spectrum, folder.trials]),
        ):
            raise StoreError("no", hint="no")
        assert folder.path.exists() == found


def shown(front: dict[str, Any], width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    screen = Console(width=width, file=io.StringIO(), highlight=False)
    for module in ("front_table", "summary"):
        monkeypatch.setattr(f"saber.cli.{module}.stdout", screen)
    cost = {"seconds": 1.0, "bare_forward_seconds": 0.5, "peak_memory_bytes": 1 << 30}
    front_table.print_search({"run": "out", "report": "r", "front": front, "export": None, "cost": cost})
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("width", [36, 70, 140])
def test_the_front_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    front = searched.front()
    said = shown(front, width, monkeypatch)
    table = said.partition("on SELECT;")[0].splitlines()
    assert max(len(line.rstrip()) for line in table) <= width
    assert "…" not in said, "nothing is cut off"
    chosen = front["recommended"]["point"]
    expected = [row for row in front["points"] if row["on_front"] or row["id"] == chosen]
    assert len(expected) > 2
    for row in expected:
        estimate = row["select"]["refusal"]
        assert f"{round(estimate['value'] * estimate['n'])}/{estimate['n']} = " in said, "no bare rate"
    assert said.count("recommended") == 2, "one row and one sentence"
    assert f"recommended: point {chosen}. {front['recommended']['why']}" in said
    assert "on TEST: refused harmful 9/120 = 7.5 %" in said
    assert "saber export out --point N --out DIR" in said


@pytest.mark.parametrize(
    ("front", "words", "never"),
    [
        (searched.without_answers(), ["the front is empty", "no point is recommended"], ["on TEST"]),
        (searched.infeasible(), ["no point is feasible; the nearest is point", "lower limit"], ["on TEST"]),
        (searched.one_point(), ["recommended: point"], ["on TEST"]),
    ],
)
def test_fronts_that_are_hardly_there(
    front: dict[str, Any], words: list[str], never: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = shown(front, 140, monkeypatch)
    for word in words:
        assert word in said
    for word in never:
        assert word not in said


def test_the_rate_shown_is_the_one_that_the_goal_lowers(monkeypatch: pytest.MonkeyPatch) -> None:
    front = searched.front() | {"goal": "over-refusal"}
    row = next(row for row in front["points"] if row["id"] == front["recommended"]["point"])
    estimate = row["select"]["borderline"]
    said = shown(front, 140, monkeypatch)
    assert "refusals are of borderline prompts, base: 6/30 = 20.0 %" in said
    line = next(line for line in said.splitlines() if "recommended" in line)
    assert f"{round(estimate['value'] * 30)}/30 = " in line


def test_commands_of_the_app() -> None:
    names = [
        each.name or each.callback.__name__ for each in application.app.registered_commands if each.callback
    ]
    assert {"run", "search", "sweep", "probe", "export", "report"} <= set(names)
    assert options.Given().resolve() == (RunConfig(), "")
