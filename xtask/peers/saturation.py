"""Whether peers that read quantized ONNX add products without overflow: a line NAME RESULT each, where 64 is right.

One convolution of 1x1 over 64 channels, all inputs 1 (level 255) and all weights 1 (level 127), so each sum is 64.
"""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 64


def model():
    constants = {
        "x_scale": np.float32(1 / 255), "x_zero": np.uint8(0),
        "w": np.full((32, CHANNELS, 1, 1), 127, np.int8), "w_scale": np.float32(1 / 127), "w_zero": np.int8(0),
        "y_scale": np.float32(CHANNELS / 255), "y_zero": np.uint8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["x_levels"]),
        helper.make_node("DequantizeLinear", ["x_levels", "x_scale", "x_zero"], ["x_values"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_values"]),
        helper.make_node("Conv", ["x_values", "w_values"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "y_scale", "y_zero"], ["y_levels"]),
        helper.make_node("DequantizeLinear", ["y_levels", "y_scale", "y_zero"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32, 8, 8])],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def onnxruntime(file, x):
    import onnxruntime as ort

    return ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def openvino(file, x):
    import openvino as ov

    core = ov.Core()
    return core.compile_model(core.read_model(file), "CPU")({"x": x})[0]


def main():
    x = np.ones((1, CHANNELS, 8, 8), np.float32)
    file = model()
    for peer in (onnxruntime, openvino):
        print(peer.__name__, f"{float(peer(file, x).mean()):.1f}")


main()
