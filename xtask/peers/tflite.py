"""ONNX into TensorFlow Lite, for the operators of our zoo: what LiteRT reads, without TensorFlow.

Maps become NHWC. In integers, activations are int8 with a zero point, weights int8 with a scale per channel.
"""
import os
import tempfile

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

BUILTIN = schema.BuiltinOperator
OPTIONS = schema.BuiltinOptions
TYPE = schema.TensorType
ACTIVATION = schema.ActivationFunctionType
# Version of each operator that knows int8; LiteRT does not look at it much, but refuses what it does not know.
INT8_VERSIONS = {BUILTIN.CONV_2D: 3, BUILTIN.DEPTHWISE_CONV_2D: 3, BUILTIN.FULLY_CONNECTED: 4}


def ranges(model, inputs):
    """Smallest and largest of every value, zero included, over runs of ONNX Runtime."""
    import onnxruntime

    names = [name for node in model.graph.node for name in node.output]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "all.onnx")
        onnx.save(copy, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = {}
    for feed in inputs:
        for name, value in list(feed.items()) + list(zip(names, session.run(names, feed))):
            low, high = found.get(name, (0.0, 0.0))
            found[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return found


def write(model, found):
    """Bytes of the file; in integers where `found` holds the ranges."""
    writer = Writer(model, found)
    writer.graph()
    return writer.bytes()


class Writer:
    def __init__(self, model, found):
        self.model, self.found = model.graph, found
        self.constants = {one.name: numpy_helper.to_array(one) for one in self.model.initializer}
        self.readers = {}
        for node in self.model.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.buffers, self.tensors, self.operators, self.kinds = [schema.BufferT()], [], [], []
        # Of each value of ONNX: index of its tensor, its NHWC shape, its scale and zero point.
        self.values = {}
        self.done = set()

    def graph(self):
        for node in self.model.node if self.found else []:
            if node.op_type == "Concat":
                # Parts of a map have the scale of the map.
                names = [self.fused(part) for part in node.input] + [node.output[0]]
                low = min(self.found[name][0] for name in names)
                high = max(self.found[name][1] for name in names)
                self.found.update((name, (low, high)) for name in names)
        entry = self.model.input[0]
        shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        self.value(entry.name, [shape[0], *shape[2:], shape[1]] if len(shape) == 4 else shape)
        for node in self.model.node:
            if node.output[0] not in self.done:
                attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
                getattr(self, node.op_type)(node, attributes)

    # Operators of ONNX, by their names.

    def Conv(self, node, attributes):
        source, shape, quant = self.values[node.input[0]]
        weight, bias = self.layer(node)
        group, (stride, stride_x) = attributes.get("group", 1), attributes.get("strides", [1, 1])
        top, left, bottom, right = attributes.get("pads", [0] * 4)
        kernel = weight.shape[2:]
        size = [(shape[1 + at] + pads - kernel[at]) // step + 1
                for at, (pads, step) in enumerate([(top + bottom, stride), (left + right, stride_x)])]
        is_same = all(-(-shape[1 + at] // step) == size[at] and before == max((size[at] - 1) * step + kernel[at] - shape[1 + at], 0) // 2
                      for at, (step, before) in enumerate([(stride, top), (stride_x, left)]))
        is_same = is_same and (top or left or bottom or right)
        if (top or left or bottom or right) and not is_same:
            pads = self.constant(np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
            padded = [1, shape[1] + top + bottom, shape[2] + left + right, shape[3]]
            target = self.tensor(padded, self.type(), quant=quant)
            self.operator(BUILTIN.PAD, [source, pads], target, OPTIONS.PadOptions, schema.PadOptionsT())
            source = target
        is_depthwise = group > 1 and group == shape[3] and weight.shape[0] == group
        if is_depthwise:
            kind, name, options, axis = BUILTIN.DEPTHWISE_CONV_2D, OPTIONS.DepthwiseConv2DOptions, schema.DepthwiseConv2DOptionsT(), 3
            options.depthMultiplier = 1
            weight = weight.transpose(1, 2, 3, 0)
        else:
            kind, name, options, axis = BUILTIN.CONV_2D, OPTIONS.Conv2DOptions, schema.Conv2DOptionsT(), 0
            weight = weight.transpose(0, 2, 3, 1)
        output, options.fusedActivationFunction = self.activated(node.output[0])
        options.padding = schema.Padding.SAME if is_same else schema.Padding.VALID
        options.strideH, options.strideW = stride, stride_x
        options.dilationHFactor = options.dilationWFactor = 1
        inputs = [source, *self.parameters(weight, bias, quant, axis)]
        channels = weight.shape[axis]
        self.operator(kind, inputs, self.value(output, [1, *size, channels]), name, options)

    def Gemm(self, node, attributes):
        source, shape, quant = self.values[node.input[0]]
        weight, bias = self.layer(node)
        if not attributes.get("transB", 0):
            weight = weight.T
        if len(shape) == 4:
            _, height, width, channels = shape
            weight = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(len(weight), -1)
            source = self.reshaped(source, [1, weight.shape[1]], quant)
        output, activation = self.activated(node.output[0])
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = activation
        inputs = [source, *self.parameters(np.ascontiguousarray(weight), bias, quant, 0)]
        self.operator(BUILTIN.FULLY_CONNECTED, inputs, self.value(output, [1, len(weight)]), OPTIONS.FullyConnectedOptions, options)

    def MaxPool(self, node, attributes):
        source, shape, quant = self.values[node.input[0]]
        self.unpadded(node, attributes)
        kernel, steps = attributes["kernel_shape"], attributes.get("strides", [1, 1])
        options = schema.Pool2DOptionsT()
        options.filterHeight, options.filterWidth = kernel
        options.strideH, options.strideW = steps
        # With ceil mode the last window may reach over the edge; so it does with padding that is "same".
        size, pads = zip(*[self.pooled(shape[1 + at], kernel[at], steps[at], attributes.get("ceil_mode", 0)) for at in (0, 1)])
        options.padding = schema.Padding.SAME if any(pads) else schema.Padding.VALID
        if any(pads) and any(-(-shape[1 + at] // steps[at]) != size[at] for at in (0, 1)):
            raise SystemExit(f"{node.name}: TensorFlow Lite has no pooling like this")
        target = self.value(node.output[0], [1, *size, shape[3]], quant)
        self.operator(BUILTIN.MAX_POOL_2D, [source], target, OPTIONS.Pool2DOptions, options)

    def AveragePool(self, node, attributes):
        raise SystemExit(f"{node.name}: AveragePool is not converted")

    def GlobalAveragePool(self, node, _):
        source, shape, _ = self.values[node.input[0]]
        axes = self.constant(np.array([1, 2], np.int32))
        options = schema.ReducerOptionsT()
        options.keepDims = True
        self.operator(BUILTIN.MEAN, [source, axes], self.value(node.output[0], [1, 1, 1, shape[3]]), OPTIONS.ReducerOptions, options)

    def Flatten(self, node, _):
        source, shape, quant = self.values[node.input[0]]
        if len(shape) == 4 and shape[1] * shape[2] == 1:
            flat = [1, shape[3]]
            self.values[node.output[0]] = (self.reshaped(source, flat, quant), flat, quant)
        else:
            # The dense layer behind it turns its weights instead.
            self.values[node.output[0]] = self.values[node.input[0]]

    def Concat(self, node, _):
        parts = [self.values[name] for name in node.input]
        options = schema.ConcatenationOptionsT()
        options.axis = 3
        shape = [*parts[0][1][:3], sum(part[1][3] for part in parts)]
        self.operator(BUILTIN.CONCATENATION, [part[0] for part in parts], self.value(node.output[0], shape), OPTIONS.ConcatenationOptions, options)

    def Add(self, node, _):
        parts = [self.values[name] for name in node.input]
        options = schema.AddOptionsT()
        output, options.fusedActivationFunction = self.activated(node.output[0])
        self.operator(BUILTIN.ADD, [part[0] for part in parts], self.value(output, parts[0][1]), OPTIONS.AddOptions, options)

    def LRN(self, node, attributes):
        source, shape, _ = self.values[node.input[0]]
        options = schema.LocalResponseNormalizationOptionsT()
        options.radius, options.bias = attributes["size"] // 2, attributes["bias"]
        options.alpha, options.beta = attributes["alpha"] / attributes["size"], attributes["beta"]
        kind, name = BUILTIN.LOCAL_RESPONSE_NORMALIZATION, OPTIONS.LocalResponseNormalizationOptions
        target = self.value(node.output[0], shape)
        if self.found:
            # There is no such operator in integers.
            before, after = self.tensor(shape, TYPE.FLOAT32), self.tensor(shape, TYPE.FLOAT32)
            self.operator(BUILTIN.DEQUANTIZE, [source], before)
            self.operator(kind, [before], after, name, options)
            self.operator(BUILTIN.QUANTIZE, [after], target)
        else:
            self.operator(kind, [source], target, name, options)

    def Softmax(self, node, _):
        source, shape, quant = self.values[node.input[0]]
        if len(shape) == 4:
            shape = [1, int(np.prod(shape))]
            source = self.reshaped(source, shape, quant)
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        target = self.value(node.output[0], shape, (1 / 256, -128) if self.found else None)
        self.operator(BUILTIN.SOFTMAX, [source], target, OPTIONS.SoftmaxOptions, options)

    def Relu(self, node, _):
        source, shape, _ = self.values[node.input[0]]
        self.operator(BUILTIN.RELU, [source], self.value(node.output[0], shape))

    def __getattr__(self, name):
        if name[:1].isupper():
            raise SystemExit(f"{name} is not converted to TensorFlow Lite")
        raise AttributeError(name)

    # Parts of operators.

    def layer(self, node):
        weight = self.constants[node.input[1]]
        rows = weight.shape[0]
        return weight, self.constants[node.input[2]] if len(node.input) > 2 else np.zeros(rows, np.float32)

    def fused(self, name):
        """The value that stands for `name` where its activation is part of the operator before."""
        readers = self.readers.get(name, [])
        if len(readers) == 1 and readers[0].op_type in ("Relu", "Clip"):
            return readers[0].output[0]
        return name

    def activated(self, name):
        output = self.fused(name)
        if output == name:
            return name, ACTIVATION.NONE
        self.done.add(output)
        node = self.readers[name][0]
        if node.op_type == "Relu":
            return output, ACTIVATION.RELU
        bounds = [float(self.constants[bound]) for bound in node.input[1:]]
        if bounds != [0.0, 6.0]:
            raise SystemExit(f"{node.name}: TensorFlow Lite has no clip to {bounds}")
        return output, ACTIVATION.RELU6

    @staticmethod
    def pooled(length, kernel, step, ceil):
        whole = (length - kernel) // step + 1
        reaches = ceil and (length - kernel) % step
        return whole + bool(reaches), bool(reaches)

    @staticmethod
    def unpadded(node, attributes):
        if any(attributes.get("pads", [])):
            raise SystemExit(f"{node.name}: pooling with pads is not converted")

    def reshaped(self, source, shape, quant):
        target = self.tensor(shape, self.type(), quant=quant)
        options = schema.ReshapeOptionsT()
        options.newShape = shape
        self.operator(BUILTIN.RESHAPE, [source, self.constant(np.array(shape, np.int32))], target, OPTIONS.ReshapeOptions, options)
        return target

    def parameters(self, weight, bias, quant, axis):
        if not self.found:
            return [self.constant(weight.astype(np.float32)), self.constant(bias.astype(np.float32))]
        others = tuple(at for at in range(weight.ndim) if at != axis)
        scales = np.maximum(np.abs(weight).max(axis=others), 1e-9) / 127
        along = [-1 if at == axis else 1 for at in range(weight.ndim)]
        levels = np.clip(np.rint(weight / scales.reshape(along)), -127, 127).astype(np.int8)
        steps = scales * quant[0]
        zeros = np.zeros(len(scales), np.int64)
        return [self.constant(levels, (scales, zeros), axis), self.constant(np.rint(bias / steps).astype(np.int32), (steps, zeros))]

    # The file.

    def type(self):
        return TYPE.INT8 if self.found else TYPE.FLOAT32

    def value(self, name, shape, quant=None):
        if self.found and quant is None:
            low, high = self.found[name]
            scale = max(high - low, 1e-6) / 255
            quant = scale, int(np.clip(round(-128 - low / scale), -128, 127))
        index = self.tensor(shape, self.type(), quant=quant if self.found else None, name=name)
        self.values[name] = (index, list(shape), quant)
        return index

    def constant(self, array, quant=None, axis=0):
        types = {np.dtype(np.float32): TYPE.FLOAT32, np.dtype(np.int32): TYPE.INT32, np.dtype(np.int8): TYPE.INT8}
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.buffers.append(buffer)
        return self.tensor(array.shape, types[array.dtype], len(self.buffers) - 1, quant, axis)

    def tensor(self, shape, kind, buffer=0, quant=None, axis=0, name=None):
        tensor = schema.TensorT()
        tensor.name = (name or f"tensor{len(self.tensors)}").encode()
        tensor.shape, tensor.type, tensor.buffer = [int(size) for size in shape], kind, buffer
        if quant is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [float(scale) for scale in np.atleast_1d(quant[0])]
            tensor.quantization.zeroPoint = [int(zero) for zero in np.atleast_1d(quant[1])]
            tensor.quantization.quantizedDimension = axis
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, kind, inputs, output, name=0, options=None):
        if kind not in self.kinds:
            self.kinds.append(kind)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = self.kinds.index(kind), inputs, [output]
        if options is not None:
            operator.builtinOptionsType, operator.builtinOptions = name, options
        self.operators.append(operator)

    def bytes(self):
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs = [self.values[self.model.input[0].name][0]]
        graph.outputs = [self.values[self.model.output[0].name][0]]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], self.buffers, []
        for kind in self.kinds:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode = kind, min(kind, 127)
            code.version = INT8_VERSIONS.get(kind, 2 if kind not in (BUILTIN.RESHAPE, BUILTIN.LOCAL_RESPONSE_NORMALIZATION) else 1) if self.found else 1
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
