"""A file of ncnn in floats into one in integers, as ncnn2int8 of its tools does, which no package brings.

Weights are quantized by their channel's largest. Ranges of activations are one constant: the time does not depend on
them, and the outputs are not looked at.
"""
from pathlib import Path

import numpy as np

MAGIC = "7767517"
# What a weight's data begins with.
FLOATS, BYTES = 0, 0x000D4B38
# Levels for each unit of an activation.
ACTIVATION_SCALE = 127 / 8
# Keys of parameters.
OUTPUTS, BIAS, WEIGHTS, GROUP, SCALE_TERM = "0", "5", "6", "7", "8"
# Value of the key for layers in integers; a hundred more, and the output stays in integers.
TERMS = {"Convolution": 2, "ConvolutionDepthWise": 1, "InnerProduct": 2}
STAYS = 100


class Layer:
    def __init__(self, line):
        words = line.split()
        self.kind, self.name = words[:2]
        inputs, outputs = int(words[2]), int(words[3])
        self.inputs, self.outputs = words[4:4 + inputs], words[4 + inputs:4 + inputs + outputs]
        self.keys = dict(word.split("=", 1) for word in words[4 + inputs + outputs:])

    def number(self, key, default):
        # Inner products have their bias and their size under keys of their own.
        shift = {BIAS: "1", WEIGHTS: "2"} if self.kind == "InnerProduct" else {}
        return int(self.keys.get(shift.get(key, key), default))

    def line(self):
        counts = [str(len(self.inputs)), str(len(self.outputs))]
        keys = [f"{key}={value}" for key, value in self.keys.items()]
        return " ".join([self.kind, self.name, *counts, *self.inputs, *self.outputs, *keys])


def quantize(stem):
    """Rewrites STEM.param and STEM.bin."""
    param, data = Path(f"{stem}.param"), Path(f"{stem}.bin")
    magic, counts, *lines = param.read_text().splitlines()
    if magic != MAGIC:
        raise SystemExit(f"{param} is no file of ncnn")
    layers = [Layer(line) for line in lines if line.strip()]
    source, out = Reader(data.read_bytes()), bytearray()
    for layer in layers:
        if layer.kind in TERMS:
            stays = layer.kind != "InnerProduct" and feeds_convolutions(layer.outputs[0], layers)
            convert(layer, source, out, stays)
    if source.rest():
        raise SystemExit(f"{data} holds weights of layers that are not known here")
    param.write_text("\n".join([magic, counts, *(layer.line() for layer in layers)]) + "\n")
    data.write_bytes(out)


def feeds_convolutions(blob, layers):
    """Whether everything that reads `blob` is a convolution."""
    readers = [layer for layer in layers if blob in layer.inputs]
    return bool(readers) and all(
        layer.kind in ("Convolution", "ConvolutionDepthWise")
        or layer.kind == "Split" and all(feeds_convolutions(part, layers) for part in layer.outputs)
        for layer in readers)


def convert(layer, source, out, stays):
    count = layer.number(WEIGHTS, 0)
    rows = layer.number(GROUP, 1) if layer.kind == "ConvolutionDepthWise" else layer.number(OUTPUTS, 0)
    if source.numbers("u4", 1)[0] != FLOATS:
        raise SystemExit(f"{layer.name}: weights are not fp32")
    weights = source.numbers("f4", count).reshape(rows, -1)
    bias = source.numbers("f4", layer.number(OUTPUTS, 0)) if layer.number(BIAS, 0) else None
    scales = (127 / np.maximum(np.abs(weights).max(axis=1), 1e-9)).astype("<f4")
    levels = np.clip(np.rint(weights * scales[:, None]), -127, 127).astype(np.int8).tobytes()
    out += np.array([BYTES], "<u4").tobytes() + levels + b"\0" * (-len(levels) % 4)
    if bias is not None:
        out += bias.tobytes()
    out += scales.tobytes() + np.array([ACTIVATION_SCALE] * (2 if stays else 1), "<f4").tobytes()
    layer.keys[SCALE_TERM] = str(TERMS[layer.kind] + (STAYS if stays else 0))


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def numbers(self, kind, count):
        values = np.frombuffer(self.data, "<" + kind, count, self.at)
        self.at += values.nbytes
        return values

    def rest(self):
        return len(self.data) - self.at
