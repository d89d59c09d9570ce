"""Train the demo model from scratch: ``python -m saber.organism.train --out DIR``.

Ordinary next-token training on the answers of the generated corpus, on CPU. The run is a deterministic
function of seed, steps and thread count; the checkpoint appears in DIR whole or not at all.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from saber.organism import measure, network, release
from saber.organism.batches import Batch, Batches
from saber.organism.heldout import prompt_sets
from saber.organism.optimizer import Optimizer
from saber.organism.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from transformers import Gemma4ForCausalLM

DEFAULT_STEPS = 2300
WARMUP = 50
MATRIX_LR, EMBEDDING_LR, GAIN_LR = 0.02, 0.004, 0.01
REPORT_EVERY = 50


@dataclass(frozen=True)
class Options:
    """What the command line chose."""

    out: Path
    seed: int
    steps: int
    minutes: float | None
    threads: int


class Log:
    """Prints progress and keeps it for ``training.log``."""

    def __init__(self) -> None:
        """Start the clock."""
        self.start = time.perf_counter()
        self.lines: list[str] = []

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.perf_counter() - self.start

    def say(self, text: str) -> None:
        """Print one line now and keep it."""
        self.lines.append(text)
        print(text, flush=True)


def loss_of(model: Gemma4ForCausalLM, batch: Batch) -> torch.Tensor:
    """Weighted mean of the cross-entropy in nats over the answer tokens of a batch."""
    hidden = model.model(batch.ids, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden.flatten(0, 1)[batch.positions])
    cap = float(network.SHAPE["final_logit_softcapping"])
    return batch.weights @ cross_entropy(torch.tanh(logits / cap) * cap, batch.targets, reduction="none")


def schedule(done: float, step: int) -> float:
    """Learning-rate factor: linear warm-up times a cosine from one to zero over the share ``done``."""
    return min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def fit(model: Gemma4ForCausalLM, batches: Batches, options: Options, log: Log) -> int:
    """Train until the steps or the minutes are used up; return the number of steps."""
    optimizer = Optimizer(model, MATRIX_LR, EMBEDDING_LR, GAIN_LR)
    model.train()
    begin, recent = log.seconds, []
    for step, batch in enumerate(batches):
        spent = log.seconds - begin
        done = spent / (60 * options.minutes) if options.minutes else step / options.steps
        if done >= 1:
            return step
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step(schedule(done, step))
        recent.append(loss.item())
        if (step + 1) % REPORT_EVERY == 0:
            left = spent / done * (1 - done) / 60 if done else math.nan
            mean = sum(recent) / len(recent)
            log.say(f"step {step + 1:5d}  loss {mean:6.4f}  {spent / 60:5.1f} min  {left:5.1f} min left")
            recent.clear()
    raise AssertionError("the corpus stream has no end")


def refuse_leaks(seen: set[str]) -> None:
    """Raise if any held-out prompt was trained on."""
    leaked = [row["prompt"] for rows in prompt_sets().values() for row in rows if row["prompt"] in seen]
    if leaked:
        raise ValueError(f"{len(leaked)} held-out prompts were trained on, for example {leaked[0]!r}")


def train(options: Options) -> None:
    """Build, fit, check, save and measure the model."""
    torch.set_num_threads(options.threads)
    log = Log()
    tokenizer = train_tokenizer(options.seed)
    model = network.build(len(tokenizer), options.seed)
    parameters = sum(p.numel() for p in model.parameters())
    log.say(f"{parameters / 1e6:.2f} M parameters, {len(tokenizer)} tokens in the vocabulary")
    batches = Batches(tokenizer, options.seed)
    steps = fit(model, batches, options, log)
    refuse_leaks(batches.prompts)
    log.say(f"trained {steps} steps on {batches.examples} examples in {log.seconds / 60:.1f} min; measuring")
    with release.whole_folder(options.out) as folder:
        release.save_checkpoint(model.eval(), tokenizer, folder)
        rates = measure.held_out_rates(*measure.load(folder))
        log.say(measure.table(rates))
        facts = {
            "command": f"python -m saber.organism.train --seed {options.seed} --steps {steps}"
            f" --threads {options.threads}",
            "seed": options.seed,
            "steps": steps,
            "examples": batches.examples,
            "parameters": parameters,
            "wall_seconds": round(log.seconds, 1),
            "threads": options.threads,
            "corpus_sha256": batches.digest.hexdigest(),
            "held_out": rates,
        }
        release.write_record(facts, log.lines, folder)
    print(f"wrote {options.out}")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; replaced when it exists")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS)
    parser.add_argument("--minutes", type=float, help="train this long instead of --steps; not reproducible")
    parser.add_argument("--threads", type=int, default=1, help="the shipped model used 1; 2 is faster")
    chosen = parser.parse_args()
    train(Options(chosen.out, chosen.seed, chosen.steps, chosen.minutes, chosen.threads))


if __name__ == "__main__":
    main()
