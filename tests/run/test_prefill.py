"""Runs that begin with transitions of a file: what they learn from, exact resume, and what is refused."""

import gc
import re
import weakref
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
import torch

import fastsac
from fastsac import checkpoint
from fastsac.cli.main import main
from fastsac.env import EnvSpec
from fastsac.learning.demonstrations import Demonstrations
from fastsac.run import nan_guard
from fastsac.run.plan import make_plan
from fastsac.run.prefill import transitions_of
from fastsac.run.trainer import Run, train
from fastsac.run.transition_files import read_transitions
from fastsac.runtime.device import Memory
from tests.support.demonstrations import arrays, transitions, write
from tests.support.runs import BASE, parameters, run

O = 5  # of the scripted environments
SAVES = {"env_kwargs": {"saves_state": True}}


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "shown.npz", transitions("...T...C.|......", obs_dim=O))


def plan_error(tmp_path, prefill, **changes):
    config = BASE.replace(run_dir=str(tmp_path / "run"), prefill=str(prefill), **changes)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        make_plan(config).place.release()
    assert not (tmp_path / "run").exists()
    return str(error.value)


def continued(tmp_path, **changes):
    """The parameters of a run that was interrupted half-way, and of one that was not."""

    def stop(event):
        return fastsac.Stop("half-way") if event.env_steps >= 40 else None

    whole = run(tmp_path, "whole", **changes)
    config = BASE.replace(run_dir=str(tmp_path / "half"), **changes)
    assert train(config, callbacks=[stop], quiet=True).interrupted
    again = train(config.replace(resume="auto"), quiet=True)
    return parameters(whole), parameters(again)


@pytest.mark.parametrize("changes", [{}, {"prefill_share": 0.5}, {"prefill_share": 0.25, "seeds": 2}], ids=str)
def test_a_run_that_goes_on_learns_from_the_same_rows(tmp_path, file, changes):
    whole, again = continued(tmp_path, prefill=file, **SAVES, **changes)
    assert all(value.equal(again[name]) for name, value in whole.items())
    other = parameters(run(tmp_path, "without", **SAVES, seeds=changes.get("seeds", 1)))
    assert not any(value.equal(other[name]) for name, value in whole.items() if name != "log_alpha")


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_what_was_read_is_let_go_when_the_run_has_begun(tmp_path, file, share):
    plan = make_plan(BASE.replace(run_dir=str(tmp_path / "run"), prefill=file, prefill_share=share))
    assert plan.prefill is not None
    read = weakref.ref(plan.prefill.demonstrations)
    assert read() is not None
    with Run(plan):
        gc.collect()
        assert read() is None


def test_memory_is_counted_with_them(tmp_path, file, monkeypatch):
    free = [2 << 30]
    monkeypatch.setattr("fastsac.run.memory.free_memory", lambda _: Memory(free[0], f"cpu has {free[0]:,} bytes free"))

    def read(name):
        free[0] = 1_000
        return read_transitions(name)

    monkeypatch.setattr("fastsac.run.prefill.read_transitions", read)
    message = plan_error(tmp_path, file, prefill_share=0.5)
    assert "cpu has 1,000 bytes free, of which the prefill takes " in message


def test_the_ring_takes_the_memory_that_it_says():
    demonstrations = Demonstrations(BASE.replace(seeds=3), transitions("..T.C"), torch.device("meta"))
    ring = demonstrations.ring()
    tensors = [value[0] for value in (*ring.rows, ring.table)]
    assert demonstrations.ring_bytes == sum(value.nbytes for value in tensors)


def test_the_replay_begins_with_them_and_holds_them_no_more_where_a_share_is_drawn(tmp_path, file):
    for share, count in ((0.0, 16), (0.5, 0)):
        config = BASE.replace(run_dir=str(tmp_path / f"run{share}"), prefill=file, prefill_share=share)
        with Run(make_plan(config)) as training:
            assert int(training.replay.count) == count
            assert ("demonstrations" in training.learner.buffers) == (share > 0)
            training.start()
            training.step()
            assert int(training.replay.count) == count + 4


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_statistics_of_observations_and_returns_begin_with_them(tmp_path, file, share):
    norms = {"obs_norm": True, "reward_norm": True}
    config = BASE.replace(run_dir=str(tmp_path / "run"), prefill=file, prefill_share=share, **norms)
    with Run(make_plan(config)) as training:
        assert training.parts.normalizer.count.tolist() == [[16]]
        assert training.parts.return_normalizer is not None
        assert training.parts.return_normalizer.count.tolist() == [16]
        training.start()
        assert torch.equal(training.collector.actor.slots[0].policy.mean, training.parts.normalizer.mean)


def test_a_line_tells_of_them(tmp_path, file, capsys):
    run(tmp_path, prefill=file, prefill_share=0.5)
    assert f"prefill {file}: 16 transitions, 2 ends of episodes, 4 of 8 in each batch\n" in capsys.readouterr().out


def test_another_file_is_not_gone_on_with(tmp_path, file):
    run(tmp_path, prefill=file, prefill_share=0.5)
    write(tmp_path / "shown.npz", transitions("...T...C.|.....T", obs_dim=O))
    config = fastsac.Config.load(tmp_path / "run").replace(resume=str(tmp_path / "run"), total_steps=80)
    message = r"^prefill .*shown\.npz has other transitions than those that the run began with\. Give the same file\.$"
    with pytest.raises(ValueError, match=message):
        make_plan(config)
    run(tmp_path, "plain")
    config = fastsac.Config.load(tmp_path / "plain").replace(resume=str(tmp_path / "plain"), total_steps=80)
    with pytest.raises(ValueError, match=r"^prefill begins a run, and cannot be given to one that goes on\."):
        make_plan(config.replace(prefill=file))
    with pytest.raises(ValueError, match=r"has prefill_share 0\.0, got 0\.5\. Leave these flags out\."):
        make_plan(config.replace(prefill=file, prefill_share=0.5))


def test_a_run_whose_replay_has_them_needs_the_file_no_more(tmp_path, file):
    run(tmp_path, prefill=file)
    (tmp_path / "shown.npz").unlink()
    again = train(fastsac.Config.load(tmp_path / "run").replace(resume=str(tmp_path / "run"), total_steps=80))
    assert again.env_steps >= 80
    assert main(["extract", str(tmp_path / "run"), "--member", "0", "--out", str(tmp_path / "alone")]) == 0
    assert checkpoint.load(tmp_path / "alone")[1]["prefill"] == checkpoint.load(tmp_path / "run")[1]["prefill"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": ["rewards", "truncations"]}, "lacks rewards, truncations; its arrays are observations, actions,"),
        ({"rewards": np.zeros(15)}, "arrays must have one length, got observations 16, rewards 15."),
        ({"rewards": np.full(16, np.nan)}, "rewards must be finite, got NaN or infinity."),
        ({"rewards": np.zeros((16, 2))}, "rewards must be numbers [K], got float64 [16, 2]."),
        ({"observations": np.full((16, O), np.inf)}, "observations: obs must be finite, got NaN or infinity."),
        ({"observations": np.zeros((16, 4))}, "is of another task: its observations have 4 numbers, those of "),
        ({"observations": np.zeros(O)}, "observations must be those of several steps, one after the other, got one."),
        ({"next_observations": np.zeros((16, 4))}, "next_observations: obs must be [5] or [B, 5]"),
        ({"actions": np.zeros((16, 3))}, "is of another task: its actions have 3 numbers, those of "),
        ({"actions": np.zeros((16, 1, 3))}, "actions must be numbers [K, 2], got float64 [16, 1, 3]."),
        ({"actions": np.full((16, 2), np.nan)}, "actions must be finite, got NaN or infinity."),
        ({"actions": np.full((16, 2), 1.5)}, "actions must be in the task's own units, of number 0 [-1, 1], got 1.5 "),
        ({"terminations": np.full(16, 2)}, "terminations must be true or false, or 1 or 0, [K], got int64 [16]."),
        ({"actions": np.array([None] * 16)}, "actions must be an array of numbers; numpy says: Object arrays"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_arrays_are_refused_before_any_work(tmp_path, changes, message):
    file = write(tmp_path / "shown.npz", transitions("." * 16, obs_dim=O), **changes)
    assert plan_error(tmp_path, file).startswith(f"prefill {file}: ")
    assert message in plan_error(tmp_path, file)


def test_wrong_files_are_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "text.h5").write_text("hello")
    whole = Path(write(tmp_path / "whole.npz", transitions("." * 400, obs_dim=O))).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "changed.npz").write_bytes(whole[:500] + b"xyz" + whole[503:])
    np.savez(tmp_path / "empty.npz")
    for name, message in (
        ("nowhere.npz", "cannot be read: No such file or directory."),
        ("cut.npz", "is damaged: its end is missing. Write or copy it again."),
        ("changed.npz", "is damaged: Bad CRC-32 for file 'observations.npy'. Write or copy it again."),
        ("empty.npz", "lacks observations, actions, rewards, terminations, truncations; it has no array."),
        ("text.npz", "is no .npz: write it by numpy.savez."),
        ("text.h5", "cannot be read: "),
        ("text.csv", "must end in .npz, .hdf5, .h5, or be minari:ID, got "),
    ):
        assert message in plan_error(tmp_path, tmp_path / name), name
    monkeypatch.setattr("fastsac.run.transition_files.is_installed", lambda module: False)
    assert "which needs h5py. Run pip install h5py" in plan_error(tmp_path, tmp_path / "text.h5")
    assert "which is not installed. Run pip install minari" in plan_error(tmp_path, "minari:D4RL/door/human-v2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prefill_share": 0.5}, "prefill_share must be 0 without a prefill to draw from, got 0.5. Give prefill too."),
        ({"prefill_share": 1.5, "prefill": "x.npz"}, "prefill_share must be in [0, 1], got 1.5."),
        ({"prefill_share": 1.0, "prefill": "x.npz"}, "prefill_share must leave at least one of 8 rows of a batch to"),
        ({"prefill_share": 0.01, "prefill": "x.npz"}, "prefill_share must leave at least one of 8 rows of a batch to"),
    ],
)
def test_wrong_shares_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        BASE.replace(**changes)


def test_too_many_for_the_replay_are_refused(tmp_path):
    file = write(tmp_path / "shown.npz", transitions("." * 90, obs_dim=O))
    error = plan_error(tmp_path, file, buffer_size=80)
    assert "buffer_size must hold the 90 transitions" in error
    assert not plan_error(tmp_path, file, buffer_size=80).startswith("prefill")


def test_the_batch_of_a_bad_step_is_drawn_again_with_its_share(tmp_path, file):
    """Ten rows of the replay are new since then; demonstrations are never overwritten."""
    config = BASE.replace(run_dir=str(tmp_path / "run"), prefill=file, prefill_share=0.5, buffer_size=40)
    with Run(make_plan(config)) as training:
        training.start()
        for _ in range(12):
            training.step()
        ring = training.learner.buffers["ring"]
        counters = [int(counter[0]) for counter in (ring.head, ring.tail, ring.num_entries)]
        for _ in range(10):
            training.step()
        batch, stale = nan_guard.redraw(training.learner, nan_guard.Fault(0, 7, ("critic_loss",), *counters))
    assert stale[:4].all()
    assert not stale[4:].any()
    assert {*batch.obs[4:, 0].tolist()} <= {*map(float, range(16))}


def test_images_are_uint8(tmp_path):
    spec = EnvSpec("test:image", 3 * 36 * 36, 2, (("obs", 3 * 36 * 36),), None, image=(3, 36, 36))
    t = arrays(transitions("...", obs_dim=3 * 36 * 36))
    found = transitions_of({**t, **{name: t[name].astype(np.uint8) for name in t if "obs" in name}}, spec)
    assert found.obs.dtype == np.uint8
    with pytest.raises(ValueError, match=r"^observations must be images of uint8, got float32\.$"):
        transitions_of(t, spec)


# Other files ----------------------------------------------------------------------------------------------------------


def digest(tmp_path, prefill, name="run", **changes):
    config = BASE.replace(run_dir=str(tmp_path / name), prefill=str(prefill), **changes)
    plan = make_plan(config)
    plan.place.release()
    return plan.prefill_digest


def test_hdf5_with_the_names_of_d4rl_is_the_same(tmp_path, file):
    names = {"terminations": "terminals", "truncations": "timeouts"}
    with h5py.File(tmp_path / "shown.hdf5", "w") as out:
        for name, array in arrays(transitions("...T...C.|......", obs_dim=O)).items():
            out[names.get(name, name)] = array
        out["infos/qpos"] = np.zeros((16, 3))
    assert digest(tmp_path, tmp_path / "shown.hdf5") == digest(tmp_path, file)


@pytest.mark.parametrize("name", ["observations", "actions", "rewards", "terminals", "next_observations"])
@pytest.mark.parametrize("parts", [["a", "b"], []])
def test_a_group_in_the_place_of_an_array_is_named(tmp_path, name, parts):
    with h5py.File(tmp_path / "shown.hdf5", "w") as out:
        for other, array in arrays(transitions("...T", obs_dim=O)).items():
            out[{"terminations": "terminals"}.get(other, other)] = array
        del out[name]
        group = out.create_group(name)
        for part in parts:
            group[part] = np.zeros(4)
    message = plan_error(tmp_path, tmp_path / "shown.hdf5")
    assert message.endswith(f"shown.hdf5: {name} must be an array, got a group of {', '.join(parts) or 'nothing'}.")


def test_discrete_actions_are_numbers_of_the_task(tmp_path):
    discrete = {"env_kwargs": {"discrete": True, "action_dim": 3}}
    t = transitions("..T...", obs_dim=6)
    file = write(tmp_path / "shown.npz", t, actions=np.array([0, 1, 2, 2, 1, 0]))
    config = BASE.replace(run_dir=str(tmp_path / "run"), prefill=file, prefill_share=0.5, **discrete)
    with Run(make_plan(config)) as training:
        rows = training.learner.buffers["demonstrations"].rows
        assert rows.action[0].argmax(-1).tolist() == [0, 1, 2, 2, 2, 1, 0, 0]
    file = write(tmp_path / "wrong.npz", t, actions=np.array([0, 1, 2, 3, 1, 0]))
    assert "actions must be in [0, 3), got 3 in row 3." in plan_error(tmp_path, file, **discrete)
    file = write(tmp_path / "wrong.npz", t, actions=np.zeros(6))
    assert "actions must be whole numbers [K], got float64 [6]." in plan_error(tmp_path, file, **discrete)


def test_actions_are_in_the_units_of_the_task(tmp_path):
    t = transitions("....", obs_dim=O)
    file = write(tmp_path / "shown.npz", t, actions=np.array([[-4.0, 4.0], [0, 2], [1, -1], [4.0001, 0]]))
    config = BASE.replace(run_dir=str(tmp_path / "run"), prefill=file, prefill_share=0.5, env_kwargs={"bound": 4.0})
    with Run(make_plan(config)) as training:
        action = training.learner.buffers["demonstrations"].rows.action[0, :4]
    torch.testing.assert_close(action, torch.tensor([[-1, 1], [0, 0.5], [0.25, -0.25], [1, 0]]))


def test_a_data_set_of_minari_is_read_by_its_episodes(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    from minari.data_collector.episode_buffer import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    flags = [False] * 4
    episodes = [
        EpisodeBuffer(
            id=i, observations=[np.full(3, 10 * i + k, np.float32) for k in range(6)], rewards=[1.0] * 5,
            actions=[np.full(1, i - 1, np.float32)] * 5, terminations=[*flags, False], truncations=[*flags, True],
        )
        for i in range(2)
    ]  # fmt: skip
    spaces = {name: gymnasium.spaces.Box(-99, 99, (size,)) for name, size in (("observation", 3), ("action", 1))}
    minari.create_dataset_from_buffers(
        "pendulum/test-v0", buffer=episodes, **{f"{name}_space": space for name, space in spaces.items()}, author="x",
        author_email="x@x.x", code_permalink="x", algorithm_name="x", description="x", env="Pendulum-v1",
        eval_env="Pendulum-v1",
    )  # fmt: skip
    config = fastsac.Config(env="Pendulum-v1", run_dir=str(tmp_path / "run"), prefill="minari:pendulum/test-v0",
                            prefill_share=0.5, device="cpu", hidden_dims=(8,), tensorboard=False)  # fmt: skip
    with Run(make_plan(config)) as training:
        ring = training.learner.buffers["demonstrations"]
        assert int(ring.num_entries) == 10
        assert ring.rows.obs[0, :, 0].tolist() == [*range(6), *range(10, 16)]
        assert ring.rows.action[0, 0] == -0.5
    with pytest.raises(ValueError, match=r"minari:pendulum/none-v0: is not on this machine\. Run minari download"):
        make_plan(config.replace(run_dir=str(tmp_path / "other"), prefill="minari:pendulum/none-v0"))
