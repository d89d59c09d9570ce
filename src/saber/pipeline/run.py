"""The main job: five stages, then base and edited evaluated once on TEST."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from saber.ablation.apply import applied, certify
from saber.ablation.edit import Certificate, EditSet
from saber.ablation.plan import EditPlan
from saber.config import RunConfig
from saber.errors import ProbeError
from saber.evaluation.estimate import Precision
from saber.evaluation.evaluate import BaseMeasurement, Evaluation, evaluate, measure_base
from saber.evaluation.side import log_odds
from saber.evaluation.signal import Signal, base_signal, signal
from saber.pipeline.bench import Bench, Memory, prepare
from saber.pipeline.records import (
    entanglement_json,
    look_rows,
    pass_from_state,
    pass_state,
    plan_json,
    spectrum_json,
)
from saber.pipeline.stages import Look, empty_plan, grow, look, probe_activations
from saber.prompts import ROLES, Prompt, Role
from saber.provenance import settings_hash
from saber.refinement.refine import Pass, Refinement, line_search, refine
from saber.refinement.stopping import Criteria
from saber.store import RunFolder, write_json, write_jsonl
from saber.watch import Watch


@dataclass
class Outcome:
    """A run while its model is still loaded.

    Attributes:
        bench: Model, prompts and base behaviour.
        refinement: The plan and how it came about.
        edits: The compiled edit.
        certificates: What it did to each writer.
        evaluation: Base and edited on TEST.
        timings: Seconds of each part.
    """

    bench: Bench
    refinement: Refinement[Signal]
    edits: EditSet
    certificates: list[Certificate]
    evaluation: Evaluation
    timings: dict[str, float] = field(default_factory=dict)


@contextmanager
def run(name: str, config: RunConfig, folder: RunFolder | None, watch: Watch) -> Iterator[Outcome]:
    """Run the five stages on a model, which stays loaded until the context closes; finished passes are resumed."""
    memory = Memory(folder, _settings_of(name, config))
    timer = _Timer()
    with prepare(name, config, memory, watch) as bench:
        timer.mark("prepare")
        base = measure_select(bench, config, watch)
        timer.mark("base on SELECT")
        refinement = refine_plan(bench, config, base, folder, memory.settings, watch)
        timer.mark("refine")
        edits = bench.compiler.compile(refinement.plan)
        if not len(edits):
            raise ProbeError(
                f"nothing to edit: {refinement.stopped}",
                hint="Raise the limit that was broken (refinement.*) or lower ablation.alpha_base."
                if refinement.passes
                else "Give more prompts, another extraction, or a wider depth window (spectrum.depth_min, depth_max).",
            )
        certificates = certify(bench.chat.model, bench.anatomy, edits)
        evaluation = _evaluate(bench, config, refinement.plan, edits, watch)
        timer.mark("evaluate on TEST")
        outcome = Outcome(bench, refinement, edits, certificates, evaluation, timer.seconds)
        if folder:
            write_json(folder.plan, plan_json(refinement, bench.anatomy))
            write_json(folder.evaluation, evaluation.to_json())
            write_jsonl(folder.answers, evaluation.answers())
        yield outcome


@contextmanager
def probe(
    name: str, config: RunConfig, folder: RunFolder | None, watch: Watch
) -> Iterator[tuple[Bench, Look]]:
    """Stages 1 to 3 only: nothing is edited."""
    with prepare(name, config, Memory(folder, _settings_of(name, config)), watch) as bench:
        plan = empty_plan(bench, config)
        seen = _look(bench, config, plan, None, 0, watch)
        if folder:
            _write_look(folder, [_rows(seen, 0, config)])
        yield bench, seen


def _settings_of(name: str, config: RunConfig) -> str:
    """Hash of all that intermediate results depend on; the size of a batch is none of it."""
    kept = config.model_dump(mode="json", exclude={"export": True, "model": {"batch_size"}})
    return settings_hash({"name": name, **kept})


class _Timer:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def mark(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def _part(bench: Bench, part: str, roles: tuple[Role, ...]) -> Mapping[Role, tuple[Prompt, ...]]:
    return {role: getattr(bench.splits[role], part) for role in roles}


def final_prompts(bench: Bench) -> Mapping[Role, tuple[Prompt, ...]]:
    """TEST of all roles: evaluated once for each released point."""
    return _part(bench, "test", ROLES)


def measure_select(bench: Bench, config: RunConfig, watch: Watch) -> BaseMeasurement:
    """What refinement steers by: the base model's answers on SELECT."""
    with watch.stage("base answers on SELECT") as step:
        return measure_base(
            bench.chat,
            _part(bench, "select", ("harmful", "harmless", "capability", "preserve")),
            tokens=bench.tokens,
            max_new_tokens=config.evaluation.max_new_tokens,
            confidence=config.evaluation.confidence,
            bootstraps=1,
            seed=config.seed,
            progress=step,
        )


def refine_plan(
    bench: Bench,
    config: RunConfig,
    base: BaseMeasurement,
    folder: RunFolder | None,
    settings: str,
    watch: Watch,
) -> Refinement[Signal]:
    """Stages 1 to 5, pass by pass, then the line search."""
    chat, model, anatomy = bench.chat, bench.chat.model, bench.anatomy
    confidence = config.evaluation.confidence
    criteria = _criteria(config)
    start = empty_plan(bench, config)
    looks: list[dict[str, Any]] = []

    def extend(plan: EditPlan, index: int) -> EditPlan:
        edits = bench.compiler.compile(plan) if plan.vectors else None
        seen = _look(bench, config, plan, edits, index, watch)
        looks.append(_rows(seen, index, config))
        return grow(plan, seen, config, index)

    def measure(plan: EditPlan) -> Signal:
        edits = bench.compiler.compile(plan)
        return signal(
            chat,
            base,
            lambda: applied(model, anatomy, edits),
            signal_tokens=config.evaluation.signal_tokens,
            confidence=confidence,
        )

    def odds(plan: EditPlan) -> float | None:
        with applied(model, anatomy, bench.compiler.compile(plan)):
            values = log_odds(chat, base.side.replies["harmful"], bench.tokens)
        return Precision(confidence, 1).mean(values).value

    def on_pass(one: Pass[Signal]) -> None:
        watch.note(f"pass {one.index}: {_say(one.signal)}")
        if folder:
            record, tensors = pass_state(one)
            folder.save_state_tensors(f"pass-{one.index}", tensors, settings=settings)
            folder.save_state(f"pass-{one.index}", {**record, "look": looks[-1]}, settings=settings)
            _write_look(folder, looks)

    finished = _finished(folder, settings, start, looks)
    if finished:
        watch.note(f"resumed after pass {finished[-1].index}")
    with watch.stage("refine"):
        found = refine(
            start,
            base_signal(chat, base, signal_tokens=config.evaluation.signal_tokens, confidence=confidence),
            grow=extend,
            measure=measure,
            log_odds=odds,
            criteria=criteria,
            max_iterations=config.refinement.max_iterations,
            finished=finished,
            on_pass=on_pass,
        )
    watch.note(f"stopped: {found.stopped}")
    if folder:
        _write_look(folder, looks)
    return _search_scale(found, measure, criteria, config, watch)


def _search_scale(
    found: Refinement[Signal], measure: Any, criteria: Criteria, config: RunConfig, watch: Watch
) -> Refinement[Signal]:
    if not config.refinement.line_search or not found.plan.vectors:
        return found
    with watch.stage("line search for the least strength") as step:
        plan, reached = line_search(
            found.plan,
            measure=measure,
            full=found.signal,
            criteria=criteria,
            steps=config.refinement.line_search,
            margin=config.refinement.line_search_margin,
            on_step=step,
        )
    watch.note(f"scale {plan.scale:.2f}: {_say(reached)}")
    return Refinement(plan, reached, found.passes, found.stopped)


def _criteria(config: RunConfig) -> Criteria:
    settings = config.refinement
    return Criteria(
        refusal_target=settings.refusal_target,
        drift_budget=settings.drift_budget,
        kept_refusal_floor=settings.kept_refusal_floor,
        degenerate_limit=settings.degenerate_limit,
        min_gain=settings.min_gain,
        stop_at_target=settings.stop_at_target,
    )


def _look(
    bench: Bench, config: RunConfig, plan: EditPlan, edits: EditSet | None, index: int, watch: Watch
) -> Look:
    with watch.stage(f"pass {index}: probe") as step:
        activations = probe_activations(bench, config, edits, step)
    with watch.stage(f"pass {index}: directions and entanglement") as step:
        seen = look(bench, config, activations, plan, step)
    above = sum(direction.significant for direction in seen.spectrum.directions)
    watch.note(
        f"{above} of {len(seen.spectrum.directions)} directions above the null {seen.spectrum.null:.2f}"
    )
    return seen


def _rows(seen: Look, index: int, config: RunConfig) -> dict[str, Any]:
    section = config.entanglement
    return look_rows(seen, index, section.measure, section.threshold, section.rank)


def _write_look(folder: RunFolder, looks: list[dict[str, Any]]) -> None:
    write_json(folder.spectrum, spectrum_json(looks))
    write_json(folder.entanglement, entanglement_json(looks))


def _finished(
    folder: RunFolder | None, settings: str, start: EditPlan, looks: list[dict[str, Any]]
) -> tuple[Pass[Signal], ...]:
    """Passes of an interrupted run; their looks are added to `looks`."""
    found: list[Pass[Signal]] = []
    while folder and folder.has_state(f"pass-{len(found)}"):
        name = f"pass-{len(found)}"
        record = folder.load_state(name, settings=settings)
        tensors = folder.load_state_tensors(name, settings=settings)
        looks.append(record["look"])
        found.append(pass_from_state(len(found), record, tensors, start))
    return tuple(found)


def _evaluate(bench: Bench, config: RunConfig, plan: EditPlan, edits: EditSet, watch: Watch) -> Evaluation:
    with watch.stage("evaluate base and edited on TEST") as step:
        return evaluate(
            bench.chat,
            final_prompts(bench),
            lambda: applied(bench.chat.model, bench.anatomy, edits),
            tokens=bench.tokens,
            max_new_tokens=config.evaluation.max_new_tokens,
            confidence=config.evaluation.confidence,
            bootstraps=config.evaluation.bootstraps,
            seed=config.seed,
            directions_ablated=plan.n_directions,
            layers_edited=sum(1 for layer in range(plan.n_layers) if plan.at(layer)),
            settings=config.model_dump(mode="json"),
            progress=step,
        )


def _say(found: Signal) -> str:
    refusal = "refusal not scored" if found.refusal.value is None else f"refusal {found.refusal}"
    drift = "not scored" if found.drift is None else f"{found.drift:.4f}"
    return f"{refusal}, KL {drift} nats per token (SELECT)"
