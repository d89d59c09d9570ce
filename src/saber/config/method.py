"""The five stages of the method, one section each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from saber.config.section import Count, Fraction, Positive, Section, Share

Extraction = Literal["mean_difference", "svd", "fisher", "whitened_svd", "contrastive"]
LayerStrategy = Literal["top_k", "threshold", "percentile", "elbow"]
Position = Literal["last", "template", "answer"]
Measure = Literal["functional", "geometric", "variance"]
Strengths = Literal["qp", "purity", "uniform"]
InputMode = Literal["auto", "M0", "M1", "M2", "M3"]
PostNorm = Literal["ridge", "least_change", "direction", "naive"]
Scope = Literal["layer", "window", "all"]
WriterKind = Literal["attention", "mlp", "experts", "mixer", "per_layer", "other", "bias", "embedding"]


class ProbeConfig(Section):
    """Stage 1: where activations are read."""

    position: Position = "template"
    """last: final template token; template: mean of all post-instruction template tokens; answer: mean of the first
    answer tokens of the base model's own answer."""
    answer_tokens: Count = 8
    """Answer tokens that `position = "answer"` averages."""
    winsorise: Annotated[float, Field(gt=0.5, le=1.0)] = 0.995
    """Quantile of |value| at which each activation vector is clipped; 1 clips nothing."""


class SpectrumConfig(Section):
    """Stage 2: which directions separate harmful from harmless."""

    extraction: Extraction = "mean_difference"
    """How candidate directions are found in each layer."""
    projected: bool = True
    """mean_difference only: remove the part along the harmless mean."""
    directions_per_layer: Count = 1
    """Candidate directions in each layer (mean_difference and fisher have one)."""
    layer_strategy: LayerStrategy = "top_k"
    """How layers are chosen by their FDR within the depth window."""
    layer_top_k: Count = 10
    """Layers kept by `layer_strategy = "top_k"`."""
    layer_threshold: Share = 0.5
    """Layers kept by `threshold`: those with at least this share of the best layer's FDR."""
    layer_percentile: Annotated[float, Field(ge=0.0, le=100.0)] = 50.0
    """Layers kept by `percentile`: those at or above this percentile of FDR."""
    depth_min: Share = 0.2
    """First depth (layer / (layers - 1)) of the window."""
    depth_max: Share = 0.8
    """Last depth of the window."""
    global_top_k: Count = 1
    """(layer, direction) pairs kept per pass, by FDR x purity."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Folds of the cross-fitted FDR."""
    permutations: Count = 50
    """Label shuffles behind the null."""
    null_quantile: Fraction = 0.95
    """Quantile of the null's maximum over layers and components that a direction's FDR must exceed."""
    significant_only: bool = True
    """Leave out directions that do not exceed their null; off: take `global_top_k` whatever they are (published)."""
    bootstraps: Count = 20
    """Resamples behind a direction's stability."""
    min_stability: Share = 0.0
    """Directions whose stability (mean |cos| over resamples) is lower are not used."""
    kappa: Annotated[float, Field(ge=0.0)] = 1.0
    """contrastive only: weight of the capability covariance in the noise metric."""

    @model_validator(mode="after")
    def _window_is_not_empty(self) -> SpectrumConfig:
        if self.depth_min > self.depth_max:
            raise ValueError(f"depth_min {self.depth_min} lies behind depth_max {self.depth_max}")
        return self


class EntanglementConfig(Section):
    """Stage 3: how much of a direction is capability."""

    measure: Measure = "functional"
    """functional: what a direction does to refusals against what it does to other answers, by derivatives through the
    model (directions are ranked by the geometric one); geometric: overlap with the capability subspace; variance:
    separation against capability variance."""
    rank: Count = 8
    """Principal components that span the capability subspace."""
    kappa: Positive = 1.0
    """variance and functional: weight of the capability variance, or of the square root of the Fisher information."""
    prompts: Count = 64
    """Most PROBE prompts of each role that the model is differentiated on."""
    draws: Count = 4
    """Draws for each answer behind the Fisher matrix, one backward pass each."""
    damage_units: Annotated[int, Field(ge=0)] = 24
    """Most units that are ablated alone to see how well each measure predicts damage; 0: none."""
    threshold: Share = 1.0
    """Directions with rho above this are skipped; 1 skips none."""


class AblationConfig(Section):
    """Stage 4: how strongly each direction is removed, and where."""

    alpha_base: Share = 1.0
    """Strength of a perfectly pure direction (purity), of every direction (uniform), or the most (qp)."""
    alpha_entangled: Share = 0.03
    """purity only: strength of the part that lies in the capability subspace."""
    strengths: Strengths = "qp"
    """qp: each writer of each direction has its own strength, found by quadratic programs in refusal and damage;
    purity: alpha_base x purity, the entangled part apart (published SABER); uniform: alpha_base everywhere."""
    path_points: Annotated[int, Field(ge=2)] = 12
    """qp only: points from the faintest edit to the strongest."""
    looks: Count = 3
    """qp only: most linearisations at each point of the path."""
    margin: Annotated[float, Field(ge=0.0)] = 2.0
    """qp only: log-odds beyond the balance from which a prompt counts as settled, nats."""
    keep_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """qp only: weight of refusals that should stay (the preserve role) against those that should go; 0: not weighed."""
    input_mode: InputMode = "M0"
    """How a writer's input is read (METHOD section 4): M0 all of the direction; M1 outside what preserved inputs span;
    M2 least squares; M3 only the shift that harmful inputs have; auto: M3 where harmful and preserved inputs can be
    told apart (held-out AUROC >= 0.95), else M0."""
    input_weight: Positive = 1.0
    """M2 and M3: weight of preserved inputs against harmful ones."""
    input_rows: Annotated[int, Field(ge=8)] = 512
    """M1 to M3: most tokens of each role whose inputs are kept."""
    scope: Scope = "all"
    """Writers that lose a direction: of its own layer, of the depth window, or of all layers."""
    writers: Annotated[tuple[WriterKind, ...], Field(min_length=1)] = (
        "attention",
        "mlp",
        "experts",
        "mixer",
        "per_layer",
        "other",
        "bias",
    )
    """Kinds of residual writers that are edited (mixer: Mamba, convolution, linear attention); embedding on request.
    A tied embedding is untied then: the unembedding stays as it was."""
    experts: Literal["all", "routed"] = "all"
    """Which experts of a fused block are edited: all alike, or only those that harmful prompts are routed to."""
    expert_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    """experts = "routed" only: the fewest experts that get this share of the harmful PROBE prompts' routing."""
    post_norm: PostNorm = "ridge"
    """Solution behind a post-norm (METHOD: ridge, least weight change, direction only) or the naive one that leaks."""
    ridge: Positive = 0.03
    """c in tau = c mean(g^2) of the ridge solution."""


class RefinementConfig(Section):
    """Stage 5: probe the edited model again until it is quiet."""

    max_iterations: Count = 4
    """Most passes."""
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Factor on alpha_base for each further pass."""
    stop_at_target: bool = True
    """Stop when the target is met or nothing is gained; off: only a broken constraint or an empty pass ends it."""
    refusal_target: Share = 0.05
    """Quiet: the upper confidence limit of refusal on SELECT's harmful prompts is at most this (zero refusals where
    SELECT is too small to prove it)."""
    drift_budget: Positive = 1.0
    """Stop (and take the last pass back) when SELECT's KL exceeds this, nats per token."""
    kept_refusal_floor: Share = 0.0
    """Stop (and take the last pass back) when less than this share of the base's severe refusals is kept on SELECT."""
    degenerate_limit: Share = 0.05
    """Stop (and take the last pass back) when more of SELECT's answers than this are degenerate or empty."""
    min_gain: Share = 0.01
    """Stop when the dominated area of (refusal, drift) grew by less than this share twice in a row."""
    line_search: Annotated[int, Field(ge=0)] = 5
    """Bisection steps for the smallest common scale of all strengths that meets the target on SELECT; 0: off."""
    line_search_margin: Annotated[float, Field(ge=0.0)] = 0.1
    """Share that is added to the scale found: the smallest quiet scale on SELECT is also the luckiest one."""
