"""Twins: models of the user's class and depth with small random weights, to find out which parameters do what.

    twin = build_twin(type(model), model.config)
    output = twin(**twin_inputs(twin))

A twin's parameters have the names and roles of the real model's; only the sizes differ, and the number of experts.
"""

from saber.model.twin.build import FAILURES, build_twin, twin_inputs
from saber.model.twin.rules import D_MODEL
from saber.model.twin.shrink import shrink

__all__ = ["D_MODEL", "FAILURES", "build_twin", "shrink", "twin_inputs"]
