"""The one list of algorithms, which `Config.algo`, the help and the tests read.

The algorithm sac-v1 is the class SacV1 in fastsac/algorithms/sac_v1.py.
"""

from typing import Literal, get_args

Algo = Literal["auto", "sac", "sac-v1", "sac-discrete", "sql", "sql-discrete"]
ALGORITHMS: tuple[str, ...] = get_args(Algo)[1:]
