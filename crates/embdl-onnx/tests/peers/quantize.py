#!/usr/bin/env python3
"""Quantizes the models that models.py wrote, as ONNX Runtime does it: quantize.py FOLDER NAME...

Writes NAME.qdq-*.onnx with the values that ONNX Runtime computes for them without its own fusions, which saturate on some
CPUs. Needs onnx and onnxruntime.
"""
import json
import logging
import pathlib
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

logging.disable(logging.WARNING)
FOLDER = pathlib.Path(sys.argv[1])


class Noise(CalibrationDataReader):
    def __init__(self, name, shape):
        rng = np.random.default_rng(3)
        self.rest = [{name: rng.random(shape, dtype=np.float32)} for _ in range(4)]

    def get_next(self):
        return self.rest.pop() if self.rest else None


for name in sys.argv[2:]:
    source = FOLDER / f"{name}.onnx"
    shape = json.loads((FOLDER / f"{name}.json").read_text())["inputs"][0]
    prepared = FOLDER / f"{name}.prepared"
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    feed = onnx.load(source).graph.input[0].name
    for kind, per_channel in ((QuantType.QUInt8, True), (QuantType.QInt8, False)):
        full = f"{name}.qdq-{kind.name.lower()}-{'channel' if per_channel else 'tensor'}"
        path = FOLDER / f"{full}.onnx"
        quantize_static(
            str(prepared), str(path), Noise(feed, shape), quant_format=QuantFormat.QDQ, per_channel=per_channel,
            activation_type=kind, weight_type=QuantType.QInt8,
        )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        x = np.fromfile(FOLDER / f"{name}.in0", dtype=np.float32).reshape(shape)
        for at, result in enumerate(session.run(None, {feed: x})):
            result.astype(np.float32).tofile(FOLDER / f"{full}.out{at}")
        shutil.copy(FOLDER / f"{name}.in0", FOLDER / f"{full}.in0")
        print(f"{full}: written")
    prepared.unlink()
