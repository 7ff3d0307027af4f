"""Search for learning rates with Optuna; a callback prunes trials that fall behind.  Needs `pip install optuna`.

Usage: python examples/optuna_pruning.py [TRIALS STEPS].
"""

import sys

import optuna

import fastsac


def objective(trial: optuna.Trial, steps: int) -> float:
    """The mean return at the end of a trial, or an early end."""

    def prune(event: fastsac.Event) -> fastsac.Stop | None:
        if isinstance(event, fastsac.EvalEvent):
            trial.report(event.returns[0], event.env_steps)
            if trial.should_prune():
                return fastsac.Stop("pruned")
        return None

    rates = {name: trial.suggest_float(name, 1e-4, 1e-2, log=True) for name in ("actor_lr", "critic_lr")}
    config = fastsac.Config(env="Pendulum-v1", total_steps=steps, eval_every=steps // 5, seed=trial.number, **rates)
    result = fastsac.train(config, callbacks=[prune], quiet=True)
    if result.stopped_by == "callback: pruned":
        raise optuna.TrialPruned
    return result.eval_return_mean


if __name__ == "__main__":
    trials, steps = map(int, sys.argv[1:] or ("20", "10_000"))
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=5))
    study.optimize(lambda trial: objective(trial, steps), n_trials=trials)
    print(study.best_trial.value, study.best_params)
