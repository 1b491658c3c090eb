#!/usr/bin/env python3
"""Training speed beside PyTorch's: LeNet-5, batch 64, SGD with momentum, fp32, in turns on the same cores.

    cargo build --release -p embdl-train --example throughput
    python3 xtask/peers/training.py [--rounds 5] [--steps 150] [--threads 1] [--threads 2] [--ours PATH]

Each round runs both, in alternating order, so that other load on the machine meets both. Printed are the medians over
the rounds, in images a second: by each run's median step, over all its steps, and for each second of CPU time. Needs
PyTorch; the peer's part runs as a process of its own, with `--peer`.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BATCH, WARM_UP = 64, 10
KINDS = ("median", "mean", "cpu")


def peer(threads, steps):
    """The same network, optimizer and amount of data as examples/throughput.rs, on PyTorch."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.005, momentum=0.9, weight_decay=5e-4, nesterov=True)
    images = torch.rand((steps + WARM_UP) * BATCH, 1, 28, 28) - 0.3
    labels = torch.randint(0, 10, (len(images),))
    order = torch.randperm(len(images)).split(BATCH)
    clock = []
    for indices in order:
        clock.append((time.perf_counter(), time.process_time()))
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(network(images[indices]), labels[indices])
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
    clock = clock[WARM_UP:]
    times = [after[0] - before[0] for before, after in zip(clock, clock[1:])]
    count = len(times) * BATCH
    print(f"pytorch {torch.__version__} threads {threads} loss {loss.item():.3f}: "
          f"median {BATCH / statistics.median(times):.0f} mean {count / sum(times):.0f} "
          f"cpu {count / (clock[-1][1] - clock[0][1]):.0f} images/s")


def measure(command):
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {kind: float(re.search(rf"\b{kind} (\d+)", text).group(1)) for kind in KINDS}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--steps", type=int, default=150)
    arguments.add_argument("--threads", type=int, action="append")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    arguments.add_argument("--ours", default=str(target / "release/examples/throughput"))
    arguments.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    threads = chosen.threads or [1, 2]
    if chosen.peer:
        return peer(threads[0], chosen.steps)
    for count in threads:
        legs = {
            "ours": [chosen.ours, "lenet-5", str(count), str(chosen.steps), str(BATCH)],
            "pytorch": [sys.executable, __file__, "--peer", "--threads", str(count), "--steps", str(chosen.steps)],
        }
        found = {name: [] for name in legs}
        for round_ in range(chosen.rounds):
            for name in sorted(legs, reverse=round_ % 2 == 1):
                found[name].append(measure(legs[name]))
                print(f"  round {round_ + 1} {name} {found[name][-1]}", flush=True)
        for kind in KINDS:
            ours, theirs = (statistics.median(run[kind] for run in found[name]) for name in ("ours", "pytorch"))
            print(f"threads {count}, by {kind}: ours {ours:.0f}, PyTorch {theirs:.0f} images/s, ratio {ours / theirs:.2f}")
        print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
