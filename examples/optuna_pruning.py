"""Search for learning rates with Optuna; a callback prunes trials that fall behind.  Needs `pip install optuna`.

All trials have the same seed, so that they differ by their settings alone; each has a folder in --out.
"""

import argparse
import time
from pathlib import Path

import optuna

import fastsac


def objective(trial: optuna.Trial, steps: int, out: Path) -> float:
    """The mean return at the end of a trial, or an early end."""

    def prune(event: fastsac.Event) -> fastsac.Stop | None:
        if isinstance(event, fastsac.EvalEvent):
            trial.report(event.returns[0], event.env_steps)
            if trial.should_prune():
                return fastsac.Stop("pruned")
        return None

    rates = {name: trial.suggest_float(name, 1e-4, 1e-2, log=True) for name in ("actor_lr", "critic_lr")}
    folder = out / f"trial-{trial.number}"
    config = fastsac.Config(
        env="Pendulum-v1", total_steps=steps, eval_every=steps // 5, seed=1, run_dir=folder, **rates
    )
    result = fastsac.train(config, callbacks=[prune], quiet=True)
    if result.stopped_by == "callback: pruned":
        raise optuna.TrialPruned
    return result.eval_return_mean


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps of each, default: %(default)s")
    out = Path("runs", time.strftime("optuna-%Y%m%d-%H%M%S"))
    parser.add_argument("--out", type=Path, default=out, help="new folder, default: runs/optuna-TIME")
    args = parser.parse_args()
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=5))
    study.optimize(lambda trial: objective(trial, args.steps, args.out), n_trials=args.trials)
    print(study.best_trial.value, study.best_params)
