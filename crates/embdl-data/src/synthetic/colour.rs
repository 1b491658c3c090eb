//! Ten coloured shapes of the size of CIFAR's images.
//!
//! Each class has its shape and its hue over a background of dim noise: a narrow network learns it in seconds, and a
//! network that mixes up channels does not.

use super::{CLASSES, Kind, Lengths, distance, generate, parts};
use crate::random::Draws;
use crate::{Dataset, Split};

/// Its name where a name of the catalog is asked for.
pub const COLOUR_NAME: &str = "synthetic-colour";

const SIDE: usize = 32;

/// `len` images, 32x32x3, the classes in turn; the same for the same seed.
pub fn colours(len: usize, seed: u64) -> Dataset {
    generate(&COLOUR, len, seed, 2)
}

/// Three parts of coloured shapes that share no image.
///
/// # Panics
/// If no image is left to train on.
pub fn colour_split(lengths: Lengths, seed: u64) -> Split {
    parts(lengths, seed, |len, part| generate(&COLOUR, len, seed, 2 + part))
}

const COLOUR: Kind = Kind { name: COLOUR_NAME, side: SIDE, channels: 3, draw };

#[expect(clippy::cast_precision_loss, reason = "coordinates are below 32, classes below 10")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0.0..=255.0"
)]
fn draw(class: usize, draws: &mut Draws, image: &mut [u8]) {
    let centre = (SIDE - 1) as f32 / 2.0;
    let (cx, cy) = (centre + draws.range(-4.0, 4.0), centre + draws.range(-4.0, 4.0));
    let radius_px = draws.range(8.0, 11.0);
    let brightness = draws.range(140.0, 255.0);
    let noise = draws.range(0.1, 0.3);
    let colour = hue(class as f32 / CLASSES.len() as f32 + draws.range(-0.03, 0.03));
    draws.fill(image);
    for (at, pixel) in image.chunks_exact_mut(3).enumerate() {
        let (x, y) = ((at % SIDE) as f32, (at / SIDE) as f32);
        let distance_px = distance(class, (x - cx) / radius_px, (y - cy) / radius_px) * radius_px;
        // The edge ramps over one pixel.
        let cover = (0.5 - distance_px).clamp(0.0, 1.0);
        for (byte, share) in pixel.iter_mut().zip(colour) {
            let lit = brightness * share * cover + noise * f32::from(*byte);
            *byte = lit.clamp(0.0, 255.0) as u8;
        }
    }
}

/// Shares of red, green and blue of a fully saturated colour; a turn is 1.
fn hue(turn: f32) -> [f32; 3] {
    [0.0, 1.0 / 3.0, 2.0 / 3.0].map(|of_channel: f32| {
        let away = (turn - of_channel).rem_euclid(1.0);
        (2.0 - 6.0 * away.min(1.0 - away)).clamp(0.0, 1.0)
    })
}
