from __future__ import annotations

import pytest
import torch

from saber.errors import ProbeError
from saber.spectrum.analyse import analyse
from saber.spectrum.extraction import METHODS

ALL = sorted(METHODS)
OPTIONS = {
    "method": "mean_difference",
    "k": 1,
    "projected": True,
    "kappa": 1.0,
    "folds": 5,
    "permutations": 12,
    "null_quantile": 0.95,
    "bootstraps": 5,
    "seed": 0,
}


def layered(plant, shifts, **options):
    problems = [plant(seed, shift=shift, **options) for seed, shift in enumerate(shifts)]
    return problems, *(
        torch.stack([getattr(p, role) for p in problems], dim=1).float()
        for role in ("harmful", "harmless", "capability")
    )


@pytest.mark.parametrize("method", ALL)
def test_only_layers_with_a_planted_direction_are_significant(plant, method):
    problems, *roles = layered(plant, (0.0, 5.0, 0.0, 6.0), nuisance=1.0)
    spectrum = analyse(*roles, layers=range(4), **(OPTIONS | {"method": method}))
    assert [d.name for d in spectrum.directions if d.significant] == ["L1.0", "L3.0"]
    for layer in (1, 3):
        (found,) = spectrum.at(layer)
        assert float(found.vector @ problems[layer].direction.float()) > 0.9
        assert found.stability > 0.9
        assert found.null == spectrum.null
        assert found.fdr < 1.1 * found.fdr_in_sample
    assert spectrum.layer_fdr[3] > spectrum.layer_fdr[1] > 10 * max(spectrum.layer_fdr[0::2])
    assert (spectrum.extraction, spectrum.n_harmful, spectrum.n_harmless) == (method, 60, 60)


# The null is a quantile of the maximum over layers and components: with 19 shuffles a run of pure noise
# exceeds the largest with probability 0.05. P(2 or more of 6) = 0.03, and the seeds are fixed.
@pytest.mark.parametrize(("method", "k"), [("mean_difference", 1), ("svd", 3), ("contrastive", 2)])
def test_pure_noise_gives_nothing_above_the_null(method, k):
    false = 0
    for seed in range(6):
        g = torch.Generator().manual_seed(seed)
        roles = [torch.randn(n, 2, 100, generator=g) for n in (24, 24, 20)]
        options = OPTIONS | {"method": method, "k": k, "bootstraps": 1, "seed": seed}
        options |= {"permutations": 19, "null_quantile": 0.999}
        false += any(d.significant for d in analyse(*roles, layers=range(2), **options).directions)
    assert false <= 1


def test_permuted_labels_give_nothing_above_the_null(plant):
    _, harmful, harmless, _ = layered(plant, (5.0, 6.0), nuisance=1.0)
    pooled = torch.cat([harmful, harmless])
    false = 0
    for seed in range(5):
        order = torch.randperm(120, generator=torch.Generator().manual_seed(seed))
        spectrum = analyse(pooled[order[:60]], pooled[order[60:]], layers=range(2), **OPTIONS)
        false += any(d.significant for d in spectrum.directions)
    assert false <= 1


@pytest.mark.parametrize("method", ALL)
def test_new_directions_are_orthogonal_to_removed_ones_and_find_what_is_left(plant, method):
    p = plant(0, d=120, shift=6.0, nuisance=2.0, tilt=0.5)
    roles = [x[:, None].float() for x in (p.harmful, p.harmless, p.capability)]
    options = OPTIONS | {"method": method, "k": 2, "layers": [0]}
    first = analyse(*roles, **options)
    removed = torch.stack([d.vector for d in first.directions])
    if len(removed) > 1:
        removed = torch.linalg.qr(removed.T)[0].T
    again = analyse(*roles, **options, removed={0: removed, 7: removed})
    for direction in again.directions:
        assert float((removed @ direction.vector).abs().max()) < 1e-6
        assert float((removed @ direction.filter).abs().max()) < 1e-6
        assert float(direction.vector.norm()) == pytest.approx(1.0, abs=1e-6)
    assert again.layer_fdr[0] < 0.2 * first.layer_fdr[0] or method == "fisher"


def test_the_same_call_gives_the_same_bytes_and_another_seed_does_not(plant):
    _, *roles = layered(plant, (2.0, 3.0))
    one, two = (analyse(*roles, layers=range(2), **OPTIONS) for _ in range(2))
    other = analyse(*roles, layers=range(2), **(OPTIONS | {"seed": 1}))
    for a, b in zip(one.directions, two.directions, strict=True):
        assert torch.equal(a.vector, b.vector)
        assert (a.fdr, a.null, a.stability) == (b.fdr, b.null, b.stability)
    assert one.null != other.null
    assert one.directions[0].stability != other.directions[0].stability
    assert torch.equal(one.directions[0].vector, other.directions[0].vector)


def test_directions_depend_on_their_own_layer_only(plant):
    _, *roles = layered(plant, (2.0, 3.0, 4.0))
    whole = analyse(*roles, layers=range(3), **OPTIONS)
    part = analyse(*roles, layers=[2], **OPTIONS)
    assert [d.name for d in part.directions] == ["L2.0"]
    assert torch.equal(part.directions[0].vector, whole.at(2)[0].vector)
    assert part.directions[0].fdr == whole.at(2)[0].fdr
    assert part.layer_fdr == whole.layer_fdr
    assert part.null <= whole.null


@pytest.mark.parametrize("method", ALL)
def test_scores_do_not_change_when_d_model_is_rotated(plant, rotation, method):
    _, *roles = layered(plant, (3.0,), d=150)
    q = rotation(150, 3)
    options = OPTIONS | {"method": method, "k": 2, "layers": [0], "permutations": 3}
    base = analyse(*(x.double() for x in roles), **options)
    turned = analyse(*(x.double() @ q for x in roles), **options)
    assert turned.null == pytest.approx(base.null, rel=1e-4)
    for a, b in zip(base.directions, turned.directions, strict=True):
        torch.testing.assert_close(b.vector, (a.vector.double() @ q).float(), atol=1e-4, rtol=0)
        assert b.fdr == pytest.approx(a.fdr, rel=1e-4)


def test_unequal_classes_half_precision_and_progress(plant):
    _, harmful, harmless, _ = layered(plant, (5.0, 5.0), n_h=30, n_s=44, nuisance=0.0)
    seen = []
    spectrum = analyse(
        harmful.bfloat16(),
        harmless.bfloat16(),
        layers=[0, 1],
        progress=lambda *counts: seen.append(counts),
        **OPTIONS,
    )
    assert seen == [(1, 2), (2, 2)]
    assert all(d.significant for d in spectrum.directions)
    assert (spectrum.n_harmful, spectrum.n_harmless) == (30, 44)
    assert spectrum.directions[0].vector.dtype == torch.float32


@pytest.mark.parametrize("method", ALL)
def test_constant_layers_have_no_directions(plant, method):
    _, *roles = layered(plant, (5.0, 5.0))
    for role in roles:
        role[:, 0] = 1.0
    spectrum = analyse(*roles, layers=range(2), **(OPTIONS | {"method": method, "projected": False}))
    assert {d.layer for d in spectrum.directions} == {1}
    assert spectrum.layer_fdr[0] == 0.0


def test_more_components_than_rank_gives_fewer():
    g = torch.Generator().manual_seed(0)
    axes = torch.randn(2, 30, generator=g)
    harmful, harmless = (torch.randn(15, 1, 2, generator=g) @ axes for _ in range(2))
    spectrum = analyse(harmful, harmless, layers=[0], **(OPTIONS | {"method": "svd", "k": 5}))
    assert len(spectrum.directions) == 2


def test_more_prompts_than_the_bounded_rank(plant):
    p = plant(0, d=400, n_h=150, n_s=150, shift=6.0, nuisance=1.0)
    roles = [x[:, None] for x in (p.harmful, p.harmless, p.capability)]
    options = OPTIONS | {"method": "contrastive", "permutations": 1, "bootstraps": 1}
    spectrum = analyse(*roles, layers=[0], **options)
    assert float(spectrum.directions[0].vector @ p.direction.float()) > 0.7


def test_problems_are_named_with_their_numbers():
    x = torch.randn(12, 3, 8)
    with pytest.raises(ProbeError, match="9 harmful prompts are left, but 5 folds need at least 10"):
        analyse(x[:9], x, layers=[0], **OPTIONS)
    with pytest.raises(ProbeError, match="1 harmless prompts"):
        analyse(x, x[:1], layers=[0], **OPTIONS)
    broken = x.clone()
    broken[3, 1, 2] = float("nan")
    with pytest.raises(ProbeError, match=r"harmless activations are not finite in layers \[1\]"):
        analyse(x, broken, layers=[0], **OPTIONS)
    for layers in ([], [3], [-1]):
        with pytest.raises(ProbeError, match="layers 0 to 2"):
            analyse(x, x, layers=layers, **OPTIONS)
