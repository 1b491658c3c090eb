#!/usr/bin/env python3
"""A peer on an NVIDIA GPU, on request: gpu.py NAME MODEL.onnx BATCH

NAME is torch, torch-compile, onnxruntime, or one of the first two with -half behind it. Prints a line of JSON about itself, then
answers as peer.py does: the same protocol as `embdl-runner serve`. A run takes an input from memory of the host and leaves the
result there, as ours does.
"""
import json
import resource
import sys
import time
from importlib.metadata import version

import numpy as np


def noise(shape):
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def read(path, batch):
    """The model for so many samples, and the shape of its input."""
    import onnx

    model = onnx.load(path)
    value = model.graph.input[0]
    dims = value.type.tensor_type.shape.dim
    dims[0].ClearField("dim_param")
    dims[0].dim_value = batch
    for output in model.graph.output:
        first = output.type.tensor_type.shape.dim[0]
        first.ClearField("dim_param")
        first.dim_value = batch
    # Shapes in between are of one sample.
    del model.graph.value_info[:]
    return model, [dim.dim_value for dim in dims]


def onnxruntime(path, batch, _):
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise RuntimeError("this ONNX Runtime has no CUDA")
    start = time.perf_counter_ns()
    model, shape = read(path, batch)
    options = ort.SessionOptions()
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CUDAExecutionProvider"])
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise RuntimeError("ONNX Runtime fell back to the CPU")
    feed = {session.get_inputs()[0].name: noise(shape)}
    return version("onnxruntime-gpu"), start, lambda: session.run(None, feed)


def torch(path, batch, name):
    import torch
    import torch.nn.functional as F
    from onnx import numpy_helper

    if not torch.cuda.is_available():
        raise RuntimeError("this PyTorch finds no GPU")
    # Ours multiplies floats as floats.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    start = time.perf_counter_ns()
    model, shape = read(path, batch)
    is_half = name.endswith("-half")
    dtype = torch.float16 if is_half else torch.float32
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    class Network(torch.nn.Module):
        """The graph, node by node; constants that are no weights stay numbers of the host."""

        def __init__(self):
            super().__init__()
            self.steps = [(node.op_type, attributes(node), list(node.input), list(node.output)) for node in model.graph.node]
            for at, (tensor, values) in enumerate(known.items()):
                if values.dtype.kind == "f" and values.ndim > 0:
                    self.register_buffer(f"w{at}", torch.from_numpy(values.copy()))
            self.places = {tensor: f"w{at}" for at, tensor in enumerate(known)}

        def forward(self, x):
            values = {model.graph.input[0].name: x}
            for op, attrs, inputs, outputs in self.steps:
                args = [self.value(values, one) for one in inputs]
                values[outputs[0]] = OPERATORS[op](F, torch, attrs, args)
            return values[model.graph.output[0].name]

        def value(self, values, one):
            if one in values or not one:
                return values.get(one)
            return getattr(self, self.places[one], known[one])

    network = Network().eval().to("cuda", dtype)
    if name.startswith("torch-compile"):
        network = torch.compile(network, mode="max-autotune")
    host = torch.from_numpy(noise(shape)).to(dtype).pin_memory()

    def run():
        with torch.inference_mode():
            return network(host.to("cuda", non_blocking=True)).cpu()

    return torch.__version__, start, run


def attributes(node):
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def pads(F, attrs, x, value):
    """The input with its pads, of which PyTorch's operators take the same on both sides only."""
    top, left, bottom, right = attrs.get("pads", [0, 0, 0, 0])
    return F.pad(x, (left, right, top, bottom), value=value) if any((top, left, bottom, right)) else x


def conv(F, _, attrs, args):
    x, weight, bias = (*args, None)[:3]
    top, left, bottom, right = attrs.get("pads", [0, 0, 0, 0])
    padding = (top, left)
    if (top, left) != (bottom, right):
        x, padding = pads(F, attrs, x, 0.0), 0
    return F.conv2d(x, weight, bias, attrs.get("strides", 1), padding, attrs.get("dilations", 1), attrs.get("group", 1))


def max_pool(F, _, attrs, args):
    x = pads(F, attrs, args[0], float("-inf"))
    return F.max_pool2d(x, attrs["kernel_shape"], attrs.get("strides"), ceil_mode=bool(attrs.get("ceil_mode", 0)))


def average_pool(F, _, attrs, args):
    x, padding = args[0], attrs.get("pads", [0, 0, 0, 0])
    if padding[:2] != padding[2:]:
        raise NotImplementedError("pads of different sides")
    counted = bool(attrs.get("count_include_pad", 0))
    ceil = bool(attrs.get("ceil_mode", 0))
    return F.avg_pool2d(x, attrs["kernel_shape"], attrs.get("strides"), padding[:2], ceil, counted)


def gemm(_, torch, attrs, args):
    x, weight, bias = (*args, None)[:3]
    if attrs.get("alpha", 1.0) != 1.0 or attrs.get("beta", 1.0) != 1.0 or attrs.get("transA", 0):
        raise NotImplementedError("a Gemm that is no dense layer")
    return torch.nn.functional.linear(x, weight if attrs.get("transB", 0) else weight.t(), bias)


def clip(_, torch, attrs, args):
    low, high = (*args[1:], None, None)[:2]
    number = lambda value, name: attrs.get(name) if value is None else float(value)
    return torch.clamp(args[0], number(low, "min"), number(high, "max"))


OPERATORS = {
    "Conv": conv,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Gemm": gemm,
    "Clip": clip,
    "GlobalAveragePool": lambda F, _, attrs, args: F.adaptive_avg_pool2d(args[0], 1),
    "Relu": lambda F, _, attrs, args: F.relu(args[0]),
    "Flatten": lambda _, torch, attrs, args: torch.flatten(args[0], attrs.get("axis", 1)),
    "Reshape": lambda _, torch, attrs, args: args[0].reshape(args[0].shape[0], -1),
    "Concat": lambda _, torch, attrs, args: torch.cat(args, attrs["axis"]),
    "Add": lambda _, torch, attrs, args: args[0] + args[1],
    "MatMul": lambda _, torch, attrs, args: args[0] @ args[1],
    "Softmax": lambda F, _, attrs, args: F.softmax(args[0], attrs.get("axis", -1)),
    "LRN": lambda F, _, attrs, args: F.local_response_norm(
        args[0], attrs["size"], attrs.get("alpha", 1e-4), attrs.get("beta", 0.75), attrs.get("bias", 1.0)
    ),
    "Dropout": lambda F, _, attrs, args: args[0],
    "Identity": lambda F, _, attrs, args: args[0],
}


def main():
    name, path, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    load = onnxruntime if name == "onnxruntime" else torch
    library, start, run = load(path, batch, name)
    # What is compiled at the first run belongs to loading.
    run()
    load_ns = time.perf_counter_ns() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"name": name, "version": library, "load_ns": load_ns, "peak_rss": peak}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter_ns()
            run()
            times.append(time.perf_counter_ns() - start)
        print(json.dumps({"ns": times}), flush=True)


if __name__ == "__main__":
    main()
