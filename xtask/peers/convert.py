#!/usr/bin/env python3
"""An ONNX file into what a peer reads: convert.py HOW IN.onnx OUT

noise  OUT is an .npy file of inputs to calibrate by, [n, h, w, c] or [n, features]
qdq    OUT is ONNX in integers, by ONNX Runtime's own static quantization: u8 activations, s8 weights per channel
mnn    by MNN's converter
ncnn   by pnnx; OUT.param, OUT.bin, OUT.shape
ncnn8  the same, in integers
litert, litert8   a TensorFlow Lite file, in floats or in integers
"""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

# Inputs to calibrate by. The weights are random, so more of them would say no more.
SAMPLES = 2


def read(path):
    """The model with batch 1, name of its input, and the input's shape."""
    model = onnx.load(path)
    for value in list(model.graph.input) + list(model.graph.output):
        for dim in value.type.tensor_type.shape.dim[:1]:
            dim.dim_value = 1
    value = model.graph.input[0]
    return model, value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def samples(shape):
    random = np.random.default_rng(7)
    return [random.uniform(-1, 1, shape).astype(np.float32) for _ in range(SAMPLES)]


def noise(source, out):
    _, _, shape = read(source)
    values = np.concatenate(samples(shape))
    np.save(out, np.ascontiguousarray(values.transpose(0, 2, 3, 1) if values.ndim == 4 else values))


def qdq(source, out):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    model, name, shape = read(source)

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.values = iter({name: value} for value in samples(shape))

        def get_next(self):
            return next(self.values, None)

    with tempfile.TemporaryDirectory() as folder:
        fixed = os.path.join(folder, "fixed.onnx")
        onnx.save(model, fixed)
        quantize_static(fixed, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def mnn(source, out):
    # The command of MNN's wheel installs a package that logs to a service; the module below it does not.
    import _tools

    model, _, _ = read(source)
    with tempfile.TemporaryDirectory() as folder:
        fixed = os.path.join(folder, "fixed.onnx")
        onnx.save(model, fixed)
        _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", fixed, "--MNNModel", str(out), "--bizCode", "bench"])
    if not os.path.exists(out):
        raise SystemExit("MNN's converter wrote nothing")


def ncnn(source, out):
    import importlib.util

    model, _, shape = read(source)
    program = Path(importlib.util.find_spec("pnnx").origin).with_name("pnnx")
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, os.path.join(folder, "model.onnx"))
        sizes = ",".join(map(str, shape))
        done = subprocess.run([program, "model.onnx", f"inputshape=[{sizes}]", "fp16=0"], cwd=folder,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        param = Path(folder, "model.ncnn.param")
        if not param.exists():
            raise SystemExit("pnnx wrote nothing: " + done.stdout.strip().splitlines()[-1])
        Path(f"{out}.param").write_text(param.read_text())
        Path(f"{out}.bin").write_bytes(Path(folder, "model.ncnn.bin").read_bytes())
    Path(f"{out}.shape").write_text(" ".join(map(str, shape[1:])) + "\n")


def ncnn8(source, out):
    import ncnn_int8

    ncnn(source, out)
    ncnn_int8.quantize(out)


def litert(source, out):
    import tflite

    model, _, _ = read(source)
    Path(out).write_bytes(tflite.write(model, None))


def litert8(source, out):
    import tflite

    model, name, shape = read(source)
    Path(out).write_bytes(tflite.write(model, tflite.ranges(model, [{name: value} for value in samples(shape)])))


if __name__ == "__main__":
    how, source, out = sys.argv[1:]
    {"noise": noise, "qdq": qdq, "mnn": mnn, "ncnn": ncnn, "ncnn8": ncnn8, "litert": litert, "litert8": litert8}[how](source, out)
