"""The one list of algorithms, with descriptions: sac-v1 is the class SacV1 in fastsac/algorithms/sac_v1.py."""

from typing import TYPE_CHECKING, Literal

ALGORITHMS = {
    "sac": "Soft Actor-Critic with a learned temperature, for continuous actions (arXiv 1812.05905)",
    "sac-discrete": "Soft Actor-Critic for discrete actions (arXiv 1910.07207)",
    "sac-v1": "the first Soft Actor-Critic, with a value network and a constant temperature (arXiv 1801.01290)",
    "sql": "Soft Q-learning with a constant temperature, for actions of either kind (arXiv 1702.08165)",
    "sql-discrete": "Soft Q-learning for discrete actions; sql takes it by itself",
}

OF_AUTO = {False: "sac", True: "sac-discrete"}
"""What auto means, by whether actions are discrete."""

if TYPE_CHECKING:
    Algo = str
else:
    Algo = Literal["auto", *ALGORITHMS]
