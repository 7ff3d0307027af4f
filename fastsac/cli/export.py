"""`fastsac export`: a policy as files that run without fastsac."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro

from fastsac import policies
from fastsac.cli.main import Failed
from fastsac.cli.parsing import parse
from fastsac.cli.policy_choice import PolicyChoice, in_environments
from fastsac.config.fields import setting

PROG = "fastsac export"


@dataclass(frozen=True, kw_only=True)
class ExportArgs(PolicyChoice):
    """Write a policy to files that run without fastsac: raw observations in, commands in the task's own units out.

    The policy is stepped in its task, and each file must give its actions before it is written.
    """

    output: Path | None = setting(
        None, metavar="PATH", unset="RUN_DIR/policy.onnx and .pt2, of demo:NAME ./NAME.onnx and .pt2"
    )
    """File to write, whose suffix (.onnx, .pt2) is its format, or folder for policy.onnx and policy.pt2."""
    format: Literal["auto", "onnx", "pt2", "onnx,pt2"] = "auto"
    """Formats to write: onnx, pt2 (torch.export), or both; auto is that of a file in --output, else both."""
    stochastic: tyro.conf.FlagCreatePairsOff[bool] = False
    """Sample actions by a second input, standard normal noise, one number for each entry of an action."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write over files that exist."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else."""

    def __post_init__(self) -> None:
        suffixes = {path.suffix[1:] for path in self.paths}
        if self.format != "auto" and suffixes != set(self.format.split(",")):
            raise ValueError(f"format {self.format} is not that of {self.output}. Leave --format out.")

    @property
    def paths(self) -> list[Path]:
        """The files to write."""
        if self.output is not None and self.output.suffix and not self.output.is_dir():
            return [self.output]
        names = ["onnx", "pt2"] if self.format == "auto" else self.format.split(",")
        if self.output is None and policies.is_ours(self.run_dir):
            return [Path(f"{self.run_dir.name}.{name}") for name in names]
        return [(self.output or self.run_dir) / f"policy.{name}" for name in names]


def run(args: list[str]) -> int:
    """Export; returns the exit status."""
    options = parse(ExportArgs, PROG, args)
    from fastsac.api import export
    from fastsac.deploy.export import check_paths
    from fastsac.deploy.program import ExportError

    policy = options.load()
    check_paths(options.paths, options.overwrite)
    env, is_stochastic = policy.config.env, options.stochastic
    with in_environments(policy, PROG, options.trust_env):
        try:
            exported = export(policy, *options.paths, env=env, stochastic=is_stochastic, overwrite=options.overwrite)
        except ExportError as error:
            raise Failed(str(error)) from error
    about = {
        "run_dir": str(options.run_dir), "member": policy.member, "checkpoint": options.checkpoint,
        "stochastic": options.stochastic, **asdict(exported),
    }  # fmt: skip
    print(json.dumps(about, default=str) if options.json else exported)
    return 0
