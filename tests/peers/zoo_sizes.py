"""Whole-file sizes of the zoo after post-training quantization: 8-bit weights with a scale for each channel, Huffman
codes, nothing pruned. Weights are the initial random ones, so this says nothing about answers; trained weights are
less uniform and code shorter. Prints a table in Markdown.

    cargo build --release -p embdl-cli
    python tests/peers/zoo_sizes.py --embdl target/release/embdl --out out/zoo [NETWORK ...]
"""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np


def command(embdl, *arguments):
    done = subprocess.run([embdl, "--json", *map(str, arguments)], check=True, capture_output=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embdl", type=Path, required=True, help="the embdl program")
    parser.add_argument("--out", type=Path, required=True, help="folder for networks and noise to calibrate on")
    parser.add_argument("networks", nargs="*", help="names of the zoo; all by default")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    known = {row["network"]: row for row in command(args.embdl, "zoo")}
    print("| network | parameters | fp32 | after post-training quantization | ratio |")
    print("|---|---|---|---|---|")
    for name in args.networks or known:
        row = known[name]
        noise = np.random.default_rng(1).normal(size=(4, *row["input"])).astype(np.float32)
        np.save(args.out / "noise.npy", noise)
        model, small = args.out / f"{name}.embdl", args.out / f"{name}.int8.embdl"
        command(args.embdl, "zoo", name, "--out", model)
        done = command(
            args.embdl, "compress", model, "--ptq", "--calibration", args.out / "noise.npy", "--out", small,
            "--equalize", "never", "--bias-correction", "never", "--calibrate", "min-max",
        )
        print(
            f"| {name} | {row['parameters']:,} | {done['fp32_bytes']:,} | {done['file_bytes']:,} | {done['ratio']:.2f} |",
            flush=True,
        )
        model.unlink()


if __name__ == "__main__":
    main()
