"""What stage 2 makes: directions with the evidence for them."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Direction:
    """One direction of one layer that separates harmful from harmless prompts."""

    layer: int
    """Block whose output (`resid_post`) was read, 0-based."""
    component: int
    """Rank among the layer's candidates, 0 first."""
    vector: Float[Tensor, " d_model"]
    """Unit pattern: what is written along this direction is what an edit removes."""
    filter: Float[Tensor, " d_model"]
    """Unit filter: what reads the pattern; equals `vector` except for whitened_svd and contrastive."""
    fdr: float
    """Cross-fitted Fisher discriminant ratio of the filter's projections."""
    fdr_in_sample: float
    """The same ratio on the prompts that it was fitted on: far too high when prompts < channels."""
    null: float
    """Quantile of the largest cross-fitted ratio over layers and components under shuffled labels."""
    stability: float
    """Mean |cos| between this vector and its counterpart in bootstrap resamples, 0-1."""

    @property
    def significant(self) -> bool:
        """Whether the direction separates better than chance does anywhere in the model."""
        return self.fdr > self.null

    @property
    def name(self) -> str:
        """The layer and component, such as "L12.0"."""
        return f"L{self.layer}.{self.component}"


@dataclass(frozen=True, eq=False)
class Spectrum:
    """All candidate directions of one pass, significant or not, and the separation of every layer."""

    directions: tuple[Direction, ...]
    """Candidates, by layer and component."""
    layer_fdr: tuple[float, ...]
    """Separation of class means over spread within classes, for every layer of the model (index = layer)."""
    null: float
    """Family-wise threshold for `Direction.fdr`."""
    extraction: str
    """Method that found the directions."""
    n_harmful: int
    """Harmful prompts used."""
    n_harmless: int
    """Harmless prompts used."""

    def at(self, layer: int) -> tuple[Direction, ...]:
        """The candidates of one layer, by component; empty if there are none."""
        return tuple(direction for direction in self.directions if direction.layer == layer)
