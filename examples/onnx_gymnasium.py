"""Run an exported policy with Gymnasium and onnxruntime alone: python onnx_gymnasium.py policy.onnx ENV_ID SEED..."""

import sys

import gymnasium
import numpy as np
import onnxruntime

if len(sys.argv) < 4:
    sys.exit("usage: python onnx_gymnasium.py policy.onnx ENV_ID SEED...")
policy, env = onnxruntime.InferenceSession(sys.argv[1]), gymnasium.make(sys.argv[2])
returns = []
for seed in sys.argv[3:]:  # an episode each
    (obs, _), done, total = env.reset(seed=int(seed)), False, 0.0
    while not done:
        actions = policy.run(None, {"obs": np.asarray(obs, np.float32).reshape(1, -1)})[0]
        obs, reward, terminated, truncated, _ = env.step(actions[0])
        total, done = total + float(reward), terminated or truncated
    returns.append(total)
print(f"mean return {np.mean(returns):.6f}")
