"""A decoder of plain torch, made to be changed: discovery must see what a change does, whatever it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

WIDTH = 32
VOCAB = 50
Change = Callable[["Block"], None]


class Block(nn.Module):
    """h + out(mean of the past) + norm(down(relu(up(norm h)))), with room for planted modules."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index
        self.before, self.between, self.behind = (nn.RMSNorm(WIDTH) for _ in range(3))
        self.value = nn.Linear(WIDTH, 24)
        self.out = nn.Linear(24, WIDTH)
        self.up = nn.Linear(WIDTH, 40)
        self.down = nn.Linear(40, WIDTH, bias=False)
        self.planted: nn.Module | None = None
        self.planted_writes = False

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, None]:
        past = self.value(self.before(hidden_states)).cumsum(1)
        mean = past / torch.arange(1, past.shape[1] + 1)[:, None]
        hidden_states = hidden_states + self.out(mean)
        inner = torch.relu(self.up(self.between(hidden_states)))
        hidden_states = hidden_states + self.behind(self.down(inner))
        if self.planted is not None:
            made = self.planted(inner)
            # Used either way, so that only what is done with it tells a writer from another module.
            hidden_states = (
                hidden_states + made
                if self.planted_writes
                else hidden_states * made.mean(-1, keepdim=True).exp()
            )
        return hidden_states, None


class Idle(nn.Module):
    """A block that only scales the stream."""

    def __init__(self, *, learned: bool) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(WIDTH, elementwise_affine=learned)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor]:
        return (self.norm(hidden_states),)


class Toy(nn.Module):
    """Embedding, blocks called by keyword that return tuples, norm, head."""

    def __init__(self, n_layers: int = 3, change: Change | None = None, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.Embedding(VOCAB, WIDTH)
        self.stack = nn.ModuleList(Block(i) for i in range(n_layers))
        self.norm = nn.RMSNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB)
        for block in self.stack:
            if change is not None:
                change(block)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = self.table(input_ids)
        for block in self.stack:
            hidden = block(hidden_states=hidden)[0]
        return self.head(self.norm(hidden))


class Experts(nn.Module):
    """A list of experts of which the inputs reach only the first two."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(40, WIDTH) for _ in range(4))

    def forward(self, inner: Tensor) -> Tensor:
        odd = torch.arange(inner.shape[1])[:, None] % 2
        return odd * self.experts[0](inner) + (1 - odd) * self.experts[1](inner)


class _Doubled(torch.autograd.Function):
    """A custom function without a rule for batches of gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient.contiguous().clone(memory_format=torch.contiguous_format)


class Unbatchable(nn.Module):
    """A linear layer behind a custom autograd function."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(40, WIDTH, bias=False)

    def forward(self, inner: Tensor) -> Tensor:
        doubled: Tensor = _Doubled.apply(self.linear(inner))
        return doubled


def inputs() -> dict[str, Tensor]:
    """One short text."""
    return {"input_ids": torch.arange(3, 15)[None]}
