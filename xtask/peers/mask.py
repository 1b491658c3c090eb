#!/usr/bin/env python3
"""Turns every `cpuid` of programs and libraries into `ud2`, in place: mask.py FILE_OR_FOLDER...

Only for copies. cpuid.c answers what then traps. Needs objdump and readelf, which say what is an instruction and where in
the file it is. Prints, for each file that was changed, how many there were.
"""
import re
import subprocess
import sys
from pathlib import Path

CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"
# What is never loaded while a peer runs: other devices, other formats, converters.
NEEDLESS = re.compile(r"_gpu_|_npu_|WebGpu|/vendors/|/_tools|libonnxruntime\.so|frontend(?!.*onnx)|/onnx/|/pnnx/|/pip/")


def files(names):
    for name in map(Path, names):
        for path in sorted(name.rglob("*.so*")) if name.is_dir() else [name]:
            if path.is_file() and not path.is_symlink() and not NEEDLESS.search(str(path)):
                yield path


def segments(path):
    """Offset in the file, address and size of each part that is loaded."""
    text = subprocess.run(["readelf", "-lW", path], check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^\s+LOAD\s+0x(\w+) 0x(\w+) 0x\w+ 0x(\w+)", text, re.MULTILINE)
    return [tuple(int(number, 16) for number in one) for one in found]


def places(path):
    """Offsets in the file of its `cpuid` instructions."""
    loaded = segments(path)
    listing = subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", path], stdout=subprocess.PIPE)
    found = subprocess.run(["grep", "-P", r"\tcpuid\s*$"], stdin=listing.stdout, capture_output=True, text=True)
    if listing.wait():
        raise SystemExit(f"objdump cannot read {path}")
    for line in found.stdout.splitlines():
        address = int(line.split(":")[0], 16)
        yield next(offset + address - start for offset, start, size in loaded if start <= address < start + size)


def main():
    for path in files(sys.argv[1:]):
        data = bytearray(path.read_bytes())
        if not data.startswith(b"\x7fELF") or CPUID not in data:
            continue
        count = 0
        for at in places(path):
            if data[at:at + 2] != CPUID:
                raise SystemExit(f"{path}: no cpuid at {at:#x}")
            data[at:at + 2] = UD2
            count += 1
        if count:
            path.write_bytes(data)
            print(f"{path.name}: {count}")


if __name__ == "__main__":
    main()
