"""Where a decoder's residual stream is written, found by what parameters do."""

from saber.model.discovery.found import Discovery, Found, Gain, Leak, effective_gain, raw_direction
from saber.model.discovery.leak import leak_test
from saber.model.discovery.search import discover

__all__ = [
    "Discovery",
    "Found",
    "Gain",
    "Leak",
    "discover",
    "effective_gain",
    "leak_test",
    "raw_direction",
]
