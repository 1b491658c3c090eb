#!/usr/bin/env python3
"""One peer, on request: peer.py NAME MODEL.onnx THREADS

Prints a line of JSON about itself, then answers each line of its input, a number of runs, with a line of JSON that holds
their times in nanoseconds. The same protocol as `embdl-runner serve`.
"""
import json
import resource
import sys
import time


def noise(shape, dtype):
    import numpy as np

    shape = [size if isinstance(size, int) and size > 0 else 1 for size in shape]
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(dtype)


def onnxruntime(model, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Measured alone and measured in turns with others should be the same: no thread that spins while it waits.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if threads == 1 else "1")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    value = session.get_inputs()[0]
    feed = {value.name: noise(value.shape, "float32")}
    return ort.__version__, lambda: session.run(None, feed)


def openvino(model, threads):
    import openvino as ov

    core = ov.Core()
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        },
    )
    request = compiled.create_infer_request()
    shape = [dim.get_length() if dim.is_static else 1 for dim in compiled.input(0).partial_shape]
    request.set_input_tensor(ov.Tensor(noise(shape, "float32")))
    return ov.__version__.split("-")[0], request.infer


PEERS = {"onnxruntime": onnxruntime, "openvino": openvino}


def main():
    name, model, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    start = time.perf_counter_ns()
    version, run = PEERS[name](model, threads)
    load = time.perf_counter_ns() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"name": name, "version": version, "load_ns": load, "peak_rss": peak}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter_ns()
            run()
            times.append(time.perf_counter_ns() - start)
        print(json.dumps({"ns": times}), flush=True)


if __name__ == "__main__":
    main()
