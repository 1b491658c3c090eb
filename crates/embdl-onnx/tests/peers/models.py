#!/usr/bin/env python3
"""Writes models as PyTorch's exporters do, with an input and the outputs that ONNX Runtime computes: models.py FOLDER.

Needs torch, torchvision, onnx, onnxscript, onnxruntime. Weights are random; statistics of batch normalization are moved
away from 0 and 1, so that folding them wrongly shows. FOLDER gets NAME.onnx (and files beside it), NAME.json with
dimensions, NAME.inI and NAME.outI with the values as 32-bit floats in ONNX's order. What an exporter cannot write is said.
"""
import importlib.metadata
import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torchvision.models as zoo
from torch import nn

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(sys.argv[1])
WANTED = sys.argv[2:]


class Shapes(nn.Module):
    """What people write by hand: views, permutations, arithmetic of shapes, and constants."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 6 * 6, 16)
        self.slope = nn.PReLU(16)
        self.last = nn.Linear(16, 5)

    def forward(self, x):
        x = (x - 0.45) / 0.225
        x = self.norm(torch.relu(self.conv(x)))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = nn.functional.adaptive_avg_pool2d(x, (6, 6))
        x = x.permute(0, 2, 3, 1).flatten(1)
        return torch.softmax(self.last(self.slope(self.fc(x))), dim=1)


class Activations(nn.Module):
    """Every activation, and squeeze-and-excitation by hand."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 12, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        kinds = [nn.Hardswish(), nn.SiLU(), nn.LeakyReLU(0.1), nn.ELU(), nn.Tanh(), nn.Hardsigmoid(), nn.Sigmoid(), nn.ReLU6()]
        self.layers = nn.ModuleList(nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12), kind) for kind in kinds)
        self.squeeze = nn.Conv2d(12, 4, 1)
        self.excite = nn.Conv2d(4, 12, 1)
        self.pad = nn.ZeroPad2d((1, 2, 0, 1))
        self.last = nn.Conv2d(12, 6, 3, stride=2)

    def forward(self, x):
        x = self.norm(self.first(x))
        for layer in self.layers:
            x = layer(x) + x
            x = x * (torch.clamp(x + 3, 0, 6) / 6)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        x = self.last(self.pad(torch.relu(x * gate)))
        return nn.functional.max_pool2d(x, 3, 2, ceil_mode=True).amax((2, 3))


MODELS = {
    "shapes": (Shapes, 12),
    "activations": (Activations, 17),
    "alexnet": (zoo.alexnet, 224),
    "vgg11": (zoo.vgg11_bn, 224),
    "mobilenet_v2": (zoo.mobilenet_v2, 96),
    "mobilenet_v3_small": (zoo.mobilenet_v3_small, 96),
    "vgg16": (zoo.vgg16, 224),
    "squeezenet1_0": (zoo.squeezenet1_0, 96),
    "squeezenet1_1": (zoo.squeezenet1_1, 96),
    "resnet18": (zoo.resnet18, 64),
    "shufflenet_v2_x0_5": (zoo.shufflenet_v2_x0_5, 64),
    "mnasnet0_5": (zoo.mnasnet0_5, 64),
    "densenet121": (zoo.densenet121, 64),
    "efficientnet_b0": (zoo.efficientnet_b0, 64),
}


def shaken(model):
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def write(name, model, size, dynamo):
    full = f"{name}.{'dynamo' if dynamo else 'script'}"
    path = FOLDER / f"{full}.onnx"
    x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(9))
    try:
        if dynamo:
            torch.onnx.export(model, (x,), str(path), dynamo=True, verbose=False)
        else:
            axes = {"input": {0: "batch"}, "output": {0: "batch"}}
            names = {"input_names": ["input"], "output_names": ["output"], "dynamic_axes": axes}
            torch.onnx.export(model, (x,), str(path), dynamo=False, opset_version=17, **names)
    except Exception as error:
        print(f"{full}: cannot be exported: {type(error).__name__}: {str(error)[:120]}")
        return
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    results = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    x.numpy().astype(np.float32).tofile(FOLDER / f"{full}.in0")
    for at, result in enumerate(results):
        result.astype(np.float32).tofile(FOLDER / f"{full}.out{at}")
    record = {"inputs": [list(x.shape)], "outputs": [list(result.shape) for result in results]}
    (FOLDER / f"{full}.json").write_text(json.dumps(record))
    opset = next(entry.version for entry in onnx.load(path, load_external_data=False).opset_import if entry.domain == "")
    print(f"{full}: written, opset {opset}", flush=True)


FOLDER.mkdir(parents=True, exist_ok=True)
for package in ["torch", "torchvision", "onnxscript", "onnx", "onnxruntime"]:
    print(package, importlib.metadata.version(package))
for name, (build, size) in MODELS.items():
    if WANTED and name not in WANTED:
        continue
    torch.manual_seed(1)
    model = shaken(build())
    for dynamo in (False, True):
        write(name, model, size, dynamo)
