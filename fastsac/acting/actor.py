"""Acting while the learner learns: a copy of the policy that is old by rule, and the order of the streams.

Everything that belongs to vector step t lies in slot t % 2, two sets of device memory that never move:

    what came in   obs_t, and the reward and flags that came with it; whether members still act at random
    what went out  action_t
    the policy     parameters and normaliser that choose action_t: those after the launches of step t - 2

The rule of two steps lets the environments and the learner overlap: the actor for step t is ready, or nearly, when
obs_t comes in, and no launch is waited for that has just begun.  It holds on every device, so that the numbers never
depend on who is faster; and acting at step t waits for the launches of step t - 2, so that never more than two vector
steps of launches are queued.

On CUDA the learner's stream (the current one) runs launches(t) and then store(t), which is in `store.py`; the actor's,
of high priority, copy_in(t) and act(t).  Events order them: copy_in(t + 1) comes after store(t - 1), which read that
slot, and store(t) after copy_in(t + 1), which brings the rest of row t.

Axes: M members, N environments, O obs_dim, A action_dim, P parameters of the policy.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fastsac.acting.held_noise import HeldNoise, renew_
from fastsac.acting.staging import Shapes, Staging
from fastsac.algorithms.algorithm import Algorithm
from fastsac.config.settings import Config
from fastsac.env import FloatArray, ObsArray, Step
from fastsac.learning.learner import Learner, PolicyTensors, copy_tree_
from fastsac.nn import normalizer, philox
from fastsac.runtime.launch import Launch


class Slot(NamedTuple):
    """Device memory of every second vector step."""

    obs: Tensor  # [M, N, O]
    reward: Tensor  # [M, N], with the flags: of the row before
    terminated: Tensor  # [M, N] bool
    truncated: Tensor  # [M, N] bool
    random: Tensor  # [M] bool, whether the member acts at random
    action: Tensor  # [M, N, A]
    policy: PolicyTensors

    def copy_policy_(self, source: PolicyTensors, obs_norm: bool) -> None:
        """Act by `source` from now on; its statistics are used, and copied, with `obs_norm` only."""
        for target, value in zip(self.policy, source[: 3 if obs_norm else 1], strict=False):
            target.copy_(value)


def act_step(
    algorithm: Algorithm,
    config: Config,
    obs: Tensor,  # [N, O]
    random: Tensor,  # [] bool
    policy: PolicyTensors,  # [P] and [O]
    seed: Tensor,  # [] int64
    counter: Tensor,  # [] int64, the vector step whose noise it uses
    rows: philox.Rows | None = None,  # which environments these are, where several processes have theirs
) -> Tensor:
    """Actions [N, A] of one member: uniform while it acts at random, sampled from the policy after."""
    noise = philox.normal(seed, philox.Purpose.ACT, counter, (obs.shape[0], algorithm.action_dim), rows)
    if config.obs_norm:
        obs = normalizer.apply(obs, policy.mean, policy.rstd)
    return torch.where(random, algorithm.act_randomly(noise), algorithm.act(policy.params, obs, noise))


def act_step_(
    algorithm: Algorithm,
    config: Config,
    slot: Slot,
    held: HeldNoise | None,
    seed: Tensor,
    counter: Tensor,
    rows: philox.Rows | None = None,
) -> None:
    """Write the actions of every member into the slot, and advance the counter of vector steps."""
    one = partial(act_step, algorithm, config, rows=rows)
    drawn_at = counter if held is None else renew_(held, slot.random, seed, counter)  # [] of all members, or [M]
    if config.num_members == 1:
        policy = PolicyTensors(*(value[0] for value in slot.policy))
        drawn_at = drawn_at if held is None else drawn_at[0]
        action = one(slot.obs[0], slot.random[0], policy, seed[0], drawn_at).unsqueeze(0)
    else:
        in_dims = (0, 0, 0, 0, None if held is None else 0)
        action = torch.func.vmap(one, in_dims=in_dims)(slot.obs, slot.random, slot.policy, seed, drawn_at)
    slot.action.copy_(action)
    counter.add_(1)


class Actor:
    """Chooses actions for M * N environments, by copies of the learner's policy."""

    def __init__(self, config: Config, learner: Learner) -> None:
        m, n, algorithm, device = config.num_members, config.num_envs, learner.algorithm, learner.device
        self._policy = learner.policy
        obs_dtype = torch.float32 if algorithm.encoder.image is None else torch.uint8
        shapes: Shapes = {
            "obs": ((m, n, algorithm.encoder.obs_dim), obs_dtype),
            "reward": ((m, n), torch.float32),
            "terminated": ((m, n), torch.bool),
            "truncated": ((m, n), torch.bool),
            "random": ((m,), torch.bool),
        }
        self.staging = Staging(shapes, num_slots=2, device=device)
        action = torch.zeros(m, n, algorithm.action_dim, device=device)
        policies = (PolicyTensors(*map(torch.clone, learner.policy)) for _ in range(2))
        self.slots = [  # of even and of odd vector steps
            Slot(**staged, action=action.clone(), policy=policy)
            for staged, policy in zip(self.staging.slots, policies, strict=True)
        ]
        self.vec_steps = torch.zeros((), dtype=torch.int64, device=device)
        self.host_vec_steps = 0  # mirror of vec_steps
        self._held = HeldNoise.of(m, config.noise_repeat, device) if config.noise_repeat > 1 else None
        rows = philox.Rows.of(config.first_env, n, config.all_envs, device)

        self.stream: torch.cuda.Stream | None = None  # of copies and actions
        self._host_actions = [slot.action for slot in self.slots]
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device, priority=-1)
            self._host_actions = [torch.zeros_like(action, device="cpu").pin_memory()] * 2
            self._acted, self._arrived = torch.cuda.Event(), torch.cuda.Event()
        self._launch = Launch(
            partial(act_step_, algorithm, config),
            variants={
                p: (slot, self._held, learner.buffers["seed"], self.vec_steps, rows)
                for p, slot in enumerate(self.slots)
            },
            written=[*(slot.action for slot in self.slots), self.vec_steps, self._held_state()],
            mode=learner.mode,
            stream=self.stream,
        )

    @property
    def coming(self) -> int:
        """The slot of the coming vector step, 0 or 1."""
        return self.host_vec_steps % 2

    def warm_up(self) -> None:
        """Compile and capture now; changes no number."""
        self._launch.warm_up([0, 1])

    def release(self) -> None:
        """Let go of the CUDA graphs."""
        self._launch.release()

    def act(self) -> FloatArray:
        """Actions [M * N, A] for the newest obs.  The one wait of the loop for the device: environments need them."""
        slot = self.coming
        with self._acting():
            self._launch([slot])
            if self.stream is not None:
                self._host_actions[slot].copy_(self.slots[slot].action, non_blocking=True)
                self._acted.record()
        self.host_vec_steps += 1
        if self.stream is not None:
            self._acted.synchronize()
        return self._host_actions[slot].flatten(0, 1).numpy()

    def undo_act(self) -> None:
        """Forget the last `act`, whose actions were not used: the next one is of the same vector step."""
        with self.idle():
            self.vec_steps.sub_(1)
        self.host_vec_steps -= 1

    def sync_policy(self, member: int) -> None:
        """Let a member act by its parameters of now at once, after it has gone back to earlier ones."""
        with self.idle():
            for slot in self.slots:
                slot.policy.params[member].copy_(self._policy.params[member])

    def stage(self, obs: ObsArray, is_random: Sequence[bool]) -> Tensor:
        """Put obs [M * N, O] into the coming slot, within `idle`; returns it there, [M, N, O]."""
        self.staging.write(self.coming, obs=obs, random=is_random)
        self.staging.copy(self.coming)
        return self.slots[self.coming].obs

    def copy_in(self, step: Step, is_random: Sequence[bool], after: torch.cuda.Event | None) -> None:
        """Enqueue the copy of a step into the coming slot `after` its last read; the current stream waits for it."""
        slot = self.coming
        # The host has waited for actions since: the copy before this one is over.
        obs, reward, terminated, truncated, *_ = step
        self.staging.write(slot, obs=obs, reward=reward, terminated=terminated, truncated=truncated, random=is_random)
        with self._acting():
            if self.stream is not None and after is not None:
                self.stream.wait_event(after)
            self.staging.copy(slot)
            if self.stream is not None:
                self._arrived.record()
        if self.stream is not None:
            torch.cuda.current_stream().wait_event(self._arrived)

    def obs(self) -> ObsArray:
        """A copy of the newest obs [M * N, O].  Waits for the device."""
        return self.slots[self.coming].obs.flatten(0, 1).cpu().numpy().copy()

    def _acting(self) -> AbstractContextManager[object]:
        return nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Wait for the device before and after: for work on the current stream that is in no order with the other."""
        if self.stream is not None:
            torch.cuda.synchronize()
        yield
        if self.stream is not None:
            torch.cuda.synchronize()

    def state_dict(self) -> dict[str, object]:
        """The counter, both copies of the policy, and the noise that is held."""
        policies = {str(p): slot.policy._asdict() for p, slot in enumerate(self.slots)}
        return {"vec_steps": self.vec_steps, "policy": policies, **self._held_state()}

    def _held_state(self) -> dict[str, object]:
        return {} if self._held is None else {"held_noise": self._held.state_dict()}

    def load_state_dict(self, state: object) -> None:
        """Take over what `state_dict` gave, in place; a ValueError where it is of other settings."""
        copy_tree_(self.state_dict(), state, "actor")
        self.host_vec_steps = int(self.vec_steps)
