"""Every knob of a run, one section a stage; frozen, unknown keys refused, no torch imported.

Published SABER's parameters keep their published names: `spectrum.extraction`, `spectrum.directions_per_layer`,
`spectrum.layer_strategy`, `spectrum.global_top_k`, `ablation.alpha_base`, `ablation.alpha_entangled`,
`entanglement.threshold`, `refinement.max_iterations`, `refinement.decay`, `prompts.n_harmful`, `prompts.n_harmless`,
`prompts.n_capability`.
"""

from __future__ import annotations

from saber.config.method import (
    AblationConfig,
    EntanglementConfig,
    Extraction,
    InputMode,
    LayerStrategy,
    Measure,
    Position,
    PostNorm,
    ProbeConfig,
    RefinementConfig,
    Scope,
    SpectrumConfig,
    Strengths,
    WriterKind,
)
from saber.config.passwords import without_passwords
from saber.config.results import (
    Drift,
    EvaluationConfig,
    ExportConfig,
    ExportFormat,
    Goal,
    Optimizer,
    SearchConfig,
)
from saber.config.section import Count, Fraction, Positive, Section, Share
from saber.config.subject import ModelConfig, PromptsConfig, Thinking

__all__ = [
    "AblationConfig",
    "Count",
    "Drift",
    "EntanglementConfig",
    "EvaluationConfig",
    "ExportConfig",
    "ExportFormat",
    "Extraction",
    "Fraction",
    "Goal",
    "InputMode",
    "LayerStrategy",
    "Measure",
    "ModelConfig",
    "Optimizer",
    "Position",
    "Positive",
    "PostNorm",
    "ProbeConfig",
    "PromptsConfig",
    "RefinementConfig",
    "RunConfig",
    "Scope",
    "SearchConfig",
    "Section",
    "Share",
    "SpectrumConfig",
    "Strengths",
    "Thinking",
    "WriterKind",
    "without_passwords",
]


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
    search: SearchConfig = SearchConfig()
    export: ExportConfig = ExportConfig()
