"""How much of a direction survives when an edited weight is rounded to few bits again.

    python benchmarks/requantise.py [--size 2048x4096] [--seeds 5]

A random direction u leaves a matrix W at full strength, `W' = W - u (u^T W)`, and W' is stored in each format. What
survives is `|u^T Q(W')| / |u^T W|`: 0 is a perfect edit, 1 is none. Two ways: the edit is made on the dequantised
weights (all that a quantised checkpoint has), or on the bf16 master that is quantised afterwards. NF4, FP4 and LLM.int8
are bitsandbytes itself, FP8 is torch's e4m3, MXFP4 and int4 are packed here.

W is Gaussian; then Gaussian, but writing along u 4 and 16 times as strongly as along any other direction; then every
writer of the demo model that comes with SABER. The last lines are the table as Markdown (docs/big_models.md holds it).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import bitsandbytes
import torch
from bitsandbytes import functional
from safetensors.torch import load_file
from torch import Tensor

from saber.model.locate import locate

E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
FP8 = torch.float8_e4m3fn


def bf16(weight: Tensor) -> Tensor:
    """Rounding to bfloat16: what every export does."""
    return weight.bfloat16().float()


def fp8_tensor(weight: Tensor) -> Tensor:
    """FP8 with one scale for the whole matrix."""
    scale = weight.abs().max() / torch.finfo(FP8).max
    return (weight / scale).to(FP8).float() * scale


def fp8_rows(weight: Tensor) -> Tensor:
    """FP8 with a scale for each output channel."""
    scale = weight.abs().amax(1, keepdim=True) / torch.finfo(FP8).max
    return (weight / scale).to(FP8).float() * scale


def fp8_blocks(weight: Tensor) -> Tensor:
    """FP8 with a scale for each block of 128 x 128, as DeepSeek and Qwen publish it."""
    blocks = weight.unflatten(1, (-1, 128)).unflatten(0, (-1, 128))
    scale = blocks.abs().amax((1, 3), keepdim=True) / torch.finfo(FP8).max
    return ((blocks / scale).to(FP8).float() * scale).flatten(2).flatten(0, 1)


def mxfp4(weight: Tensor) -> Tensor:
    """MXFP4: 32 four-bit numbers share a power of two, as in gpt-oss."""
    groups = weight.unflatten(1, (-1, 32))
    scale = 2 ** (groups.abs().amax(-1, keepdim=True).clamp_min(1e-30).log2().floor() - 2)
    scaled = (groups / scale).abs()
    edges = (E2M1[1:] + E2M1[:-1]) / 2
    return (E2M1[torch.bucketize(scaled, edges)] * groups.sign() * scale).flatten(1)


def int4(weight: Tensor) -> Tensor:
    """Symmetric 4-bit integers in groups of 128: the grid of GPTQ and AWQ, without their calibration."""
    groups = weight.unflatten(1, (-1, 128))
    scale = groups.abs().amax(-1, keepdim=True) / 7
    return ((groups / scale).round().clamp(-8, 7) * scale).flatten(1)


def _four_bits(kind: str) -> Callable[[Tensor], Tensor]:
    def through(weight: Tensor) -> Tensor:
        packed, state = functional.quantize_4bit(weight.contiguous(), quant_type=kind)
        return functional.dequantize_4bit(packed, state).float()

    return through


def int8(weight: Tensor) -> Tensor:
    """LLM.int8: a scale for each output channel."""
    rows, scales, _ = functional.int8_vectorwise_quant(weight.half())
    return rows.float() * (scales / 127)[:, None]


FORMATS: dict[str, Callable[[Tensor], Tensor]] = {
    "bf16": bf16,
    "int8 (bitsandbytes)": int8,
    "FP8 e4m3, scale a channel": fp8_rows,
    "FP8 e4m3, scale a 128 x 128 block": fp8_blocks,
    "FP8 e4m3, one scale": fp8_tensor,
    "MXFP4": mxfp4,
    "NF4 (bitsandbytes)": _four_bits("nf4"),
    "FP4 (bitsandbytes)": _four_bits("fp4"),
    "int4, groups of 128": int4,
}


def survives(store: Callable[[Tensor], Tensor], weight: Tensor, direction: Tensor) -> tuple[float, float]:
    """Share of a direction that is left: edited after dequantising, and edited before quantising."""
    held = store(weight)
    shares = []
    for base in (held, weight):
        edited = base - torch.outer(direction, direction @ base)
        shares.append(float((direction @ store(edited)).norm() / (direction @ base).norm()))
    return shares[0], shares[1]


Case = tuple[Tensor, Tensor]
"""A matrix (d_model x d_in) and a unit direction (d_model)."""


def gaussian(rows: int, columns: int, strength: float, seeds: int) -> list[Case]:
    """Random matrices that write along a random direction `strength` times as strongly as along any other."""
    cases = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(rows, columns, generator=generator) * 0.02
        direction = torch.nn.functional.normalize(torch.randn(rows, generator=generator), dim=0)
        cases.append((weight + (strength - 1) * torch.outer(direction, direction @ weight), direction))
    return cases


def demo() -> list[Case]:
    """Attention and MLP writers of the demo model, with a random direction each."""
    folder: Path = locate("demo")[0]
    tensors = load_file(folder / "model.safetensors")
    ends = ("o_proj.weight", "down_proj.weight")
    generator = torch.Generator().manual_seed(0)
    weights = [tensor.float() for name, tensor in sorted(tensors.items()) if name.endswith(ends)]
    return [
        (weight, torch.nn.functional.normalize(torch.randn(len(weight), generator=generator), dim=0))
        for weight in weights
    ]


def measure(cases: list[Case], title: str) -> dict[str, tuple[float, float]]:
    """Mean shares over cases, by format."""
    rows = {}
    for name, store in FORMATS.items():
        found = [survives(store, weight, direction) for weight, direction in cases]
        rows[name] = (mean(first for first, _ in found), mean(second for _, second in found))
        print(
            f"{title}, {name}: {rows[name][0]:.3f} dequantised, {rows[name][1]:.3f} master", file=sys.stderr
        )
    return rows


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="2048x4096", help="d_model x d_in of the Gaussian matrices")
    parser.add_argument("--seeds", type=int, default=3, help="Gaussian matrices")
    given = parser.parse_args()
    rows, columns = (int(length) for length in given.size.split("x"))
    titles = [f"{given.size}, 1 x", "4 x", "16 x"]
    found = [
        measure(gaussian(rows, columns, strength, given.seeds), title)
        for strength, title in zip((1.0, 4.0, 16.0), titles, strict=True)
    ]
    found.append(measure(demo(), "demo"))
    plain, *_ = found
    print(f"bitsandbytes {bitsandbytes.__version__}, torch {torch.__version__}, {given.seeds} matrices\n")
    print(f"| format | {' | '.join(titles)} | demo | master: {given.size}, 1 x | demo |")
    print("|---|---|---|---|---|---|---|")
    for name in FORMATS:
        shares = [*(each[name][0] for each in found), plain[name][1], found[-1][name][1]]
        print(f"| {name} | {' | '.join(f'{share:.3f}' for share in shares)} |")


if __name__ == "__main__":
    main()
