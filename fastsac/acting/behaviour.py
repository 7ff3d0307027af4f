"""Acting while the learner learns: staging, a copy of the policy that is old by rule, and the order of the streams.

Everything that belongs to vector step t lies in slot t % 2, two sets of device memory that never move:

    what came in   obs_t, and the reward and flags that came with it; whether members still act at random
    what went out  action_t
    the policy     parameters and normaliser that choose action_t: those after the launches of step t - 2

The rule of two steps is what lets the environments and the learner overlap: the actor for step t is ready, or nearly,
when obs_t comes in, and no launch is waited for that has just begun.  It holds on every device, whatever overlaps, so
the numbers never depend on who is faster.  It is also what holds the host back: acting at step t waits for the launches
of step t - 2, so that never more than two vector steps of launches are queued.

On CUDA the work is on two streams.  The learner's (the current one) runs, for every step, launches(t) and then
store(t); the actor's, of high priority, runs copy_in(t) and act(t).  Events order them: copy_in(t + 1) comes after
store(t - 1), which read that slot, and store(t) after copy_in(t + 1), which brings the rest of row t.

Axes: M members, N environments, O obs_dim, A action_dim, P parameters of the policy.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import _pytree as pytree

from fastsac.algorithms.algorithm import Algorithm
from fastsac.config.settings import Config
from fastsac.env import FloatArray, ObsArray
from fastsac.learning.learner import Learner, copy_tree_
from fastsac.learning.replay import Replay
from fastsac.nn import normalizer, philox
from fastsac.nn.normalizer import Normalizer
from fastsac.runtime.launch import Launch

POLICY = ("policy", "mean", "rstd")


def act_step(algorithm: Algorithm, config: Config, slot: dict[str, Tensor], seed: Tensor, counter: Tensor) -> Tensor:
    """Actions of one member: uniform while it acts at random, sampled from the policy after.

    Args:
        algorithm: sizes and switches.
        config: settings.
        slot: the member's tensors of the slot.
        seed: int64 [].
        counter: int64 [], the vector step.

    Returns:
        [N, A] in [-1, 1].
    """
    obs = slot["obs"]
    noise = philox.normal(seed, philox.Purpose.ACT, counter, (obs.shape[0], algorithm.action_dim))
    if config.obs_norm:
        obs = normalizer.apply(obs, slot["mean"], slot["rstd"])
    return torch.where(slot["random"], algorithm.act_randomly(noise), algorithm.act(slot["policy"], obs, noise))


def act_step_(algorithm: Algorithm, config: Config, slot: dict[str, Tensor], seed: Tensor, counter: Tensor) -> None:
    """Write the actions of every member into the slot, and advance the counter of vector steps."""
    one = partial(act_step, algorithm, config)
    read = {k: slot[k] for k in ("obs", "random", *POLICY)}
    if config.num_members == 1:
        first = {k: v[0] for k, v in read.items()}
        action = one(first, seed[0], counter).unsqueeze(0)
    else:
        action = torch.func.vmap(one, in_dims=(0, 0, None))(read, seed, counter)
    slot["action"].copy_(action)
    counter.add_(1)


def copy_policy_(policy: dict[str, Tensor], slot: dict[str, Tensor]) -> None:
    """Let the slot's copy of the policy follow."""
    for name, value in policy.items():
        slot[name].copy_(value)


@torch.no_grad()
def store_step_(
    replay: Replay,
    normalizer: Normalizer | None,
    reward_clip: float,
    policy: dict[str, Tensor],
    slots: list[dict[str, Tensor]],
    p: int,
) -> None:
    """Complete the row of slot p with what the other one brought, and let its copy of the policy follow."""
    here, there = slots[p], slots[1 - p]
    reward = there["reward"].clamp(-reward_clip, reward_clip) if reward_clip else there["reward"]
    replay.add_(here["action"], reward, there["terminated"], there["truncated"], there["obs"])
    if normalizer is not None:
        normalizer.update_(there["obs"])
    copy_policy_(policy, here)


class Staging:
    """Arrays side by side in one piece of memory, so that one copy brings them all to the device.

    On CUDA the piece is pinned; on a CPU it is the slot's own memory and nothing is copied.

    Args:
        shapes: shape and dtype by name.
        slots: how many copies the device holds.
        device: where.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[tuple[int, ...], torch.dtype]], slots: int, device: torch.device
    ) -> None:
        size = sum(_room(shape, dtype) for shape, dtype in shapes.values())
        self._device = [torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(slots)]
        on_cpu = device.type == "cpu"
        host = self._device if on_cpu else [torch.zeros(size, dtype=torch.uint8).pin_memory()] * slots
        self._host = host
        self._copies = not on_cpu
        self.slots = [_views(flat, shapes) for flat in self._device]
        self._arrays: list[dict[str, NDArray[Any]]] = [
            {name: view.numpy() for name, view in _views(flat, shapes).items()} for flat in host
        ]

    def write(self, slot: int, values: Mapping[str, NDArray[Any] | Sequence[bool]]) -> None:
        """Put values into host memory; on CUDA the copy of what was there before must be over."""
        for name, value in values.items():
            array = self._arrays[slot][name]
            array[...] = np.asarray(value).reshape(array.shape)

    def copy(self, slot: int) -> None:
        """Enqueue the copy to the device, on the current stream."""
        if self._copies:
            self._device[slot].copy_(self._host[slot], non_blocking=True)


def _views(flat: Tensor, shapes: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> dict[str, Tensor]:
    views, offset = {}, 0
    for name, (shape, dtype) in shapes.items():
        size = math.prod(shape) * dtype.itemsize
        views[name] = flat[offset : offset + size].view(dtype).view(shape)
        offset += _room(shape, dtype)
    return views


def _room(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Bytes of an array, up to where the next may begin: compiled code counts on 16-byte alignment."""
    return -(-math.prod(shape) * dtype.itemsize // 16) * 16


class Behaviour:
    """Chooses actions for M * N environments, and stores what comes of them in the learner's replay.

    Args:
        config: settings.
        learner: whose policy is copied.
    """

    def __init__(self, config: Config, learner: Learner) -> None:
        m, n, algorithm, device = config.num_members, config.num_envs, learner.algorithm, learner.device
        self.config, self.learner = config, learner
        self.staging = Staging(
            {
                "obs": ((m, n, algorithm.encoder.obs_dim), learner.obs_dtype),
                "reward": ((m, n), torch.float32),
                "terminated": ((m, n), torch.bool),
                "truncated": ((m, n), torch.bool),
                "random": ((m,), torch.bool),
            },
            slots=2,
            device=device,
        )
        norm = learner.normalizer
        self._policy = {"policy": learner.policy}  # what is copied
        if config.obs_norm:
            self._policy |= {"mean": norm.mean, "rstd": norm.rstd}
        self.slots = [
            {
                **slot,
                "action": torch.zeros(m, n, algorithm.action_dim, device=device),
                "policy": learner.policy.clone(),
                "mean": norm.mean.clone(),
                "rstd": norm.rstd.clone(),
            }
            for slot in self.staging.slots
        ]
        self.vec_steps = torch.zeros((), dtype=torch.int64, device=device)
        self._step = 0  # mirror of vec_steps

        self._on_cuda = device.type == "cuda"
        self._stream: Any = torch.cuda.Stream(device, priority=-1) if self._on_cuda else None
        act = partial(act_step_, algorithm, config)
        seeds = learner.buffers["seed"]
        variants = {p: (slot, seeds, self.vec_steps) for p, slot in enumerate(self.slots)}
        written = [self.slots[0]["action"], self.slots[1]["action"], self.vec_steps]
        self._act = Launch(act, variants, written, learner.mode, stream=self._stream)
        normalizer = learner.normalizer if config.obs_norm else None
        store = partial(store_step_, learner.replay, normalizer, config.reward_clip, self._policy, self.slots)
        self._store = Launch(store, {0: (0,), 1: (1,)}, [self.vec_steps], learner.mode, compiled=False)

        shape = self.slots[0]["action"].shape
        self._host_action: Any = torch.zeros(shape).pin_memory() if self._on_cuda else None
        make_event: Any = torch.cuda.Event if self._on_cuda else lambda: None
        self._acted, self._arrived, self._stored = make_event(), make_event(), [make_event(), make_event()]

    def warm_up(self) -> None:
        """Compile and capture now; changes no number."""
        self._act.warm_up([0, 1])
        if self.learner.mode == "captured":  # run the store's kernels once before, into a replay of two rows
            m, n, algorithm = self.config.num_members, self.config.num_envs, self.learner.algorithm
            obs_dim, device, clip = algorithm.encoder.obs_dim, self.learner.device, self.config.reward_clip
            replay = Replay(m, n, n, obs_dim, algorithm.action_dim, device, self.learner.obs_dtype)
            normalizer = Normalizer(m, obs_dim, device) if self.config.obs_norm else None
            store_step_(replay, normalizer, clip, pytree.tree_map(torch.clone, self._copied(0)), self.slots, 0)
        self._store.warm_up([0, 1])

    def begin(self, obs: ObsArray, is_random: Sequence[bool]) -> None:
        """Start the stream at obs [M * N, O], or start it anew with other environments.  Waits for the device."""
        slot = self._step % 2
        self.staging.write(slot, {"obs": obs, "random": is_random})
        self.staging.copy(slot)
        self.learner.replay.begin_(self.slots[slot]["obs"])
        if self.config.obs_norm:
            self.learner.normalizer.update_(self.slots[slot]["obs"])
        if self._step == 0:
            for p in range(2):
                copy_policy_(self._policy, self.slots[p])
        if self._on_cuda:
            torch.cuda.synchronize()

    def go_on(self, obs: ObsArray, is_dummy: NDArray[np.bool_], is_random: Sequence[bool]) -> None:
        """Continue the stream where it was, at obs [M * N, O], of environments that are in that state again.

        The replay may have been left behind: then it begins here.  Waits for the device.
        """
        slot, replay = self._step % 2, self.learner.replay
        self.staging.write(slot, {"obs": obs, "random": is_random})
        self.staging.copy(slot)
        replay.rows["obs"][:, replay.host_head] = self.slots[slot]["obs"]
        replay.is_dummy.copy_(torch.from_numpy(is_dummy))
        if self._on_cuda:
            torch.cuda.synchronize()

    @property
    def host_vec_steps(self) -> int:
        """Vector steps so far; does not wait for the device."""
        return self._step

    def obs(self) -> ObsArray:
        """A copy of the newest obs [M * N, O].  Waits for the device."""
        return self.slots[self._step % 2]["obs"].flatten(0, 1).cpu().numpy().copy()

    def act(self) -> FloatArray:
        """Actions [M * N, A] for the newest obs.  The one wait of the loop for the device: environments need them."""
        slot = self._step % 2
        with self._acting():
            self._act([slot])
            if self._on_cuda:
                self._host_action.copy_(self.slots[slot]["action"], non_blocking=True)
                self._acted.record()
        self._step += 1
        if self._on_cuda:
            self._acted.synchronize()
        host: Tensor = self._host_action if self._on_cuda else self.slots[slot]["action"]
        return host.flatten(0, 1).numpy()

    def take_back(self) -> None:
        """Undo the last `act`, whose actions were not used: the next one is of the same vector step."""
        if self._on_cuda:
            torch.cuda.synchronize()  # its stream is not the current one
        self.vec_steps.sub_(1)
        self._step -= 1
        if self._on_cuda:
            torch.cuda.synchronize()

    def follow(self, member: int) -> None:
        """Let a member act by its policy of now at once, after it has gone back to an earlier one."""
        if self._on_cuda:
            torch.cuda.synchronize()
        for slot in self.slots:
            slot["policy"][member].copy_(self.learner.policy[member])
        if self._on_cuda:
            torch.cuda.synchronize()

    def store(self, values: Mapping[str, NDArray[Any] | Sequence[bool]]) -> None:
        """Take in what the environments returned for the last actions, and let the copy of the policy follow.

        Args:
            values: obs [M * N, O], reward, terminated and truncated [M * N], and per member whether it acts at random.
        """
        after = self._step % 2  # slot of the coming step
        before = 1 - after
        self.staging.write(after, values)  # the host waited for actions since: the copy before this one is over
        with self._acting():
            if self._on_cuda:
                self._stream.wait_event(self._stored[after])
            self.staging.copy(after)
            if self._on_cuda:
                self._arrived.record()
        if self._on_cuda:
            torch.cuda.current_stream().wait_event(self._arrived)
        self._store([before])
        if self._on_cuda:
            self._stored[before].record()

    def _acting(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self._stream) if self._on_cuda else nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """The counter and both copies of the policy."""
        return {"vec_steps": self.vec_steps, "policy": {str(p): self._copied(p) for p in range(2)}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, in place.

        Raises:
            ValueError: it is of another algorithm.
        """
        copy_tree_(self.state_dict(), state, "behaviour")
        self._step = int(self.vec_steps)

    def _copied(self, slot: int) -> dict[str, Tensor]:
        return {name: self.slots[slot][name] for name in POLICY}
