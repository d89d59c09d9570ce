"""Tiny random models of many architectures, with what each writes to its residual stream."""

from tests.zoo import dense, experts, gemma, hybrid, older, unseen_dense, unseen_experts, unseen_hybrid
from tests.zoo.build import build, inputs
from tests.zoo.check import compare
from tests.zoo.spec import Architecture, Line, expected, parse

ZOO: dict[str, Architecture] = {
    **dense.ARCHITECTURES,
    **gemma.ARCHITECTURES,
    **experts.ARCHITECTURES,
    **hybrid.ARCHITECTURES,
    **older.ARCHITECTURES,
    **unseen_dense.ARCHITECTURES,
    **unseen_experts.ARCHITECTURES,
    **unseen_hybrid.ARCHITECTURES,
}
"""Every architecture by name."""

__all__ = ["ZOO", "Architecture", "Line", "build", "compare", "expected", "inputs", "parse"]
