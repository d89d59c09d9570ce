"""Every knob of a run, one section a stage; frozen, unknown keys refused, no torch imported.

Published SABER's parameters keep their published names: `spectrum.extraction`, `spectrum.directions_per_layer`,
`spectrum.layer_strategy`, `spectrum.global_top_k`, `ablation.alpha_base`, `ablation.alpha_entangled`,
`entanglement.threshold`, `refinement.max_iterations`, `refinement.decay`, `prompts.n_harmful`, `prompts.n_harmless`,
`prompts.n_capability`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Extraction = Literal["mean_difference", "svd", "fisher", "whitened_svd", "contrastive"]
LayerStrategy = Literal["top_k", "threshold", "percentile", "elbow"]
Position = Literal["last", "template", "answer"]
Measure = Literal["geometric", "variance"]
PostNorm = Literal["ridge", "least_change", "direction", "naive"]
Scope = Literal["layer", "window", "all"]
WriterKind = Literal["attention", "mlp", "experts", "mixer", "per_layer", "other", "bias", "embedding"]

Thinking = Literal["off", "on"]
ExportFormat = Literal["none", "checkpoint", "adapter", "dequantised"]

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]


class Section(BaseModel):
    """A frozen section: unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PromptsConfig(Section):
    """What is asked, and how it is divided into PROBE, SELECT and TEST."""

    harmful: str = "builtin"
    """Source of requests that the base model should refuse (SPEC: builtin, a file, or hf:org/name[split]:column)."""
    harmless: str = "builtin"
    """Source of requests that the base model should answer (SPEC)."""
    capability: str = "builtin"
    """Source of tasks with checkable answers (SPEC)."""
    borderline: str = "builtin"
    """Source of safe requests that sound harmful (SPEC)."""
    preserve: str = "builtin"
    """Source of severe requests whose refusals should stay (SPEC)."""
    n_harmful: Count = 128
    """Most harmful prompts in the PROBE split."""
    n_harmless: Count = 128
    """Most harmless prompts in the PROBE split."""
    n_capability: Count = 100
    """Most capability prompts in the PROBE split."""
    select_share: Fraction = 0.2
    """Share of each role that goes to SELECT (strengths and stopping are decided there)."""
    test_share: Fraction = 0.4
    """Share of each role that goes to TEST (evaluated once)."""
    near_duplicate: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    """Token-set Jaccard similarity from which two prompts count as one cluster (0-1]."""
    behaviour_filter: bool = True
    """Keep harmful PROBE prompts that the base refuses and harmless ones that it answers; the rest is counted."""
    system: str = ""
    """System message put before every prompt; empty: none."""


class ModelConfig(Section):
    """How the base model is loaded."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Weights' type; auto keeps the checkpoint's own (float32 on a CPU for models under 1 GB)."""
    device: str = "auto"
    """auto (device_map), cpu, cuda, cuda:1, ..."""
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Prompts per forward pass; auto: 64."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model; off unless asked."""
    allow_pickle: bool = False
    """Load weights from pickle files (.bin); off unless asked."""
    quantise: Literal["keep", "none", "4bit", "8bit"] = "keep"
    """keep: as on disk; none: a quantised checkpoint is dequantised to `dtype`; 4bit, 8bit: an unquantised one is
    quantised with bitsandbytes while loading (measured quantised, exported unquantised from the files on disk)."""
    offload: Literal["refuse", "cpu", "disk"] = "refuse"
    """How far away from the device weights may be kept that do not fit on it: nowhere, in the CPU's memory, on the
    disk. Slow; needs device = "auto"."""
    max_memory: tuple[Annotated[str, Field(pattern=r"^(\d+|cpu)=\d+(\.\d+)?[KMG]i?B$")], ...] = ()
    """Most memory for weights on each device, such as ["0=20GiB", "cpu=60GiB"]; empty: what is free."""
    tensor_parallel: bool = False
    """Divide every layer among the processes that torchrun started."""
    thinking: Thinking = "off"
    """off: the answer starts at once, a thought that the template opens is closed empty; on: the model thinks, and
    answers are judged behind the thought (give evaluation.max_new_tokens room for both)."""
    strict: bool = False
    """Refuse architectures with a path into the residual stream that no weight edit removes."""


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

    measure: Measure = "geometric"
    """geometric: overlap with the capability subspace; variance: separation against capability variance."""
    rank: Count = 8
    """Principal components that span the capability subspace."""
    kappa: Positive = 1.0
    """variance only: weight of the capability variance."""
    threshold: Share = 1.0
    """Directions with rho above this are skipped; 1 skips none."""


class AblationConfig(Section):
    """Stage 4: how strongly each direction is removed, and where."""

    alpha_base: Share = 1.0
    """Strength of a perfectly pure direction; the pure part gets alpha_base x purity."""
    alpha_entangled: Share = 0.03
    """Strength of the part that lies in the capability subspace."""
    purity_scaling: bool = False
    """Scale strengths with purity and treat the entangled part apart; off: alpha_base for the whole direction."""
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


class EvaluationConfig(Section):
    """What is measured, and how precisely."""

    max_new_tokens: Count = 48
    """Longest answer, tokens."""
    signal_tokens: Count = 32
    """Longest answer on SELECT while strengths are chosen, tokens; raise it for models that think before answering."""
    confidence: Fraction = 0.95
    """Level of all intervals."""
    bootstraps: Count = 2000
    """Resamples behind intervals of means."""
    n_refusal_tokens: Count = 24
    """Most first tokens in the set behind the refusal log-odds (derived from the base model's own answers)."""


class ExportConfig(Section):
    """What leaves the lab."""

    format: ExportFormat = "checkpoint"
    """checkpoint: a whole model folder; adapter: a PEFT LoRA; dequantised: a bf16 model folder from a base that is
    quantised on disk; none: only the edit itself."""


class RunConfig(Section):
    """A whole run."""

    seed: int = 0
    """Seed of every generator."""
    prompts: PromptsConfig = PromptsConfig()
    model: ModelConfig = ModelConfig()
    probe: ProbeConfig = ProbeConfig()
    spectrum: SpectrumConfig = SpectrumConfig()
    entanglement: EntanglementConfig = EntanglementConfig()
    ablation: AblationConfig = AblationConfig()
    refinement: RefinementConfig = RefinementConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    export: ExportConfig = ExportConfig()
