#!/usr/bin/env python3
"""One peer, on request: peer.py NAME MODEL THREADS

Prints a line of JSON about itself, then answers each line of its input, a number of runs, with a line of JSON that holds
their times in nanoseconds. The same protocol as `embdl-runner serve`.
"""
import json
import resource
import sys
import time

from runtimes import RUNTIMES


def features():
    """Vector extensions beyond SSE4.2 that this process believes in, by the library that it shares with all peers."""
    from numpy._core._multiarray_umath import __cpu_features__ as found

    wide = ("AVX", "FMA", "F16C", "XOP")
    return sorted(name for name, has in found.items() if has and name.startswith(wide))


def main():
    name, model, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    version, load = RUNTIMES[name](threads)
    start = time.perf_counter_ns()
    run = load(model)
    load_ns = time.perf_counter_ns() - start
    run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    about = {"name": name, "version": version, "load_ns": load_ns, "peak_rss": peak, "features": features()}
    print(json.dumps(about), flush=True)
    wall, cpu = time.perf_counter_ns, time.process_time_ns
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            busy = cpu()
            start = wall()
            run()
            passed = wall() - start
            # On one thread, what something else had the core for does not count.
            times.append(min(passed, cpu() - busy) if threads == 1 else passed)
        print(json.dumps({"ns": times}), flush=True)


if __name__ == "__main__":
    main()
