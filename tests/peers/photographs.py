"""Crops of the natural photographs that scikit-image carries, written as PNG files that every peer reads alike.

The photographs of the two folders are disjoint: what a model is calibrated on is not what it is evaluated on. The same
seed gives the same files.

    python photographs.py OUT        writes OUT/calibration/*.png and OUT/evaluation/*.png, 256 x 256 RGB

ImageNet's evaluation takes the middle 224 x 224 of them.
"""

import argparse
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageEnhance

SIDE = 256
CALIBRATION = [
    "motorcycle_left.png", "motorcycle_right.png", "astronaut.png", "hubble_deep_field.jpg", "retina.jpg", "ihc.png",
    "brick.png", "grass.png", "gravel.png", "moon.png",
]
EVALUATION = ["chelsea.png", "coffee.png", "rocket.jpg", "camera.png", "coins.png"]


def photograph(name):
    """The photograph, RGB, transparent parts white."""
    image = Image.open(Path(skimage.__file__).parent / "data" / name)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def crop(image, rng):
    """A square of 45 to 100 % of the shorter side, turned, mirrored, brightened, of another contrast."""
    width, height = image.size
    side = int(min(width, height) * rng.uniform(0.45, 1.0))
    left, top = rng.integers(0, width - side + 1), rng.integers(0, height - side + 1)
    turned = image.rotate(rng.uniform(-10, 10), Image.Resampling.BILINEAR, center=(left + side / 2, top + side / 2))
    square = turned.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    square = ImageEnhance.Brightness(square).enhance(rng.uniform(0.75, 1.25))
    return ImageEnhance.Contrast(square).enhance(rng.uniform(0.8, 1.2))


def centre(image):
    """The middle, as ImageNet is evaluated."""
    scale = SIDE / min(image.size)
    resized = image.resize([round(edge * scale) for edge in image.size], Image.Resampling.BILINEAR)
    left, top = [(edge - SIDE) // 2 for edge in resized.size]
    return resized.crop((left, top, left + SIDE, top + SIDE))


def write(names, count, seed, folder):
    """`count` crops of each photograph, the first of which is the centre crop."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        image, rng = photograph(name), np.random.default_rng([seed, number])
        for index in range(count):
            square = centre(image) if index == 0 else crop(image, rng)
            square.save(folder / f"{Path(name).stem}-{index:03}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calibration", type=int, default=5, help="crops of each photograph (default 5)")
    parser.add_argument("--evaluation", type=int, default=48, help="crops of each photograph (default 48)")
    args = parser.parse_args()
    write(CALIBRATION, args.calibration, args.seed, args.out / "calibration")
    write(EVALUATION, args.evaluation, args.seed + 1, args.out / "evaluation")


if __name__ == "__main__":
    main()
