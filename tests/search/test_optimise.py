"""TPE and NSGA-II: same seed, same proposals; a search that was interrupted goes on as if it had not been."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saber.errors import ConfigError, StoreError
from saber.search.optimise import Choice, Integer, Real, Space, propose_with
from saber.search.trials import Evaluated, TrialStore

SPACE: Space = {
    "x": Real(0.0, 2.0),
    "scale": Real(1e-3, 1.0, log=True),
    "k": Integer(1, 4),
    "mode": Choice(("a", "b")),
}
SAMPLERS = ("tpe", "nsga2")


def measured(params: dict[str, Any]) -> tuple[tuple[float, float], tuple[float], dict[str, Any]]:
    """Two parabolas in x, worse with k and in mode b; feasible for x <= 1.2."""
    extra = 0.05 * params["k"] + (0.3 if params["mode"] == "b" else 0.0) + params["scale"]
    return (
        (params["x"] ** 2 + extra, (params["x"] - 1.5) ** 2 + extra),
        (params["x"] - 1.2,),
        {"extra": extra},
    )


def opened(path: Path) -> TrialStore:
    return TrialStore.open(path, name="search", settings={"seed": 0})


def searched(path: Path, sampler: str, budget: int, **changes: Any) -> list[Evaluated]:
    wanted = {"seed": 3, "batch": 4, "startup": 8, "evaluate": lambda batch: map(measured, batch)} | changes
    with opened(path) as store:
        return propose_with(
            sampler, store, changes.pop("space", SPACE), budget=budget, **_without_space(wanted)
        )


def _without_space(wanted: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in wanted.items() if key != "space"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Evaluated]]:
    folder = tmp_path_factory.mktemp("whole")
    return {sampler: searched(folder / sampler, sampler, 24) for sampler in SAMPLERS}


def params(trials: list[Evaluated]) -> list[Any]:
    return [dict(trial.params) for trial in trials]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_budget_is_spent_on_distinct_candidates_inside_the_space(
    whole: dict[str, list[Evaluated]], sampler: str
) -> None:
    trials = whole[sampler]
    assert len({trial.key for trial in trials}) == len(trials) == 24
    for trial in trials:
        assert 0 <= trial.params["x"] <= 2
        assert 1e-3 <= trial.params["scale"] <= 1
        assert trial.params["k"] in range(1, 5)
        assert trial.params["mode"] in "ab"
        assert (trial.objectives, trial.constraints, trial.record) == measured(dict(trial.params))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_seed_same_proposals_other_seed_others(
    whole: dict[str, list[Evaluated]], sampler: str, tmp_path: Path
) -> None:
    assert params(searched(tmp_path / "same", sampler, 16)) == params(whole[sampler])[:16]
    assert params(searched(tmp_path / "other", sampler, 4, seed=4)) != params(whole[sampler])[:4]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("stop", [0, 3, 14, 18])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(
    whole: dict[str, list[Evaluated]], sampler: str, stop: int, tmp_path: Path
) -> None:
    left = iter(range(stop))

    def interrupted(batch: list[dict[str, Any]]) -> Iterator[Any]:
        for one in batch:
            if next(left, None) is None:
                raise KeyboardInterrupt
            yield measured(one)

    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "j", sampler, 20, evaluate=interrupted)
    again: list[dict[str, Any]] = []

    def noted(batch: list[dict[str, Any]]) -> list[Any]:
        again.extend(batch)
        return [measured(one) for one in batch]

    trials = searched(tmp_path / "j", sampler, 20, evaluate=noted)
    assert params(trials) == params(whole[sampler])[:20]
    assert again == params(trials)[stop:], "what was finished counts, and is not evaluated again"
    assert not searched(tmp_path / "j", sampler, 20, evaluate=pytest.fail)[20:]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_that_was_cut_short_while_it_was_asked_for_is_filled_up(
    whole: dict[str, list[Evaluated]], sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label, calls = TrialStore.label, iter(range(14))

    def dies(*args: Any, **kwargs: Any) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        label(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(TrialStore, "label", dies)
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / "j", sampler, 20)
    assert params(searched(tmp_path / "j", sampler, 20)) == params(whole[sampler])[:20]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_sampler_learns_objectives_and_constraints(tmp_path: Path, sampler: str) -> None:
    """After the startup more proposals are feasible, and in the better mode, than a uniform draw's 60 % and 50 %."""
    trials = searched(tmp_path / "j", sampler, 56, startup=12, batch=8)[32:]
    feasible = sum(trial.feasible for trial in trials) / len(trials)
    better = sum(trial.params["mode"] == "a" for trial in trials) / len(trials)
    assert feasible > 0.75
    assert better > 0.65


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_finite_space_is_searched_out_and_no_candidate_is_evaluated_twice(
    tmp_path: Path, sampler: str
) -> None:
    space = {"k": Integer(1, 3), "mode": Choice(("a", "b", None)), "x": Real(1.0, 1.0)}
    trials = searched(
        tmp_path / "j",
        sampler,
        100,
        space=space,
        evaluate=lambda batch: [((float(one["k"]), -float(one["k"])), (), {}) for one in batch],
    )
    assert {(trial.params["k"], trial.params["mode"]) for trial in trials} == {
        (k, mode) for k in (1, 2, 3) for mode in ("a", "b", None)
    }
    assert len(trials) == 9


def test_what_cannot_be_searched_is_refused(tmp_path: Path) -> None:
    for changes in ({"budget": 0}, {"batch": 0}, {"startup": 1}, {"space": {}}):
        with pytest.raises(ConfigError):
            searched(tmp_path / "j", "tpe", **{"budget": 4, **changes})
    for make in (
        lambda: Real(1.0, 0.0),
        lambda: Real(0.0, 1.0, log=True),
        lambda: Real(0.0, float("inf")),
        lambda: Integer(2, 1),
        lambda: Choice(()),
        lambda: Choice(("a", "a")),
    ):
        with pytest.raises(ConfigError):
            make()


def test_trials_of_another_space_or_proposer_are_refused(tmp_path: Path) -> None:
    searched(tmp_path / "j", "tpe", 4)
    with pytest.raises(StoreError, match="in another space"):
        searched(tmp_path / "j", "tpe", 8, space={**SPACE, "x": Real(0.0, 3.0)})
    with pytest.raises(StoreError, match="by 'tpe'"):
        searched(tmp_path / "j", "nsga2", 8)
