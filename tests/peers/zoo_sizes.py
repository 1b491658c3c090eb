"""Whole-file sizes of the zoo after post-training quantization: 8-bit weights with a scale for each channel, Huffman
codes, nothing pruned, and how far the scores agree with the float network's on noise that was not calibrated on. Weights are
the initial random ones, so this says nothing about answers; trained weights are less uniform and code shorter. Prints a table
in Markdown.

    cargo build --release -p embdl-cli
    python tests/peers/zoo_sizes.py --embdl target/release/embdl --out out/zoo [NETWORK ...]
"""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np

# Inputs on which scores are compared.
OTHER = 64


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
    print("| network | parameters | fp32, bytes | file, bytes | ratio | top-1 as float | SQNR of scores |")
    print("|---|---|---|---|---|---|---|")
    for name in args.networks or known:
        row = known[name]
        for file, seed, count in [("noise", 1, 4), ("other", 2, OTHER)]:
            noise = np.random.default_rng(seed).normal(size=(count, *row["input"])).astype(np.float32)
            np.save(args.out / f"{file}.npy", noise)
        model, small = args.out / f"{name}.embdl", args.out / f"{name}.int8.embdl"
        command(args.embdl, "zoo", name, "--out", model)
        done = command(
            args.embdl, "compress", model, "--ptq", "--calibration", args.out / "noise.npy", "--out", small,
            "--equalize", "never", "--bias-correction", "never", "--calibrate", "min-max",
        )
        found = command(args.embdl, "compare", model, small, "--images", args.out / "other.npy")["agreement"]
        print(
            f"| `{name}` | {row['parameters']:,} | {done['fp32_bytes']:,} | {done['file_bytes']:,} | {done['ratio']:.2f} "
            f"| {100 * found['top1']:.0f} % | {found['sqnr_db']:.1f} dB |",
            flush=True,
        )
        model.unlink()


if __name__ == "__main__":
    main()
