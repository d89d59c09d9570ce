"""Train a demo model from scratch: ``python -m saber.organism.train --out DIR [--architecture qwen3_moe]``.

Ordinary next-token training on the answers of the generated corpus, on CPU. The run is a deterministic
function of seed, steps and thread count; the checkpoint appears in DIR whole or not at all.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from saber.organism import measure, network, release
from saber.organism.batches import Batch, Batches
from saber.organism.heldout import prompt_sets
from saber.organism.optimizer import Optimizer
from saber.organism.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
    architecture: str = "gemma4"


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


def schedule(done: float, step: int) -> float:
    """Learning-rate factor: linear warm-up times a cosine from one to zero over the share ``done``."""
    return min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def fit(model: PreTrainedModel, batches: Iterable[Batch], options: Options, log: Log) -> int:
    """Train until the steps or the minutes are used up; return the number of steps."""
    optimizer = Optimizer(model, MATRIX_LR, EMBEDDING_LR, GAIN_LR)
    model.train()
    loss_of = network.ARCHITECTURES[options.architecture].loss
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
    raise ValueError("the batches ended before the training")


def refuse_leaks(seen: set[str]) -> None:
    """Raise if any held-out prompt was trained on."""
    leaked = [row["prompt"] for rows in prompt_sets().values() for row in rows if row["prompt"] in seen]
    if leaked:
        raise ValueError(f"{len(leaked)} held-out prompts were trained on, for example {leaked[0]!r}")


def command(options: Options, steps: int) -> str:
    """Write the command that trains the same model again."""
    kind = "" if options.architecture == "gemma4" else f" --architecture {options.architecture}"
    return f"python -m saber.organism.train{kind} --seed {options.seed} --steps {steps} --threads {options.threads}"


def train(options: Options) -> None:
    """Build, fit, check, save and measure the model."""
    torch.set_num_threads(options.threads)
    log = Log()
    tokenizer = train_tokenizer(options.seed)
    model = network.build(len(tokenizer), options.seed, options.architecture)
    parameters = sum(p.numel() for p in model.parameters())
    log.say(f"{parameters / 1e6:.2f} M parameters, {len(tokenizer)} tokens in the vocabulary")
    batches = Batches(tokenizer, options.seed)
    steps = fit(model, batches, options, log)
    refuse_leaks(batches.prompts)
    log.say(f"trained {steps} steps on {batches.examples} examples in {log.seconds / 60:.1f} min; measuring")
    with release.whole_folder(options.out) as folder:
        release.save_checkpoint(
            model.eval(), tokenizer, network.ARCHITECTURES[options.architecture].card, folder
        )
        rates = measure.held_out_rates(*measure.load(folder))
        log.say(measure.table(rates))
        facts = {
            "command": command(options, steps),
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
    parser.add_argument("--architecture", choices=sorted(network.ARCHITECTURES), default="gemma4")
    parser.add_argument("--steps", type=int, help="default: those of the released model")
    parser.add_argument("--minutes", type=float, help="train this long instead of --steps; not reproducible")
    parser.add_argument("--threads", type=int, default=1, help="the shipped models used 1; 2 is faster")
    chosen = parser.parse_args()
    steps = chosen.steps or network.ARCHITECTURES[chosen.architecture].steps
    train(Options(chosen.out, chosen.seed, steps, chosen.minutes, chosen.threads, chosen.architecture))


if __name__ == "__main__":
    main()
