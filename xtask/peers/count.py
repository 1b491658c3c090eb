#!/usr/bin/env python3
"""One inference of a peer between two marks, for an emulator that counts instructions: count.py NAME MODEL

Asking for the parent's number is the mark. Between the first two is Python alone, between the last two Python and the
peer. What a peer prepares on its first run is not counted.
"""
import json
import os
import sys

from runtimes import RUNTIMES


def main():
    version, load = RUNTIMES[sys.argv[1]](1)
    run = load(sys.argv[2])
    run()
    for what in (lambda: None, run):
        os.getppid()
        what()
        os.getppid()
    print(json.dumps({"version": version}), flush=True)


if __name__ == "__main__":
    main()
