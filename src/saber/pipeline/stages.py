"""Stages 1 to 4 as one step: probe the model as it is now, and extend the plan with what is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from saber.ablation.apply import applied
from saber.ablation.edit import EditSet
from saber.ablation.plan import EditPlan, extend
from saber.config import RunConfig
from saber.entanglement.purity import Entanglement, measure_entanglement
from saber.entanglement.subspace import capability_subspace
from saber.pipeline.bench import Bench
from saber.probe.activations import Activations
from saber.probe.capture import capture
from saber.prompts import Role
from saber.spectrum.analyse import analyse
from saber.spectrum.direction import Direction, Spectrum
from saber.spectrum.select import depth_window, rank_directions, select_layers
from saber.watch import Step


@dataclass(frozen=True)
class Look:
    """What one pass sees in the activations.

    Attributes:
        spectrum: All candidate directions.
        entanglement: Of each candidate, by name.
        subspaces: Capability subspace of each chosen layer.
        window: Layers of the depth window.
        chosen: Layers that the strategy chose.
        ranked: Directions to remove, best first.
        measures: Geometric rho and variance purity of each ranked direction, by name.
    """

    spectrum: Spectrum
    entanglement: Mapping[str, Entanglement]
    subspaces: Mapping[int, Float[Tensor, "d_model k"]]
    window: tuple[int, ...]
    chosen: tuple[int, ...]
    ranked: tuple[Direction, ...]
    measures: Mapping[str, Mapping[str, float]]


def empty_plan(bench: Bench, config: RunConfig) -> EditPlan:
    """A plan that removes nothing yet."""
    return EditPlan(
        vectors=(),
        skipped=(),
        scope=config.ablation.scope,
        window=_window(bench, config),
        n_layers=bench.anatomy.n_layers,
        kinds=config.ablation.writers,
        post_norm=config.ablation.post_norm,
        ridge=config.ablation.ridge,
    )


def probe_activations(
    bench: Bench, config: RunConfig, edits: EditSet | None, step: Step
) -> dict[Role, Activations]:
    """Stage 1: activations of the three probed roles, with an edit on the model or without."""
    found: dict[Role, Activations] = {}
    total = sum(len(prompts) for prompts in bench.probe.values())
    done = 0

    def advance(now: int, _: int) -> None:
        step(done + now, total)

    with applied(bench.chat.model, bench.anatomy, edits):
        for role, prompts in bench.probe.items():
            found[role] = capture(
                bench.chat,
                bench.anatomy,
                prompts,
                position=config.probe.position,
                answers=bench.probe_answers[role],
                starts=bench.probe_starts[role],
                answer_tokens=config.probe.answer_tokens,
                winsorise_quantile=config.probe.winsorise,
                progress=advance,
            )
            done += len(prompts)
    return found


def look(
    bench: Bench, config: RunConfig, activations: Mapping[Role, Activations], plan: EditPlan, step: Step
) -> Look:
    """Stages 2 and 3: candidate directions, the evidence for each, and how entangled it is."""
    harmful, harmless, capability = (
        activations[role].values for role in ("harmful", "harmless", "capability")
    )
    settings = config.spectrum
    window = _window(bench, config)
    spectrum = analyse(
        harmful,
        harmless,
        capability,
        method=settings.extraction,
        k=settings.directions_per_layer,
        projected=settings.projected,
        kappa=settings.kappa,
        folds=settings.folds,
        permutations=settings.permutations,
        null_quantile=settings.null_quantile,
        bootstraps=settings.bootstraps,
        seed=config.seed,
        layers=window,
        removed=plan.removed(),
        progress=step,
    )
    chosen = select_layers(
        {layer: spectrum.layer_fdr[layer] for layer in window},
        strategy=settings.layer_strategy,
        top_k=settings.layer_top_k,
        threshold=settings.layer_threshold,
        percentile=settings.layer_percentile,
    )
    entanglement = measure_entanglement(
        spectrum.directions,
        capability,
        harmful,
        harmless,
        # Ranking needs a measure before there are units; the functional one follows in `pipeline.strengths`.
        measure="variance" if config.entanglement.measure == "variance" else "geometric",
        rank=config.entanglement.rank,
        kappa=config.entanglement.kappa,
    )
    ranked = rank_directions(
        [direction for direction in spectrum.directions if direction.layer in chosen],
        {name: found.purity for name, found in entanglement.items()},
        global_top_k=settings.global_top_k,
        min_stability=settings.min_stability,
        significant_only=settings.significant_only,
    )
    subspaces = {
        layer: capability_subspace(capability[:, layer], config.entanglement.rank)[0].float()
        for layer in chosen
    }
    measures = _measures(ranked, harmful, harmless, capability, config)
    return Look(spectrum, entanglement, subspaces, window, tuple(sorted(chosen)), tuple(ranked), measures)


def _measures(
    ranked: Sequence[Direction], harmful: Tensor, harmless: Tensor, capability: Tensor, config: RunConfig
) -> dict[str, dict[str, float]]:
    """Both measures that need activations only: what functional entanglement is compared with."""
    section = config.entanglement
    geometric, variance = (
        measure_entanglement(
            ranked, capability, harmful, harmless, measure=measure, rank=section.rank, kappa=section.kappa
        )
        for measure in ("geometric", "variance")
    )
    return {
        name: {"rho": found.rho, "variance_purity": variance[name].purity}
        for name, found in geometric.items()
    }


def grow(
    plan: EditPlan,
    seen: Look,
    config: RunConfig,
    pass_index: int,
    *,
    entanglement: Mapping[str, Entanglement] | None = None,
) -> EditPlan:
    """Stage 4: add a pass's directions to the plan, weaker from pass to pass.

    Args:
        plan: What is removed already.
        seen: This pass's directions.
        config: The run's settings.
        pass_index: Which pass.
        entanglement: Of the ranked directions, where it was measured otherwise than in `seen`.
    """
    ablation = config.ablation
    return extend(
        plan,
        seen.ranked,
        {**seen.entanglement, **(entanglement or {})},
        seen.subspaces,
        alpha_base=ablation.alpha_base * config.refinement.decay**pass_index,
        alpha_entangled=ablation.alpha_entangled,
        threshold=config.entanglement.threshold,
        purity_scaling=ablation.strengths == "purity",
        pass_index=pass_index,
    )


def _window(bench: Bench, config: RunConfig) -> tuple[int, ...]:
    settings = config.spectrum
    return tuple(depth_window(bench.anatomy.n_layers, settings.depth_min, settings.depth_max))
