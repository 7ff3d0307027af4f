"""Critics' heads by name, one a file: how a network's outputs stand for values, and how they learn."""

from fastsac.algorithms.heads.categorical import Categorical
from fastsac.algorithms.heads.head import Head
from fastsac.algorithms.heads.scalar import Scalar

HEADS: dict[str, type[Head]] = {"scalar": Scalar, "categorical": Categorical}
