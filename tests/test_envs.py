"""The environment contract of fastsac/env.py, point by point, on every back end; and what a back end refuses."""

import sys

import gymnasium
import numpy as np
import pytest

from fastsac.env import ActionScale, backend_names, list_envs, make_env, make_spec, near_matches, resolve
from tests import nested_env, scripted_env

# (environment, env_kwargs): short episodes, so that a few steps see some resets.
TASKS = {
    "classic": ("Pendulum-v1", {"max_episode_steps": 5}),
    "classic-car": ("MountainCarContinuous-v0", {"max_episode_steps": 5}),
    "mujoco": ("HalfCheetah-v5", {"max_episode_steps": 5}),
    "mujoco-terminates": ("InvertedPendulum-v5", {"max_episode_steps": 5}),
    "dm_control": ("CheetahRun-v1", {"max_episode_steps": 5}),
    "box2d": ("BipedalWalker-v3", {"max_episode_steps": 5}),
    "dm_control-reset-reward": ("CartpoleBalance-v1", {"max_episode_steps": 5}),
    "playground": ("Go1JoystickFlatTerrain-v1", {"max_episode_steps": 5}),
    "robotics-goal": ("FetchReach-v4", {"max_episode_steps": 5}),
    "metaworld": ("MetaWorld/Reach-v3", {"max_episode_steps": 5}),
    "gymnasium": ("gymnasium:Pendulum-v1", {"max_episode_steps": 5}),
    "gymnasium-dict": ("gymnasium:tests.nested_env:Nested-v0", {}),
    "scripted": ("tests.scripted_env:3t,5c,2b", {}),
}
SEEDS = [11, 12, 13]
NUM_STEPS = 14


def actions(env, seed=0):
    rng = np.random.default_rng(seed)
    shape = (NUM_STEPS, len(SEEDS), env.spec.action_dim)
    return rng.uniform(-1, 1, shape).astype(np.float32)  # [T, N, A]


def rollout(env, action):
    """Reset, then every action in turn: the first obs and the steps."""
    first, steps = env.reset(), []
    for a in action:
        env.send(a)
        steps.append(env.recv())
    return first, steps


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))


@pytest.fixture(params=list(TASKS))
def case(request):
    name, env_kwargs = TASKS[request.param]
    made = []

    def build(seeds=SEEDS, **more):
        made.append(make_env(name, seeds, num_threads=1, env_kwargs={**env_kwargs, **more}))
        return made[-1]

    build.name, build.env_kwargs = name, env_kwargs
    yield build
    for env in made:
        env.close()


def test_contract_arrays(case):
    """1, 7: shapes and dtypes; the layout adds up; returned arrays are not written again."""
    env = case()
    n, spec = len(SEEDS), env.spec
    first, steps = rollout(env, actions(env))
    assert (env.num_envs, first.shape, first.dtype) == (n, (n, spec.obs_dim), np.float32)
    assert sum(size for _, size in spec.obs_layout) == spec.obs_dim
    kept = [array.copy() for step in steps for array in step]
    for step in steps:
        assert [x.shape for x in step] == [(n, spec.obs_dim), (n,), (n,), (n,)]
        assert [x.dtype for x in step] == [np.float32, np.float32, np.bool_, np.bool_]
        assert np.isfinite(step.obs).all()
        assert np.isfinite(step.reward).all()
    env.send(actions(env, 1)[0])
    env.recv()
    env.reset()
    env.close()
    assert same([array for step in steps for array in step], kept)


def test_contract_next_step_reset(case):
    """4, 5: the row after a done is a dummy, whose action does not matter, and starts an episode."""
    env = case()
    action = actions(env)
    _, steps = rollout(env, action)
    dummy = np.zeros((NUM_STEPS, len(SEEDS)), bool)  # [T, N]
    dummy[1:] = [step.terminated | step.truncated for step in steps[:-1]]
    assert dummy.any(axis=0).all(), "no episode ended: the test is blind"
    for step, row in zip(steps, dummy, strict=True):
        assert not step.reward[row].any()
        assert not (step.terminated | step.truncated)[row].any()
    action = np.where(dummy[:, :, None], -action, action)
    again = rollout(case(), action)[1]
    assert all(same(x, y) for x, y in zip(steps, again, strict=True))


@pytest.mark.parametrize("case", [t for t in TASKS if "max_episode_steps" in TASKS[t][1]], indirect=True)
def test_contract_final_obs(case):
    """4: the obs at the end of an episode is the one that a longer episode has at that step, not the next first one."""
    short, long = case(), case(max_episode_steps=50)
    action = actions(short)[:5]
    (_, cut), (_, whole) = rollout(short, action), rollout(long, action)
    assert any((step.terminated | step.truncated).any() for step in cut)
    assert np.array_equal(cut[4].obs, whole[4].obs)
    assert np.array_equal(cut[4].reward, whole[4].reward)
    assert not whole[4].truncated.any()


def test_contract_seeds(case):
    """6: an environment's numbers depend on its own seed and actions, not on its place or its neighbours."""
    env, other = case(), case([*SEEDS[::-1], 99])
    action = actions(env)
    first, steps = rollout(env, action)
    extra = np.concatenate([action[:, ::-1], action[:, :1]], axis=1)
    first2, steps2 = rollout(other, extra)
    assert np.array_equal(first, first2[2::-1])
    for a, b in zip(steps, steps2, strict=True):
        assert same(a, [x[2::-1] for x in b])


def test_contract_seeds_differ(case):
    """6: other seeds give other numbers, also in later episodes."""
    env = case()
    first, steps = rollout(env, np.zeros_like(actions(env)))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(steps[-1].obs[0], steps[-1].obs[1])


def test_contract_reset_again(case):
    """A second `reset` starts a new episode everywhere, in the middle of one."""
    env = case()
    action = actions(env)
    first, _ = rollout(env, action[:2])
    second, steps = rollout(env, action[:2])
    assert second.shape == first.shape
    assert not np.array_equal(first, second)
    assert not steps[0].truncated.any()


def test_contract_spec(case):
    """`make_spec` and the environment agree."""
    spec = case().spec
    assert make_spec(case.name, case.env_kwargs) == spec
    assert spec.max_episode_steps == (None if "Nested" in case.name else 5)


def test_gymnasium_scales_flattens_and_keeps_both_flags():
    env = make_env("gymnasium:tests.nested_env:Nested-v0", [1, 2], env_kwargs={"length": 1})
    assert env.spec.obs_layout == (("a:x", 4), ("a:y", 2), ("b", 2))
    env.reset()
    env.send(np.array([[-1], [0.5]], np.float32))
    step = env.recv()
    assert step.obs[:, :6].tolist() == [[1, 1, 1, 1, -3, -3], [1, 1, 1, 1, 0, 0]]
    assert step.terminated.all()
    assert step.truncated.all()


def test_gymnasium_flatten_order_is_gymnasiums():
    env = make_env("gymnasium:tests.nested_env:Nested-v0", [5])
    single = nested_env.Nested()
    obs, _ = single.reset(seed=5)
    assert np.allclose(env.reset()[0], gymnasium.spaces.utils.flatten(single.observation_space, obs))


def test_envpool_agrees_with_gymnasium_on_pendulum():
    """Actions reach the simulator in its own units: one step from the same state in both simulators."""
    env = make_env("Pendulum-v1", [3])
    cos, sin, speed = (float(x) for x in env.reset()[0])
    env.send(np.array([[0.75]], np.float32))
    step = env.recv()
    angle, torque = np.arctan2(sin, cos), 1.5
    assert step.reward[0] == pytest.approx(-(angle**2 + 0.1 * speed**2 + 0.001 * torque**2), rel=1e-4)
    assert step.obs[0, 2] == pytest.approx(speed + (15 * np.sin(angle) + 3 * torque) * 0.05, rel=1e-3)


def test_envpool_joins_parts_by_name_and_drops_privileged_state():
    assert make_spec("CheetahRun-v1").obs_layout == (("position", 8), ("velocity", 9))
    assert [name for name, _ in make_spec("FetchReach-v4").obs_layout] == [
        "achieved_goal",
        "desired_goal",
        "observation",
    ]
    assert make_spec("Go1JoystickFlatTerrain-v1").obs_layout == (("state", 48),)


def test_envpool_passes_env_kwargs():
    """Ant without contact forces has 27 observations instead of 105."""
    assert make_spec("Ant-v5").obs_dim == 105
    assert make_spec("Ant-v5", {"use_contact_force": False}).obs_dim == 27
    assert make_spec("Pendulum-v1", {"max_episode_steps": 7}).max_episode_steps == 7


def test_envpool_threads_do_not_change_numbers():
    one, many = (make_env("HalfCheetah-v5", SEEDS, num_threads=n) for n in (1, 3))
    action = actions(one)[:6]
    (first, steps), (first2, steps2) = rollout(one, action), rollout(many, action)
    assert np.array_equal(first, first2)
    assert all(same(a, b) for a, b in zip(steps, steps2, strict=True))


@pytest.mark.parametrize(
    ("env", "env_kwargs", "message"),
    [
        ("HalfCheeta-v5", {}, r"unknown envpool id 'HalfCheeta-v5'; did you mean HalfCheetah-v5"),
        ("CartPole-v1", {}, "CartPole-v1 has a discrete action space; fastsac trains continuous actions"),
        ("CarRacing-v3", {}, r"CarRacing-v3 has image observations \(obs of shape \(96, 96, 3\)\)"),
        ("Go9x9-v1", {}, "Go9x9-v1 is a task for several players"),
        ("LqrLqr21-v1", {}, "without bounds.*--action-limit"),
        ("LaneKeeping-v0", {}, "never ends an episode"),
        ("Parking-v0", {"max_episode_steps": 3}, "max_episode_steps has no effect.*duration"),
        ("HalfCheetah-v5", {"frame_skp": 1}, "HalfCheetah-v5 takes no env_kwargs 'frame_skp'; did you mean frame_skip"),
        ("HalfCheetah-v5", {"num_envs": 1}, "takes no env_kwargs 'num_envs'"),
        ("HalfCheetah-v5", {"frame_skip": "x"}, r"env_kwargs\['frame_skip'\] .* must be of the kind .* 5, got 'x'"),
        ("HalfCheetah-v5", {"max_episode_steps": 0}, "max_episode_steps must be at least 1, got 0"),
        ("HalfCheetah-v5", {"from_pixels": True}, "image observations"),
        ("gymnasium:pendulum-v1", {}, "unknown gymnasium id 'pendulum-v1'; did you mean Pendulum-v1"),
        ("gymnasium:CartPole-v1", {}, "has a discrete action space"),
        ("gymnasium:no_such_module:Foo-v0", {}, "No module named 'no_such_module'"),
        ("gymnasium:Pendulum-v1", {"gravity": 1}, "unexpected keyword argument 'gravity'"),
        ("gymnasium:Pendulum-v1", {"num_envs": 1}, "must not hold 'num_envs'"),
        ("gymnasium:tests.nested_env:Nested-v0", {"bad": True}, r"first line\.$"),
        ("gymnasium:tests.nested_env:Nested-v0", {"low": -np.inf}, "without bounds.*--action-limit"),
        ("tests.scripted_env:3x", {}, "task must look like"),
        ("tests.scripted_env:3t", {"bound": "inf"}, "without bounds.*--action-limit"),
        ("nothing:Task", {}, "unknown back end 'nothing'; choose from envpool, gymnasium"),
        ("no.such.module:Task", {}, "cannot be imported"),
        ("json.decoder:Task", {}, "lacks make_spec, make, list_tasks"),
        (":Task", {}, "env must be"),
    ],
)
def test_refuses(env, env_kwargs, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_spec(env, env_kwargs)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        make_env(env, [0], env_kwargs=env_kwargs)


def test_gymnasium_names_the_missing_package(monkeypatch):
    for module in [m for m in sys.modules if m.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "mujoco", None)  # as if it were not installed
    with pytest.raises(ValueError, match=r"gymnasium cannot make HalfCheetah-v5: MuJoCo is not installed"):
        make_spec("gymnasium:HalfCheetah-v5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [-1]}, r"in \[0, 2\^31\), got -1"),
        ({"seeds": [2**31]}, r"in \[0, 2\^31\)"),
        ({"seeds": [0], "num_threads": -1}, "num_threads must be at least 0, got -1"),
        ({"seeds": [0], "num_threads": 2, "env": "gymnasium:Pendulum-v1"}, "num_threads must be 0 or 1"),
        ({"seeds": [0], "action_limit": 0.0}, "action_limit must be positive and finite"),
    ],
)
def test_make_env_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_env(**{"env": "Pendulum-v1", **arguments})


def test_largest_seed_works():
    env = make_env("Pendulum-v1", [2**31 - 1])
    assert np.isfinite(env.reset()).all()


def test_action_limit_bounds_what_has_no_bounds():
    env = make_env("tests.scripted_env:3t", [0], env_kwargs={"bound": "inf"}, action_limit=2.5)
    env.reset()
    env.send(np.array([[1, -0.5]], np.float32))
    assert env.recv().obs[0, scripted_env.ACTION :].tolist() == [1, -0.5]
    assert env.scaled_action.tolist() == [[2.5, -1.25]]
    assert make_spec("LqrLqr21-v1", action_limit=1.0).action_dim == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_action_scale(dtype):
    scale = ActionScale([-1, 0, 3], [1, 4, 3], dtype, None, "x")
    out = scale(np.array([[-1, -1, 1], [0.5, 0.5, 0]], np.float32))
    assert out.dtype == dtype
    assert out.tolist() == [[-1, 0, 3], [0.5, 3, 3]]


def test_action_scale_stays_inside_the_bounds():
    rng = np.random.default_rng(0)
    low = rng.uniform(-2, 0, 1000).astype(np.float32)
    high = low + rng.uniform(0, 3, 1000).astype(np.float32)
    scale = ActionScale(low, high, np.float32, None, "x")
    ends = scale(np.array([[-1] * 1000, [1] * 1000], np.float32))
    assert (ends >= low).all()
    assert (ends <= high).all()


def test_action_scale_copies_nothing_where_there_is_nothing_to_scale():
    action = np.zeros((2, 3), np.float32)
    assert ActionScale([-1] * 3, [1] * 3, np.float32, None, "x")(action) is action


@pytest.mark.parametrize("bound", [np.inf, np.nan, 1e10, np.finfo(np.float64).max])
def test_action_scale_knows_the_ways_to_write_no_bound(bound):
    with pytest.raises(ValueError, match="without bounds"):
        ActionScale([-1, -bound], [1, bound], np.float64, None, "x")
    assert ActionScale([-1, -bound], [1, bound], np.float64, 2.0, "x").high.tolist() == [1, 2]


def test_near_matches():
    assert near_matches("hoper", ["Hopper", "Walker"]) == "; did you mean Hopper?"
    assert near_matches("zzz", ["Hopper", "Walker"]) == ""
    # A version in common makes no likeness, and decides between equals.
    versions = ["Hopper-v4", "Hopper-v5", "Ant-v1"]
    assert near_matches("Nope-v1", versions) == ""
    assert near_matches("hoper-v4", versions) == "; did you mean Hopper-v4 or Hopper-v5?"
    assert near_matches("Hopper", versions) == "; did you mean Hopper-v5 or Hopper-v4?"


def test_resolve_defaults_to_envpool():
    backend, name, task = resolve("Pendulum-v1")
    assert (backend.__name__, name, task) == ("fastsac_envs.envpool", "envpool", "Pendulum-v1")
    assert resolve("tests.scripted_env:3t")[0] is scripted_env


def test_list_envs():
    names = [spec.env_id for spec in list_envs("PENDULUM-V1")]
    assert "envpool:Pendulum-v1" in names
    assert "gymnasium:Pendulum-v1" in names
    assert [spec.env_id for spec in list_envs("envpool:halfcheetah-v[45]")] == [
        "envpool:HalfCheetah-v4",
        "envpool:HalfCheetah-v5",
    ]
    assert list_envs("cartpole-v1") == []  # discrete: it cannot be trained
    assert len({spec.env_id for spec in list_envs()}) > 1000


def test_scripted_env_plays_its_script():
    """Two environments of "2t,1b": the table in full."""
    env = make_env("tests.scripted_env:2t,1b", [4, 1031], env_kwargs={"action_dim": 1})
    first = env.reset()
    assert first.tolist() == [[4, 0, 0, 0], [1031, 0, 0, 0]]
    table = [  # (episode, step, terminated, truncated) of both environments
        ((0, 1, 0, 0), (0, 1, 1, 1)),
        ((0, 2, 1, 0), (1, 0, 0, 0)),
        ((1, 0, 0, 0), (1, 1, 0, 0)),
        ((1, 1, 1, 1), (1, 2, 1, 0)),
        ((2, 0, 0, 0), (2, 0, 0, 0)),
    ]
    for t, rows in enumerate(table, 1):
        env.send(np.full((2, 1), t / 8, np.float32))
        step = env.recv()
        for i, (episode, k, terminated, truncated) in enumerate(rows):
            dummy = k == 0
            assert step.obs[i].tolist() == [[4, 1031][i], episode, k, 0 if dummy else t / 8]
            assert step.reward[i] == (0 if dummy else t + [4, 7][i] / 1024)
            assert (step.terminated[i], step.truncated[i]) == (terminated, truncated)


def test_scripted_env_emits_nan_where_told():
    env = make_env("tests.scripted_env:9t", [0, 1], env_kwargs={"nan_obs": [1, 2], "nan_reward": [0, 3]})
    _, steps = rollout(env, np.zeros((4, 2, 2), np.float32))
    assert [np.isnan(s.obs).all(axis=1).tolist() for s in steps] == [[0, 0], [0, 1], [0, 0], [0, 0]]
    assert [np.isnan(s.reward).tolist() for s in steps] == [[0, 0], [0, 0], [1, 0], [0, 0]]


def test_a_checkout_that_is_not_installed_has_its_back_ends(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])
    assert backend_names() == ["envpool", "gymnasium"]
    assert make_spec("Pendulum-v1").env_id == "envpool:Pendulum-v1"
