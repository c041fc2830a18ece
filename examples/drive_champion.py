"""Drive a champion without mkds_neat: python examples/drive_champion.py RUN champion.onnx.

The second argument is the champion.pt of a run, or a file that `python -m mkds_neat.export` wrote.
champion.onnx needs onnxruntime only; champion.pt2 and champion.pt need PyTorch only. Load only
files that you made yourself: PyTorch runs code from a .pt2.
"""

import argparse
import json
from pathlib import Path

import gymnasium as gym
import numpy as np

import mkds_gym  # noqa: F401 - registers MKDS-v0


def from_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_inputs()]
    state = [np.zeros((1, each.shape[1])) for each in session.get_inputs()[1:]]

    def policy(observation):
        nonlocal state
        action, *state = session.run(
            None, dict(zip(names, [observation[None], *state], strict=True))
        )
        return action[0]

    return policy


def from_pt2(path):
    import torch

    program = torch.export.load(path)
    module = program.module()
    state = [torch.zeros_like(each[:1]) for each in program.example_inputs[0][1:]]

    def policy(observation):
        nonlocal state
        outputs = module(torch.from_numpy(observation[None]), *state)
        action, *state = outputs if state else (outputs,)
        return action[0].numpy()

    return policy


def from_pt(path):
    """Read the weights only. The nodes must be sums with tanh, as in the example's config."""
    import torch

    data = torch.load(path, weights_only=True)
    weights, spec = data["state_dict"], json.loads(data["spec"])
    factors = {"tanh": 2.5, "unit_tanh": 1.0}  # neat-python's tanh is steeper
    for node in spec["nodes"]:
        if node["aggregation"] != "sum" or node["activation"] not in factors:
            raise SystemExit(
                f"{path}: node {node['id']} is {node['activation']} of a {node['aggregation']}, "
                "but this reads tanh of a sum only: export a .onnx with python -m mkds_neat.export"
            )
    factor = torch.tensor([factors[node["activation"]] for node in spec["nodes"]])
    ids = [node["id"] for node in spec["nodes"]]
    outputs = [ids.index(key) for key in spec["outputs"]]
    values = torch.zeros(len(ids), dtype=torch.float64)

    def policy(observation):
        nonlocal values
        x = torch.from_numpy(observation).double()
        for _ in range(1 if spec["recurrent"] else len(ids)):
            total = weights["weight"] @ torch.cat((x, values))
            values = torch.tanh((total * weights["response"] + weights["bias"]) * factor)
            if spec["recurrent"]:  # a node without inputs keeps the value 0
                values *= weights["mask"].any(1)
        return values[outputs].numpy()

    return policy


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("network", type=Path, help="its champion as .onnx, .pt2 or .pt")
    arguments = parser.parse_args()
    readers = {".onnx": from_onnx, ".pt2": from_pt2, ".pt": from_pt}
    if arguments.network.suffix not in readers:
        parser.error(f"{arguments.network}: expected a file named .onnx, .pt2 or .pt")
    for file in (arguments.network, arguments.run / "champion.json"):
        if not file.is_file():
            parser.error(f"{file}: no such file")
    policy = readers[arguments.network.suffix](arguments.network)
    champion = json.loads((arguments.run / "champion.json").read_text())
    env = gym.make(champion["env_id"], **champion["env_kwargs"] | {"info_type": "full"})
    start = champion["start"]  # in laps, if not the start of the race
    options = None if start is None else {"progress": start}
    observation, info = env.reset(seed=champion["seed"], options=options)
    over = False
    while not over:
        action = np.clip(policy(observation), env.action_space.low, env.action_space.high)
        observation, _, terminated, truncated, info = env.step(action.astype(np.float32))
        over = terminated or truncated
    print(json.dumps(info["metrics"]))
    if champion["episodes"] == 1:  # else the record is the mean of several
        print("as recorded" if info["metrics"] == champion["record"]["metrics"] else "different")


if __name__ == "__main__":
    main()
