"""Planted problems: activations with a known direction, mean and noise covariance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor


@dataclass(frozen=True)
class Planted:
    harmful: Tensor
    harmless: Tensor
    capability: Tensor
    direction: Tensor
    """Unit vector along which harmful activations are shifted."""
    nuisance: Tensor
    """Unit vector, orthogonal to it, along which everything varies a lot."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def plant() -> Callable[..., Planted]:
    def build(
        seed: int = 0,
        *,
        n_h: int = 60,
        n_s: int = 60,
        d: int = 48,
        shift: float = 4.0,
        nuisance: float = 6.0,
        tilt: float = 0.0,
        offset: float = 5.0,
    ) -> Planted:
        """Noise of sd 1, and of sd `nuisance` along one axis; the shift leans towards that axis by `tilt`."""
        g = torch.Generator().manual_seed(seed)
        axes = torch.linalg.qr(torch.randn(d, 3, generator=g, dtype=torch.float64))[0].T
        direction = (axes[0] + tilt * axes[1]) / (1.0 + tilt**2) ** 0.5

        def role(n: int) -> Tensor:
            noise = torch.randn(n, d, generator=g, dtype=torch.float64)
            extra = nuisance * torch.randn(n, 1, generator=g, dtype=torch.float64) * axes[1]
            return noise + extra + offset * axes[2]

        return Planted(role(n_h) + shift * direction, role(n_s), role(n_s), direction, axes[1])

    return build


@pytest.fixture(scope="session")
def rotation() -> Callable[[int, int], Tensor]:
    def build(d: int, seed: int) -> Tensor:
        g = torch.Generator().manual_seed(seed)
        return torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64))[0]

    return build
