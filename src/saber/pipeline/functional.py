"""Functional entanglement and strengths by quadratic program: the model differentiated by the strengths of a bank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saber.ablation.path import Local, PathPoint, Role, Wish, follow_path, merit
from saber.ablation.plan import EditPlan
from saber.ablation.strength import lambda_grid, predicted, strength_path
from saber.ablation.units import UnitBank
from saber.config import RunConfig
from saber.entanglement.functional import UnitEffect, effect, fisher_matrix, mean_slopes
from saber.errors import ProbeError
from saber.evaluation.sensitivity import Differentiable
from saber.evaluation.tokens import first_token_log_odds
from saber.pipeline.bench import Bench
from saber.prompts import Role as RoleName
from saber.watch import Watch

REFUSING: tuple[RoleName, ...] = ("harmful", "preserve", "borderline")
"""Roles whose refusal log-odds are differentiated."""
GOALS: Mapping[str, tuple[RoleName, tuple[RoleName, ...]]] = {
    "refusal": ("harmful", ("preserve",)),
    "over-refusal": ("borderline", ("harmful", "preserve")),
}
"""For each goal, the role whose refusals should go and the roles whose refusals should stay."""
_FAINT = 0.1
"""First lambda of a path over the one at which no strength exceeds 0.02: fainter edits change no answer."""
_REACH = 1e-3
"""Last lambda of a path over its first one."""


@dataclass
class Sensitivity:
    """A bank of units on the base model, with what was measured of it once.

    Attributes:
        bench: Model and prompts.
        config: The run's settings.
        bank: The units.
        watch: Who follows.
    """

    bench: Bench
    config: RunConfig
    bank: UnitBank
    watch: Watch

    @cached_property
    def _model(self) -> Differentiable:
        return Differentiable(self.bench.chat, self.bench.anatomy, self.bank)

    @cached_property
    def fisher(self) -> Float[Tensor, "n n"]:
        """F on the base's own answers to harmless and capability prompts of PROBE, nats per token."""
        section, bench = self.config.entanglement, self.bench
        said = list(zip(bench.probe["harmless"], bench.probe_answers["harmless"], strict=True))[
            : section.prompts
        ]
        tasks = bench.ask(f"probe-capability-{section.prompts}", bench.probe["capability"][: section.prompts])
        said += [(reply.prompt, reply.answer) for reply in tasks]
        with self.watch.stage("damage by strength (Fisher matrix)") as step:
            draws = self._model.scores(
                [prompt.text for prompt, _ in said],
                [answer.tokens for _, answer in said],
                samples=section.draws,
                seed=self.config.seed,
                first_token=self.config.evaluation.drift == "first_token",
                progress=step,
            )
        return fisher_matrix(draws)

    @cached_property
    def _asked(self) -> dict[str, tuple[list[str], list[tuple[int, ...]]]]:
        """Texts and thoughts of the PROBE prompts of each role that the base refuses."""
        bench, most = self.bench, self.config.entanglement.prompts
        found: dict[str, tuple[list[str], list[tuple[int, ...]]]] = {}
        for role in REFUSING:
            if role == "harmful":
                rows = zip(
                    bench.probe[role], bench.probe_answers[role], bench.probe_starts[role], strict=True
                )
                kept = [(p.text, a.tokens[:start]) for p, a, start in rows if start is not None]
            elif bench.chat.config.thinking == "on":
                replies = bench.ask(f"probe-{role}", bench.splits[role].probe)
                kept = [(r.prompt.text, r.thought) for r in replies if r.refused and r.thought is not None]
            else:
                texts = [prompt.text for prompt in bench.splits[role].probe]
                odds = first_token_log_odds(bench.chat, texts, [()] * len(texts), bench.tokens)
                kept = [(text, ()) for text, value in zip(texts, odds.tolist(), strict=True) if value > 0]
            if kept:
                found[role] = ([text for text, _ in kept[:most]], [thought for _, thought in kept[:most]])
        return found

    def roles(
        self, alpha: Float[Tensor, " n"] | None = None, names: Sequence[str] = REFUSING
    ) -> dict[str, Role]:
        """Refusal log-odds of refused PROBE prompts of some refusing roles at some strengths, with their slopes."""
        found = {}
        for role, (texts, thoughts) in self._asked.items():
            if role in names:
                made = self._model.log_odds(texts, thoughts, self.bench.tokens, at=alpha)
                found[role] = Role(made.values, made.slopes)
        return found

    @cached_property
    def at_base(self) -> dict[str, Role]:
        """`roles` of the base."""
        with self.watch.stage("refusal by strength"):
            return self.roles()

    @cached_property
    def b(self) -> dict[str, Tensor]:
        """By role, drop of the mean refusal log-odds per unit of each strength, nats."""
        return {name: mean_slopes(role.slopes) for name, role in self.at_base.items()}

    def effects(self, places: Mapping[str, Sequence[int]], target: str) -> dict[str, UnitEffect]:
        """First-order effects of groups of units."""
        kappa = self.config.entanglement.kappa
        return {
            name: effect(self.b, self.fisher, own, target=target, kappa=kappa) for name, own in places.items()
        }

    def linear_path(self, target: str, upper: Float[Tensor, " n"]) -> list[dict[str, float]]:
        """The predicted Pareto front, from the base's derivatives alone."""
        start, b = float(self.at_base[target].values.mean()), self.b[target]
        if not bool((b > 0).any()):
            return []
        lams = self._lambdas(target, self.config.ablation.path_points)
        rows = []
        for lam, found in zip(lams, strength_path(self.fisher, b, lams=lams, upper=upper), strict=True):
            drop, drift = predicted(self.fisher, b, found.alpha)
            rows.append({"lambda": lam, "predicted_log_odds": start - drop, "predicted_drift": drift})
        return rows

    def follow(
        self,
        goal: str,
        *,
        upper: Float[Tensor, " n"],
        start: Float[Tensor, " n"] | None,
        keep_weight: float,
        points: int,
    ) -> tuple[PathPoint, ...]:
        """Strengths from faint to strong, linearised again on the way.

        Raises:
            ProbeError: No unit lowers the refusals that should go.
        """
        target, kept = GOALS[goal]
        if target not in self.at_base:
            raise ProbeError(
                f"the base refuses no {target} prompt of PROBE, so there is nothing to lower",
                hint=f"Give {target} prompts that this model refuses (--{target}).",
            )
        section = self.config.ablation
        wishes = [Wish(target, True, margin=section.margin)]
        wishes += [Wish(role, False, keep_weight, section.margin) for role in kept if keep_weight]
        names = [wish.role for wish in wishes]
        lams = self._lambdas(target, points)
        known = self.at_base
        first = True

        def local(alpha: Tensor) -> Local:
            nonlocal first
            at_zero, first = first and not bool(alpha.any()), False
            return merit(known if at_zero else self.roles(alpha, names), wishes)

        with self.watch.stage("strengths by quadratic program") as step:
            done: list[PathPoint] = []

            def on_point(point: PathPoint) -> None:
                done.append(point)
                step(len(done), len(lams))

            return follow_path(
                local,
                self.fisher,
                lams=lams,
                upper=upper,
                start=start,
                steps=section.looks,
                on_point=on_point,
            )

    def _lambdas(self, target: str, points: int) -> list[float]:
        b = self.b[target]
        if not bool((b > 0).any()):
            raise ProbeError(
                f"no unit lowers the refusal log-odds of {target} prompts: the directions found do not carry them",
                hint="Give more prompts, other layers (spectrum.depth_min, depth_max) or another extraction.",
            )
        first = float(lambda_grid(self.fisher, b, 2)[0]) * _FAINT
        return (
            torch.logspace(0.0, torch.log10(torch.tensor(_REACH)).item(), points, dtype=torch.float64)
            .mul(first)
            .tolist()
        )

    def input_modes(self) -> dict[str, Any]:
        """How many writers read their input in each mode."""
        if self.bench.reading is not None:
            return self.bench.reading.record()
        counts = Counter(strand.full.mode for strand in self.bank.strands)
        return {"asked": self.config.ablation.input_mode, "counts": dict(counts), "auroc": {}}

    def unit_rows(self, plan: EditPlan, target: str) -> list[dict[str, Any]]:
        """One row a unit for entanglement.json, without what the activations say of its direction."""
        effects = self.effects({str(place): [place] for place in range(self.bank.n)}, target)
        strengths = plan.strengths(self.bank.units).tolist()
        modes = {strand.writer.module: strand.full.mode for strand in self.bank.strands}
        return [
            {
                "name": unit.name,
                "module": unit.module,
                "layer": unit.layer,
                "kind": unit.kind,
                "direction": unit.direction,
                "pass": plan.vectors[unit.vector].pass_index,
                "input_mode": modes[unit.module],
                "fdr": plan.vectors[unit.vector].direction.fdr,
                "strength": strengths[place],
                **asdict(effects[str(place)]),
            }
            for place, unit in enumerate(self.bank.units)
        ]
