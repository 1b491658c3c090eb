#!/usr/bin/env python3
"""Prints what llvm-mca says of the inner loops of rt-arm's kernels, as a table in Markdown.

usage: loops.py PROGRAM     (a release build of rt-arm's example `count`)

Needs aarch64-linux-gnu-objdump and llvm-mca. A loop is a run of instructions that ends in a branch back to its start; of
each kernel below the one counts that has the largest share of the kernel's products. Peak is what the products alone take.
"""

import re
import subprocess
import sys

CORES = ["cortex-a53", "cortex-a55", "cortex-a57", "cortex-a72"]
DOT_CORES = ["cortex-a55", "cortex-a76"]
I8MM_CORES = ["cortex-a510", "neoverse-n2"]
BYTES = r"sm[lu][al]l2?\s.*8h"


def sums(code):
    return sum(1 for i in code if i.startswith("sadalp"))


# Name, part of the function's name, the product, products of one instruction, cores, and which loop it is by the number of
# product instructions and the code, if the function has several.
KERNELS = [
    ("`gemm_f32_f32_6x16__neon`", "gemm3f32", r"fmla", 4, CORES, lambda n, code: n == 96),
    ("the same, one row", "gemm3f32", r"fmla", 4, CORES, lambda n, code: n == 64 and len(code) == 82),
    ("`depthwise_f32_f32_4x8__neon`, 3x3, stride 1", "depthwise_f32", r"fmla", 4, CORES, lambda n, code: n == 27),
    ("`gemm_qu8_qc8w_4x4c16__neon`, weights to 127", "gemm4neon", BYTES, 8, CORES, lambda n, code: n == 2 * sums(code)),
    ("the same, weights to 31", "gemm4neon", BYTES, 8, CORES, lambda n, code: n == 8 * sums(code)),
    ("`winograd_qu8_qc8w_4x8__neon`", "conv_q8", r"smlal2?\s.*4s", 4, CORES, None),
    ("`gemm_qu8_ellw_1x16c128__neon`", "ell_q8", BYTES, 8, CORES, lambda n, code: n == 2 * sums(code)),
    ("`gemm_qu8_qc8w_8x8c4__dotprod`", "gemm7dotprod", r"sdot", 16, DOT_CORES, None),
    ("`gemm_qu8_ellw_1x16c128__dotprod`", "3ell7dotprod", r"sdot", 16, DOT_CORES, None),
    ("`gemm_qu8_qc8w_8x8c8__i8mm`", "gemm4i8mm", r"usmmla", 32, I8MM_CORES, None),
]


def loops(program):
    """Function and instructions of each loop without a branch inside."""
    listing = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", program],
        check=True, capture_output=True, text=True,
    ).stdout
    function, block = "", []
    for line in listing.splitlines():
        if start := re.match(r"[0-9a-f]+ <(.*)>:", line):
            function, block = start[1], []
        elif instruction := re.match(r" *([0-9a-f]+):\t(\S+)\s*([^/]*)", line):
            address, name, operands = int(instruction[1], 16), instruction[2], instruction[3].strip()
            if re.fullmatch(r"b|b\..*|cbn?z|tbn?z|bl|br|blr|ret", name):
                target = re.search(r"\b([0-9a-f]+) <", operands)
                places = [at for at, _ in block]
                if name.startswith("b.") and target and int(target[1], 16) in places:
                    first = places.index(int(target[1], 16))
                    yield function, [text for _, text in block[first:]]
                block = []
            else:
                block.append((address, f"{name} {operands}"))


def cycles(instructions, core):
    """Cycles for one round of many."""
    rounds = 200
    report = subprocess.run(
        ["llvm-mca", "-mtriple=aarch64", f"-mcpu={core}", "-mattr=+dotprod,+i8mm", f"-iterations={rounds}"],
        input="\n".join(instructions) + "\n", check=True, capture_output=True, text=True,
    ).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", report)[1]) / rounds


def main():
    found = list(loops(sys.argv[1]))
    version = subprocess.run(["llvm-mca", "--version"], capture_output=True, text=True).stdout
    print("llvm-mca", re.search(r"version (\S+)", version)[1], end="\n\n")
    print("| inner loop | core | instructions | products | cycles | share of peak |")
    print("|---|---|---|---|---|---|")
    for name, function, product, each, cores, which in KERNELS:
        products = lambda code: sum(1 for i in code if re.match(product, i))
        of = [code for where, code in found if function in where and products(code)]
        of = [code for code in of if which is None or which(products(code), code)]
        if not of:
            sys.exit(f"no loop of {name} in this program")
        code = max(of, key=lambda code: products(code) / len(code))
        for core in cores:
            whole, alone = cycles(code, core), cycles([i for i in code if re.match(product, i)], core)
            work = products(code) * each
            print(f"| {name} | {core} | {len(code) + 1} | {work} | {whole:.0f} | {min(100, 100 * alone / whole):.0f} % |")


if __name__ == "__main__":
    main()
