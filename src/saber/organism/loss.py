"""Training loss of the demo models: next-token loss on the answers, and evenly used experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from saber.organism.batches import Batch
from saber.organism.tokenizer import PAD_ID

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def loss_of(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Weighted mean of the cross-entropy in nats over the answer tokens of a batch."""
    return _answer_loss(model, model.model(batch.ids, use_cache=False).last_hidden_state, batch)


def balanced_loss_of(model: PreTrainedModel, batch: Batch) -> Tensor:
    """``loss_of`` a mixture of experts plus the load-balancing loss at the config's weight."""
    output = model.model(batch.ids, use_cache=False, output_router_logits=True)
    uneven = imbalance(model.config, output.router_logits, batch.ids != PAD_ID)
    weight: float = model.config.router_aux_loss_coef
    return _answer_loss(model, output.last_hidden_state, batch) + weight * uneven


def imbalance(config: Any, router_logits: tuple[Tensor, ...], real: Tensor) -> Tensor:
    """Mean over blocks of the Switch load-balancing loss of the ``real`` tokens; even use has the value top-k.

    transformers' function pools its layers, so that uneven blocks could cancel; here each block counts.
    """
    from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

    losses = [
        load_balancing_loss_func((logits,), config.num_experts, config.num_experts_per_tok, real)
        for logits in router_logits
    ]
    return torch.stack(losses).mean()


def _answer_loss(model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
    logits = model.lm_head(hidden.flatten(0, 1)[batch.positions])
    cap = getattr(model.config, "final_logit_softcapping", None)
    if cap:
        logits = torch.tanh(logits / cap) * cap
    return batch.weights @ cross_entropy(logits, batch.targets, reduction="none")
