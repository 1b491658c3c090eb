"""How each peer loads a model and runs it: NAME(threads) gives its version and load(model), which gives run().

Importing a peer is no part of loading. Inputs are noise that is put in once, where the peer lets us; a model in integers
takes integers where its file can say so.
"""
from importlib.metadata import version

import numpy as np


def noise(shape):
    """Floats between -1 and 1; open dimensions, the batch, are one."""
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in shape]
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def onnxruntime(threads):
    import onnxruntime as ort

    def load(model):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Measured alone and measured in turns with others should be the same: no thread that spins while it waits.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0" if threads == 1 else "1")
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        value = session.get_inputs()[0]
        feed = {value.name: noise(value.shape)}
        return lambda: session.run(None, feed)

    return version("onnxruntime"), load


def openvino(threads):
    import openvino as ov

    core = ov.Core()

    def load(model):
        network = core.read_model(model)
        shape = [dim.get_length() if dim.is_static else 1 for dim in network.input(0).partial_shape]
        network.reshape(shape)
        compiled = core.compile_model(network, "CPU", {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        })
        request = compiled.create_infer_request()
        request.set_input_tensor(ov.Tensor(noise(shape)))
        return request.infer

    return version("openvino"), load


def ncnn(threads):
    import ncnn as library

    def load(model):
        net = library.Net()
        net.opt.num_threads = threads
        # By default the weights of dense layers are halves, which would not be fp32.
        for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(net.opt, option, False)
        if net.load_param(model + ".param") or net.load_model(model + ".bin"):
            raise RuntimeError("ncnn does not load the model")
        with open(model + ".shape") as file:
            shape = [int(size) for size in file.read().split()]
        values = noise(shape)
        value = library.Mat(values)

        def run():
            extractor = net.create_extractor()
            extractor.input("in0", value)
            return extractor.extract("out0")

        if run()[0] != 0:
            raise RuntimeError("ncnn does not run the model")
        run.keep = values
        return run

    return version("ncnn"), load


def mnn(threads):
    import MNN

    def load(model):
        interpreter = MNN.Interpreter(model)
        session = interpreter.createSession({"numThread": threads, "backend": "CPU", "precision": "high"})
        value = interpreter.getSessionInput(session)
        shape = tuple(max(1, size) for size in value.getShape())
        interpreter.resizeTensor(value, shape)
        interpreter.resizeSession(session)
        values = noise(shape)
        value.copyFrom(MNN.Tensor(shape, MNN.Halide_Type_Float, values, MNN.Tensor_DimensionType_Caffe))
        if interpreter.runSession(session) != 0:
            raise RuntimeError("MNN does not run the model")
        return lambda: interpreter.runSession(session)

    return version("MNN"), load


def litert(threads):
    from ai_edge_litert.interpreter import Interpreter

    def load(model):
        interpreter = Interpreter(model, num_threads=threads)
        interpreter.allocate_tensors()
        value = interpreter.get_input_details()[0]
        values = noise([int(size) for size in value["shape"]])
        if value["dtype"] == np.int8:
            scale, zero = value["quantization"]
            values = np.clip(np.rint(values / scale + zero), -128, 127).astype(np.int8)
        interpreter.set_tensor(value["index"], values)
        return interpreter.invoke

    return version("ai-edge-litert"), load


RUNTIMES = {"onnxruntime": onnxruntime, "openvino": openvino, "ncnn": ncnn, "mnn": mnn, "litert": litert}
