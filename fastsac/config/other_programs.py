"""What flags and settings of other programs are here.

Of Stable-Baselines3 and rl-zoo3, CleanRL and LeanRL, rsl_rl and Isaac Lab, Brax, skrl, Tianshou and Spinning Up.
"""

import re

# Ours, and the names elsewhere for exactly this.
SAME = {
    "--activation": "activation-fn activation-function",
    "--actor-lr": "policy-lr pi-lr actor-learning-rate",
    "--alpha-lr": "ent-lr entropy-learning-rate temperature-lr",
    "--batch-size": "batchsize minibatch-size",
    "--bf16": "amp",
    "--buffer-size": "replay-size memory-size buffer-capacity max-replay-size replay-buffer-size",
    "--critic-lr": "q-lr qf-lr critic-learning-rate",
    "--cuda-graphs": "cudagraphs",
    "--env": "env-id env-name task gym-id environment",
    "--env-kwargs": "env-args environment-kwargs",
    "--eval-episodes": "n-eval-episodes num-eval-episodes test-num eval-env-num",
    "--gamma": "discount discount-factor discounting",
    "--hidden-dims": "hidden-size hidden-sizes hidden-layer-sizes hidden-units layers",
    "--learning-starts": "start-timesteps min-replay-size warmup-steps update-after",
    "--lr-schedule": "learning-rate-schedule lr-scheduler",
    "--max-grad-norm": "grad-norm-clip clip-grad-norm",
    "--n-step": "n-steps-return nstep num-steps-return",
    "--num-critics": "n-critics",
    "--num-envs": "n-envs num-env n-env nenvs training-num parallel-envs",
    "--obs-norm": "normalize normalize-observations obs-normalization empirical-normalization norm-obs normalize-obs",
    "--random-steps": "start-steps random-timesteps",
    "--reward-scale": "reward-scaling",
    "--seeds": "num-seeds n-seeds",
    "--target-entropy-share": "target-entropy-scale",
    "--tau": "target-tau soft-tau",
    "--total-steps": "total-timesteps n-timesteps num-timesteps timesteps num-steps total-frames frames",
    "--wandb": "track use-wandb",
    "--wandb-name": "wandb-run-name wandb-run-extra-name",
    "--wandb-project": "wandb-project-name",
}
RUN_DIR = "is --run-dir here: the folder of one run, which also holds its TensorBoard files."
STEPS = "which counts the steps of all environments together"
ITERATIONS = (
    "counts iterations; --total-steps counts environment steps: iterations x steps of each environment x --num-envs."
)
THREE_LRS = "is three settings here: --actor-lr, --critic-lr and --alpha-lr."
UTD = "is part of --utd-ratio here, gradient steps per environment step whatever --num-envs is."
ALPHA = "is --init-alpha here, whose value is learned (auto); add --no-learn-alpha to keep it constant."
RESUME = "is --resume RUN_DIR here."
REWARD_NORM = "is --reward-norm here: by the spread of discounted returns, when rewards are drawn, and not clipped."
NO_PICTURES = "has no place here, where training draws nothing. `fastsac play RUN_DIR` shows the policy."
FILMS = "is --video-every here, which counts environment steps; `fastsac play RUN_DIR` films the policy of a run."
ONE_REPLAY = (
    "has no place here: the one replay draws uniformly. There is no hindsight replay (HER) and no prioritised one."
)
OPTIMIZER = "has no place here: Adam, which --adam-beta1, --adam-beta2 and --weight-decay (AdamW) set, is the only one."
FEATURES = (
    "has no place here: images go through --conv-channels, vectors straight into the networks; --network "
    "PACKAGE.MODULE:CLASS takes an architecture of your own, behind these convolutions."
)
STACK = (
    "has no place here: a wrapper around the environment can stack observations. Atari has envpool's, of four frames."
)
NO_SDE = "has no place here; --noise-repeat N holds the exploration noise for up to N steps."
PROGRESS = "has no place here: progress is always shown, and --quiet hides it."
# Names elsewhere for something that is only alike, and what to do.
OTHER = {
    "action-noise": "has no place here: the policy's own noise explores; --noise-repeat N holds it for up to N steps.",
    "alpha": ALPHA,
    "anneal-lr": "is --lr-schedule linear here.",
    "auto-alpha": "is --learn-alpha here, which is on by default.",
    "autotune": "is --learn-alpha here, which is on by default.",
    "capture-video": FILMS,
    "checkpoint": RESUME,
    "checkpoint-interval": f"is --checkpoint-every here, {STEPS}.",
    "checkpoint-logdir": RUN_DIR,
    "cuda": "is --device here: --device cuda or --device cpu.",
    "ent-coef": ALPHA,
    "entropy-coef": ALPHA,
    "epochs": ITERATIONS,
    "eval-freq": f"is --eval-every here, {STEPS}; SB3's EvalCallback counts those of each.",
    "eval-interval": f"is --eval-every here, {STEPS}.",
    "exp-name": RUN_DIR,
    "experiment-name": RUN_DIR,
    "features-extractor": FEATURES,
    "features-extractor-class": FEATURES,
    "features-extractor-kwargs": FEATURES,
    "frame-stack": STACK,
    "goal-selection-strategy": ONE_REPLAY,
    "gpu-id": "is --device here: --device cuda:0 is the first GPU.",
    "gpu": "is --device here: --device cuda or --device cpu.",
    "grad-updates-per-step": UTD,
    "gradient-steps": UTD,
    "handle-timeout-termination": "is --bootstrap-time-limits here, which is on by default.",
    "headless": NO_PICTURES,
    "her": ONE_REPLAY,
    "info-keywords": "is --info-metrics here: means over all steps since the row before.",
    "initial-entropy-value": ALPHA,
    "learn-entropy": "is --learn-alpha here, which is on by default.",
    "learning-rate": THREE_LRS,
    "load-replay-buffer": "is part of --resume here: checkpoints hold the replay.",
    "load-run": RESUME,
    "log-dir": RUN_DIR,
    "log-folder": RUN_DIR,
    "log-interval": f"is --log-every here, {STEPS}.",
    "logdir": RUN_DIR,
    "logger": "is --tensorboard and --wandb here; CSV files are always written.",
    "lr": THREE_LRS,
    "max-iterations": ITERATIONS,
    "n-sampled-goal": ONE_REPLAY,
    "n-stack": STACK,
    "n-trials": "is --sweep random:N here, which trains all of them in one run.",
    "net-arch": "is --hidden-dims here, the widths of the hidden layers: --hidden-dims 256 256.",
    "norm-reward": REWARD_NORM,
    "normalize-reward": REWARD_NORM,
    "num-learning-epochs": UTD,
    "num-learning-iterations": ITERATIONS,
    "num-threads": "is --cpu-threads here, or --env-threads for the environments.",
    "optimize": "is --sweep random:N here, which trains N draws in one run.",
    "optimize-memory-usage": "has no place here: the replay never holds an observation twice.",
    "optimizer": OPTIMIZER,
    "optimizer-class": OPTIMIZER,
    "optimizer-kwargs": OPTIMIZER,
    "policy": "has no place here: networks fit the observations, and --network chooses among architectures.",
    "policy-frequency": "has no place here: CleanRL makes up for it, with as many updates of the actor at once. "
    "--actor-delay N updates the actor less often.",
    "policy-kwargs": "has no place here. --hidden-dims, --num-critics and others set the networks.",
    "polyak": "is --tau here: tau for skrl, 1 - tau for Spinning Up.",
    "progress": PROGRESS,
    "progress-bar": PROGRESS,
    "render": NO_PICTURES,
    "replay-ratio": "is --utd-ratio here, gradient steps per environment step whatever --num-envs is.",
    "replay-buffer-class": ONE_REPLAY,
    "replay-buffer-kwargs": ONE_REPLAY,
    "run-name": RUN_DIR,
    "save-freq": f"is --checkpoint-every here, {STEPS}; SB3's CheckpointCallback counts those of each.",
    "save-interval": f"is --checkpoint-every here, {STEPS}.",
    "save-model": "has no place here: checkpoints are always written, every --checkpoint-every steps and at the end.",
    "save-replay-buffer": "is --checkpoint-replay full here, the default; `fastsac collect` writes it to a file.",
    "sde-sample-freq": NO_SDE,
    "stats-window-size": "has no place here: figures of training episodes are those since the row before, --log-every.",
    "target-network-frequency": "has no place here: targets follow at each gradient step, by --tau.",
    "target-update-interval": "has no place here: targets follow at each gradient step, by --tau.",
    "tensorboard-log": RUN_DIR,
    "torch-deterministic": "has no place here: the same command gives the same numbers on the same machine.",
    "train-freq": UTD,
    "trained-agent": RESUME,
    "update-frequency": UTD,
    "update-per-step": UTD,
    "use-sde": NO_SDE,
    "use-sde-at-warmup": NO_SDE,
    "utd": "is --utd-ratio here, gradient steps per environment step whatever --num-envs is.",
    "verbose": PROGRESS,
    "video": FILMS,
    "video-interval": FILMS,
}
ELSEWHERE = {f"--{name}": f"is {ours} here." for ours, names in SAME.items() for name in names.split()}
ELSEWHERE |= {f"--{name}": text for name, text in OTHER.items()}


def told(setting: str) -> str | None:
    """What a setting of another program is here, in the words of Python; None if that is not known."""
    text = ELSEWHERE.get(f"--{setting.replace('_', '-')}")
    if text is None or "--quiet" in text:  # which the command line alone has
        return None
    text = re.sub(r"--no-([a-z-]+)", r"--\1=False", text)
    return re.sub(r"--([a-z-]+)", lambda flag: flag[1].replace("-", "_"), text)
