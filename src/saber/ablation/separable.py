"""Whether harmful inputs of a writer can be told from preserved ones, on prompts that nothing was fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saber.ablation.reader import ENERGY, LAM, MU, InputMap, InputMode, Inputs, Rows, input_rows, map_of
from saber.errors import ProbeError

SEPARABLE = 0.95
"""Held-out AUROC from which `choose_mode` trusts M3."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The mode that `auto` picked for one writer.

    Attributes:
        mode: M3, or M0 where the roles are not separable at the writer's input.
        auroc: Held-out AUROC of M3 against the preserved role that is hardest to tell from the harmful one.
        role: That role.
        map: The map of the chosen mode, from all rows.
    """

    mode: InputMode
    auroc: float
    role: str
    map: InputMap


def choose_mode(
    inputs: Inputs, *, folds: int = 5, seed: int, least: float = SEPARABLE, lam: float = LAM, mu: float = MU
) -> Choice:
    """M3 where its held-out AUROC is at least `least` against every preserved role, else M0.

    M3 orders inputs by one row whatever the directions are, so the inputs alone decide.

    Args:
        inputs: Inputs of the writer, with the prompt of each row.
        folds: Parts of the prompts of each role; fewer where a role has fewer prompts.
        seed: Seed of the split.
        least: Smallest AUROC for M3.
        lam: See `input_map`.
        mu: See `input_map`.

    Raises:
        ProbeError: A role has inputs of one prompt only.
    """
    rows = Rows.of(inputs)

    def fit(train: Rows) -> Tensor:
        return map_of(train, mode="M3", lam=lam, mu=mu, energy=ENERGY).right[0]

    found = _held_out(rows, inputs, fit, folds, seed)
    role = min(found, key=found.__getitem__)
    mode: InputMode = "M3" if found[role] >= least else "M0"
    return Choice(mode, found[role], role, map_of(rows, mode=mode, lam=lam, mu=mu, energy=ENERGY))


def separability(
    weight: Float[Tensor, "d_model K"],
    read: Float[Tensor, "r d_model"],
    inputs: Inputs,
    *,
    mode: InputMode,
    folds: int = 5,
    seed: int,
    lam: float = LAM,
    mu: float = MU,
    energy: float = ENERGY,
) -> float:
    """Held-out AUROC of what a mode reads, harmful inputs against the preserved role that is hardest to tell.

    Several rows are combined as `sum_j delta_j q_j^T x`: what they read, along the mean shift of the output. Rows and
    shift come from the prompts of the other folds; the AUROCs of the folds are averaged.

    Args:
        weight: The writer's matrix, residual stream first.
        read: What is measured in the writer's raw output.
        inputs: Inputs of the writer, with the prompt of each row.
        mode: See `input_map`.
        folds: Parts of the prompts of each role; fewer where a role has fewer prompts.
        seed: Seed of the split.
        lam: See `input_map`.
        mu: See `input_map`.
        energy: See `input_map`.

    Raises:
        ProbeError: A role has inputs of one prompt only.
    """
    right0 = input_rows(weight, read, inputs, mode="M0").double()

    def fit(train: Rows) -> Tensor:
        shift = right0 @ (train.mean(0) - train.mean(1))
        made = map_of(train, mode=mode, lam=lam, mu=mu, energy=energy)
        return made.rows(shift[None] @ right0)[0]

    return min(_held_out(Rows.of(inputs), inputs, fit, folds, seed).values())


def auroc(positive: Float[Tensor, " n"], negative: Float[Tensor, " m"]) -> float:
    """Chance that a positive scores higher than a negative, ties counting half (Mann and Whitney 1947)."""
    ordered = negative.sort().values
    below = torch.searchsorted(ordered, positive)
    up_to = torch.searchsorted(ordered, positive, right=True)
    return float((below + up_to).double().mean() / (2 * len(negative)))


def _held_out(
    rows: Rows, inputs: Inputs, fit: Callable[[Rows], Tensor], folds: int, seed: int
) -> dict[str, float]:
    """AUROC of harmful inputs against each preserved role, read by rows that were fitted on the other folds."""
    fold = _folds(inputs, folds, seed)
    names = list(inputs.by_role)[1:]
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(int(fold.max()) + 1):
        held = fold == number
        scores, role = rows.x[held] @ fit(rows.subset(~held)), rows.role[held]
        for place, name in enumerate(names, start=1):
            found[name].append(auroc(scores[role == 0], scores[role == place]))
    return {name: sum(values) / len(values) for name, values in found.items()}


def _folds(inputs: Inputs, folds: int, seed: int) -> Int[Tensor, " n"]:
    """Fold of each row: the rows of a prompt stay together, the prompts of each role are dealt out evenly."""
    if folds < 2:
        raise ValueError(f"held-out AUROC needs at least 2 folds, not {folds}")
    generator = torch.Generator().manual_seed(seed)
    prompts = {role: torch.unique(inputs.groups[role], return_inverse=True) for role in inputs.by_role}
    for role, (unique, _) in prompts.items():
        if len(unique) < 2:
            raise ProbeError(
                f"all {role} inputs come from one prompt, and a held-out AUROC needs at least 2",
                hint=f"Give more {role} prompts, or name the mode: --set ablation.input_mode=M0",
            )
    count = min(folds, *(len(unique) for unique, _ in prompts.values()))
    dealt = [
        (torch.randperm(len(unique), generator=generator) % count)[row] for unique, row in prompts.values()
    ]
    return torch.cat(dealt)
