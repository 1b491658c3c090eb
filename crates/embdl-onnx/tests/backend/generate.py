#!/usr/bin/env python3
"""Writes the node tests that the PyPI package `onnx` generates: generate.py FOLDER.

Of each test of a single operator, FOLDER has NAME.onnx and, for its first data set, NAME.json: element type, dimensions
and values of all inputs and outputs. Tests of sequences, maps and optional values are left out, and those of functions
that are expanded into other operators.
"""
import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

warnings.filterwarnings("ignore")
KINDS = {"float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool"}
# Larger ones test nothing that smaller ones do not.
MOST_ELEMENTS = 1 << 14


def array(value):
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else None


def entry(value):
    return {
        "kind": str(value.dtype),
        "dims": list(value.shape),
        # JSON knows no infinity; text that Rust parses does.
        "values": [str(float(element)) for element in value.flatten().tolist()],
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for case in collect_testcases():
        graph = case.model.graph
        if len(graph.node) != 1 or graph.node[0].domain not in ("", "ai.onnx") or "_expanded" in case.name:
            continue
        inputs, outputs = case.data_sets[0]
        arrays = [array(value) for value in [*inputs, *outputs]]
        if any(value is None or str(value.dtype) not in KINDS or value.size > MOST_ELEMENTS for value in arrays):
            continue
        record = {
            "inputs": [entry(value) for value in arrays[: len(inputs)]],
            "outputs": [entry(value) for value in arrays[len(inputs) :]],
            "rtol": case.rtol,
            "atol": case.atol,
        }
        (folder / f"{case.name}.onnx").write_bytes(case.model.SerializeToString())
        (folder / f"{case.name}.json").write_text(json.dumps(record))
        written += 1
    print(f"{written} node tests of onnx {onnx.__version__}")


main()
