"""Named defaults for families of environments: data, and the way from an environment's name to them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastsac.config.kinds import shown
from fastsac.config.sweeps import Range

RANGES: dict[str, Range] = {
    "actor_lr": (1e-4, 3e-3, "log"), "critic_lr": (1e-4, 3e-3, "log"), "gamma": (3e-3, 5e-2, "log"),
    "tau": (2e-3, 3e-2, "log"),
}  # fmt: skip


@dataclass(frozen=True)
class Preset:
    """Settings for a family of environments."""

    pattern: str  # regular expression on the task's name
    values: Mapping[str, object]  # settings, by name
    by_algo: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # settings for one algorithm, by its name
    ranges: Mapping[str, Range] = field(default_factory=lambda: RANGES)  # of `--sweep random:COUNT`
    goal_steps: int | None = None  # environment steps in which a run that stops at a return usually gets there


_DMC_DOMAINS = (
    "Acrobot|BallInCup|Cartpole|Cheetah|Dog|Finger|Fish|Hopper|HumanoidCMU|Humanoid|Lqr|Manipulator|Pendulum|"
    "PointMass|Quadruped|Reacher|Stacker|Swimmer|Walker"
)
_ATARI = (
    "Adventure|AirRaid|Alien|Amidar|Assault|Asterix|Asteroids|Atlantis|Atlantis2|Backgammon|BankHeist|BasicMath|"
    "BattleZone|BeamRider|Berzerk|Blackjack|Bowling|Boxing|Breakout|Carnival|Casino|Centipede|ChopperCommand|"
    "CrazyClimber|Crossbow|Darkchambers|Defender|DemonAttack|DonkeyKong|DoubleDunk|Earthworld|ElevatorAction|Enduro|"
    "Entombed|Et|FishingDerby|FlagCapture|Freeway|Frogger|Frostbite|Galaxian|Gopher|Gravitar|Hangman|HauntedHouse|"
    "Hero|HumanCannonball|IceHockey|Jamesbond|JourneyEscape|Kaboom|Kangaroo|KeystoneKapers|KingKong|Klax|Koolaid|"
    "Krull|KungFuMaster|LaserGates|LostLuggage|MarioBros|MiniatureGolf|MontezumaRevenge|MrDo|MsPacman|NameThisGame|"
    "Othello|Pacman|Phoenix|Pitfall|Pitfall2|Pong|Pooyan|PrivateEye|Qbert|Riverraid|RoadRunner|Robotank|Seaquest|"
    "SirLancelot|Skiing|Solaris|SpaceInvaders|SpaceWar|StarGunner|Superman|Surround|Tennis|Tetris|TicTacToe3d|"
    "TimePilot|Trondead|Turmoil|Tutankham|UpNDown|Venture|VideoCheckers|VideoChess|VideoCube|VideoPinball|"
    "WizardOfWor|WordZapper|YarsRevenge|Zaxxon"
)
_PLAYGROUND = (
    r"(MuJoCoPlayground/.*|(Apollo|Barkour|BerkeleyHumanoid|G1|Go1|H1|Op3|Spot|T1)[A-Z]\w*-v\d+|"
    r"(Aloha|Leap|Panda|AeroCube)\w+-v\d+)"
)

_BY_NAME = r"(?!)"  # a pattern that no task matches

_FLASHSAC = {  # docs/recipes.md says what differs from the source, as for the other recipes
    "network": "flash", "actor_hidden_dims": (128, 128), "critic_hidden_dims": (256, 256), "log_std_min": -10.0,
    "critic_head": "categorical", "tau": 0.01, "lr_schedule": "cosine", "lr_final": 0.5, "update_order": "actor-first",
    "actor_delay": 2, "alpha_states": "both", "target_sigma": 0.15, "init_alpha": 0.01,
    "reward_norm": True, "noise_repeat": 16,
}  # fmt: skip
_SMALL = {
    "num_envs": 4, "learning_starts": 500, "batch_size": 256, "hidden_dims": (64, 64), "actor_lr": 1e-3,
    "alpha_lr": 1e-3, "log_every": 1_000, "checkpoint_every": 10_000,
}  # fmt: skip

PRESETS: dict[str, Preset] = {
    "pendulum": Preset(  # small networks, larger steps (rl-zoo3 uses 1e-3), fast critics and targets
        r"Pendulum-v\d+",
        {
            **_SMALL, "total_steps": 20_000, "buffer_size": 20_000, "tau": 0.02, "critic_lr": 3e-3,
            "eval_every": 1_000, "eval_episodes": 20, "log_every": 500,
        },
        by_algo={
            "sac-v1": {"init_alpha": 0.2, "critic_lr": 1e-3, "tau": 0.01},
            "sql": {"init_alpha": 0.3, "batch_size": 64, "critic_lr": 1e-3, "tau": 0.01},
        },
        goal_steps=4_000,
    ),
    "seed-pendulum": Preset(
        # a small PyTorch SAC of a course: 1,000 episodes of Pendulum-v1, or until the last 100 pass -300; see
        # docs/seed-pendulum.md
        _BY_NAME,
        {
            **_SMALL, "num_envs": 1, "total_steps": 200_000, "learning_starts": 64, "batch_size": 64, "gamma": 0.99,
            "buffer_size": 10_000, "tau": 0.005, "critic_lr": 1e-3, "alpha_lr": 1e-4, "random_steps": 0,
            "action_limit": 1.0, "bootstrap_time_limits": False, "log_std_map": "clamp", "log_std_min": -20.0,
            "stop_at_episode_return": -300.0, "eval_every": 0, "log_every": 2_000,
        },
    ),
    "cartpole": Preset(  # small networks and larger steps, as for Pendulum, for discrete actions
        r"(CartPole|Acrobot)-v\d+",
        {
            **_SMALL, "total_steps": 60_000, "buffer_size": 60_000, "tau": 0.01, "critic_lr": 1e-3,
            "eval_every": 2_500, "eval_episodes": 20,
        },
        by_algo={"sql": {"init_alpha": 0.5}},
    ),
    "inverted-double-pendulum": Preset(
        # small networks and larger steps; values near 900 want fast critics and targets
        r"InvertedDoublePendulum-v\d+",
        {
            **_SMALL, "total_steps": 30_000, "buffer_size": 30_000, "tau": 0.02, "critic_lr": 3e-3,
            "eval_every": 1_000,
        },
        by_algo={"sac-v1": {"init_alpha": 0.2}, "sql": {"init_alpha": 0.2}},
        goal_steps=5_000,
    ),
    "inverted-pendulum": Preset(  # SAC's defaults with few environments
        r"InvertedPendulum-v\d+",
        {"num_envs": 4, "total_steps": 100_000, "learning_starts": 1_000, "eval_every": 2_500},
        by_algo={"sac-v1": {"init_alpha": 0.2}, "sql": {"init_alpha": 0.2}},
    ),
    "swimmer": Preset(r"Swimmer-v\d+", {"gamma": 0.999, "learning_starts": 10_000}),  # long horizon (rl-zoo3)
    "gym-mujoco": Preset(  # SAC's defaults (arXiv 1812.05905, appendix D) with CleanRL's step size of the critics
        r"(HalfCheetah|Hopper|Walker2d|Ant|Humanoid|HumanoidStandup|Reacher|Pusher)-v\d+",
        {"learning_starts": 5_000, "critic_lr": 1e-3},
    ),
    "box2d": Preset(  # rl-zoo3's settings for Box2D
        r"(LunarLanderContinuous|BipedalWalker|BipedalWalkerHardcore)-v\d+",
        {
            "total_steps": 500_000, "learning_starts": 10_000, "buffer_size": 300_000, "hidden_dims": (400, 300),
            "actor_lr": 7.3e-4, "critic_lr": 7.3e-4, "alpha_lr": 7.3e-4, "tau": 0.01,
        },
    ),
    "lunar-lander": Preset(
        # half the greatest entropy and 5-step returns, or it hovers; no entropy in the backup, or it never rests
        r"LunarLander-v\d+",
        {
            "num_envs": 8, "total_steps": 200_000, "learning_starts": 5_000, "batch_size": 128, "buffer_size": 200_000,
            "actor_lr": 5e-4, "critic_lr": 5e-4, "alpha_lr": 5e-4, "n_step": 5, "backup_entropy": False,
        },
    ),
    "mountain-car": Preset(  # fixed temperature for a deceptive reward (rl-zoo3)
        r"MountainCarContinuous-v\d+",
        {
            "num_envs": 8, "total_steps": 50_000, "learning_starts": 4_000, "buffer_size": 50_000, "gamma": 0.9999,
            "tau": 0.01, "init_alpha": 0.1, "learn_alpha": False, "hidden_dims": (64, 64), "batch_size": 512,
        },
        ranges={**RANGES, "gamma": (5e-5, 1e-2, "log"), "init_alpha": (0.02, 0.5, "log")},
    ),
    "atari": Preset(
        # discrete SAC from pixels: networks, rewards and lives of DQN (Mnih et al. 2015), CleanRL's update frequency
        rf"({_ATARI})-v5",
        {
            "num_envs": 8, "learning_starts": 20_000, "batch_size": 64, "buffer_size": 100_000, "utd_ratio": 0.25,
            "hidden_dims": (512,), "reward_clip": 1.0, "env_kwargs": {"episodic_life": True},
            "eval_env_kwargs": {"episodic_life": False}, "eval_every": 50_000, "eval_episodes": 5, "log_every": 2_000,
        },
    ),
    "dm-control": Preset(  # LayerNorm in the critics and normalised observations (MuJoCo Playground's recipe)
        rf"({_DMC_DOMAINS})[A-Z]\w*-v1",
        {"learning_starts": 5_000, "critic_layer_norm": True, "obs_norm": True},
    ),
    "playground": Preset(  # many environments, large batches, few updates (FastSAC, FastTD3)
        _PLAYGROUND,
        {
            "num_envs": 1024, "total_steps": 50_000_000, "learning_starts": 65_536, "batch_size": 8_192,
            "buffer_size": 5_000_000, "utd_ratio": 0.0078125, "hidden_dims": (512, 256, 128), "gamma": 0.97,
            "tau": 0.05, "init_alpha": 0.01, "obs_norm": True, "critic_layer_norm": True, "eval_every": 1_000_000,
            "log_every": 50_000, "checkpoint_every": 10_000_000,
        },
        ranges={**RANGES, "gamma": (1e-2, 5e-2, "log"), "tau": (5e-3, 1e-1, "log")},
    ),
    "flashsac": Preset(  # FlashSAC for simulators on a GPU, as on MuJoCo Playground
        _BY_NAME,
        {
            **_FLASHSAC, "num_envs": 1024, "total_steps": 50_000_000, "learning_starts": 100_000, "batch_size": 2_048,
            "buffer_size": 10_000_000, "utd_ratio": 2 / 1024, "gamma": 0.97, "eval_every": 1_000_000,
            "log_every": 50_000, "checkpoint_every": 10_000_000,
        },
    ),
    "flashsac-cpu-sim": Preset(  # FlashSAC for simulators on a CPU, as on MuJoCo and dm_control
        _BY_NAME,
        {**_FLASHSAC, "num_envs": 1, "learning_starts": 10_000, "batch_size": 512},
    ),
    "fastsac": Preset(  # FastSAC of holosoma, for locomotion of humanoids on a GPU; target_sigma: target entropy 0
        _BY_NAME,
        {
            "num_envs": 4096, "total_steps": 204_800_000, "learning_starts": 40_960, "random_steps": 0,
            "batch_size": 8_192, "buffer_size": 4_194_304, "utd_ratio": 8 / 4096, "gamma": 0.97, "tau": 0.125,
            "actor_hidden_dims": (512, 256, 128), "critic_hidden_dims": (768, 384, 192), "actor_layer_norm": True,
            "critic_layer_norm": True, "activation": "silu", "zero_init_actor": True, "log_std_max": 0.0,
            "critic_head": "categorical", "value_min": -20.0, "value_max": 20.0, "critic_targets": "own",
            "actor_q": "mean", "update_order": "critics-first", "actor_delay": 4, "alpha_states": "next_obs",
            "target_sigma": 0.24197072451914337, "init_alpha": 0.001, "adam_beta2": 0.95, "weight_decay": 1e-3,
            "obs_norm": True, "eval_every": 4_096_000, "log_every": 204_800, "checkpoint_every": 20_480_000,
        },
    ),
    "simba": Preset(  # SAC with Simba, as on dm_control; target_sigma makes the target entropy -A/2
        _BY_NAME,
        {
            "num_envs": 1, "learning_starts": 5_000, "utd_ratio": 2.0, "network": "simba",
            "actor_hidden_dims": (128,), "critic_hidden_dims": (512, 512), "log_std_min": -10.0, "obs_norm": True,
            "actor_lr": 1e-4, "critic_lr": 1e-4, "alpha_lr": 1e-4, "weight_decay": 1e-2, "init_alpha": 0.01,
            "target_sigma": 0.14676, "update_order": "actor-first",
        },
    ),
}  # fmt: skip


def find_preset(env: str, preset: str = "auto", algo: str = "auto") -> tuple[str, dict[str, object]]:
    """Name and values of the preset for an environment and an algorithm; raises ValueError for an unknown one."""
    name = preset
    if preset == "auto":
        task = env.rpartition(":")[2]
        name = next((name for name, candidate in PRESETS.items() if re.fullmatch(candidate.pattern, task)), "none")
    if name == "none":
        return name, {}
    if name not in list(PRESETS):
        raise ValueError(f"unknown preset {shown(name)}; choose from auto, fastest, none, {', '.join(PRESETS)}.")
    return name, {**PRESETS[name].values, **PRESETS[name].by_algo.get(algo, {})}


def find_ranges(preset: str) -> Mapping[str, Range]:
    """The ranges that a random sweep draws from under a preset, or under "none"."""
    return PRESETS[preset].ranges if preset in PRESETS else RANGES


def find_goal_steps(preset: str) -> int | None:
    """Environment steps in which a run under a preset that stops at a return usually gets there, if that is known."""
    return PRESETS[preset].goal_steps if preset in PRESETS else None
