//! Ten rendered shapes, grey or coloured, so that tests and first steps need no files.
//!
//! Each image has one shape of random place, size and brightness over noise. A small network learns it in an epoch or
//! two; it says nothing about accuracy on real images.
//!
//! ```
//! let shapes = embdl_data::synthetic::shapes(20, 7);
//! assert_eq!(shapes.image_shape(), [28, 28, 1]);
//! assert_eq!(shapes.class_histogram(), [2; 10]);
//! ```

mod colour;

pub use colour::{COLOUR_NAME, colour_split, colours};

use crate::random::{Draws, Purpose};
use crate::{Dataset, DatasetParts, Normalization, Split, TestSet};

/// Its name where a name of the catalog is asked for.
pub const NAME: &str = "synthetic";

/// Names of the data sets that need no files.
pub const NAMES: [&str; 2] = [NAME, COLOUR_NAME];

const SIDE: usize = 28;
const CLASSES: [&str; 10] = [
    "disc",
    "ring",
    "square",
    "frame",
    "triangle",
    "plus",
    "cross",
    "horizontal bar",
    "vertical bar",
    "two dots",
];

/// How many images each part gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// For training; not 0.
    pub train: usize,
    /// For validation.
    pub validation: usize,
    /// For the test.
    pub test: usize,
}

/// `len` images, 28x28x1, the classes in turn; the same for the same seed.
pub fn shapes(len: usize, seed: u64) -> Dataset {
    generate(&GREY, len, seed, 0)
}

/// Three parts that share no image.
///
/// # Panics
/// If no image is left to train on.
pub fn split(lengths: Lengths, seed: u64) -> Split {
    parts(lengths, seed, |len, part| generate(&GREY, len, seed, part))
}

/// Training images from part 0, of which some are for validation, test images from part 1.
fn parts(lengths: Lengths, seed: u64, generate: impl Fn(usize, u64) -> Dataset) -> Split {
    assert!(lengths.train > 0, "no image to train on");
    let training = generate(lengths.train + lengths.validation, 0);
    let test = TestSet::new(generate(lengths.test, 1));
    Split::from_training(&training, test, lengths.validation, seed)
        .expect("both parts are of one kind and an image is left to train on")
}

/// What tells one kind of generated images from another.
struct Kind {
    /// Name of the data set.
    name: &'static str,
    /// Height and width.
    side: usize,
    channels: usize,
    /// Draws a shape of the class into an image of zeros.
    draw: fn(usize, &mut Draws, &mut [u8]),
}

const GREY: Kind = Kind { name: NAME, side: SIDE, channels: 1, draw };

/// Images of all classes in turn.
fn generate(kind: &Kind, len: usize, seed: u64, part: u64) -> Dataset {
    let image_len = kind.side * kind.side * kind.channels;
    let mut images = vec![0; len * image_len];
    let mut labels = Vec::with_capacity(len);
    for (index, image) in images.chunks_exact_mut(image_len).enumerate() {
        let class = index % CLASSES.len();
        let mut draws = Draws::new(Purpose::Synthesize, seed, part, index as u64);
        (kind.draw)(class, &mut draws, image);
        labels.push(u8::try_from(class).expect("ten classes"));
    }
    Dataset::new(DatasetParts {
        name: kind.name.to_owned(),
        images,
        labels,
        height: kind.side,
        width: kind.side,
        channels: kind.channels,
        classes: CLASSES.map(str::to_owned).to_vec(),
        normalization: Normalization::new(48, 0.25).expect("a positive deviation"),
    })
    .expect("generated to fit")
}

#[expect(clippy::cast_precision_loss, reason = "coordinates are below 28")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0.0..=255.0"
)]
fn draw(class: usize, draws: &mut Draws, image: &mut [u8]) {
    let centre = (SIDE - 1) as f32 / 2.0;
    let (cx, cy) = (centre + draws.range(-3.0, 3.0), centre + draws.range(-3.0, 3.0));
    let radius_px = draws.range(7.0, 10.0);
    let brightness = draws.range(140.0, 255.0);
    let noise = draws.range(0.0, 0.2);
    draws.fill(image);
    for (at, pixel) in image.iter_mut().enumerate() {
        let (x, y) = ((at % SIDE) as f32, (at / SIDE) as f32);
        let distance_px = distance(class, (x - cx) / radius_px, (y - cy) / radius_px) * radius_px;
        // The edge ramps over one pixel.
        let cover = (0.5 - distance_px).clamp(0.0, 1.0);
        *pixel = (brightness * cover + noise * f32::from(*pixel)).clamp(0.0, 255.0) as u8;
    }
}

/// Distance to the edge of the shape of unit size, below 0 inside; exact near straight edges, which is where it counts.
fn distance(class: usize, x: f32, y: f32) -> f32 {
    let (ax, ay) = (x.abs(), y.abs());
    let round = (x * x + y * y).sqrt();
    let square = ax.max(ay);
    match class {
        0 => round - 0.9,
        1 => (round - 0.75).abs() - 0.2,
        2 => square - 0.8,
        3 => (square - 0.7).abs() - 0.18,
        // Apex at (0, -0.9), base at y = 0.7 with half width 0.9.
        4 => (y - 0.7).max((ax - 0.5625 * (y + 0.9)) * 0.872),
        5 => plus(ax, ay),
        6 => plus((x + y).abs() * 0.707, (x - y).abs() * 0.707),
        7 => (ay - 0.28).max(ax - 1.0),
        8 => (ax - 0.28).max(ay - 1.0),
        _ => ((ax - 0.55) * (ax - 0.55) + y * y).sqrt() - 0.38,
    }
}

fn plus(ax: f32, ay: f32) -> f32 {
    (ax - 0.22).max(ay - 0.95).min((ay - 0.22).max(ax - 0.95))
}
