"""Writes expected.json with PyTorch: python generate.py FOLDER, the one that `cargo xtask setup` names.

Needs torch, torchvision, pillow. For each picture: the five largest of the 1000 logits, and every 40th.
"""

import json
import sys
from pathlib import Path

import torch
from PIL import Image
from torchvision import models, transforms

folder = Path(sys.argv[1])
net = models.mobilenet_v2(weights=None)
net.load_state_dict(torch.load(folder / "mobilenet_v2-b0353104.pth"))
net.eval()
prepare = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)
pictures = {}
for path in sorted([*folder.glob("*.png"), *folder.glob("*.jpg")]):
    with torch.no_grad():
        logits = net(prepare(Image.open(path).convert("RGB"))[None])[0]
    classes = sorted({*logits.topk(5).indices.tolist(), *range(0, 1000, 40)})
    pictures[path.name] = {
        "top": logits.argmax().item(),
        "logits": {index: round(logits[index].item(), 5) for index in classes},
    }
target = Path(__file__).with_name("expected.json")
lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pictures.items()]
target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
