//! From a picture to a network's input, as the file records it.

use embdl_core::metadata::{Channels, Fit, Preprocess};
use embdl_core::quant::Quant;

use crate::image::{Image, ImageError, Rect};

/// The picture at the input's size: `height * width * channels` bytes, NHWC, channels in the input's order.
///
/// # Errors
/// If the picture is only to be cropped and is smaller than the input.
pub fn prepare(
    preprocess: &Preprocess,
    image: &Image,
    [height, width]: [usize; 2],
) -> Result<Vec<u8>, ImageError> {
    let scaled = match preprocess.fit {
        Fit::Crop => [image.width(), image.height()],
        Fit::ShorterSide(side) => shorter_side(image, side as usize),
        Fit::Stretch => [width, height],
    };
    let crop =
        Rect { left: middle(scaled[0], width), top: middle(scaled[1], height), width, height };
    let part = image.resize(scaled, crop, preprocess.filter)?;
    Ok(channels(preprocess.channels, part.pixels()))
}

/// Bytes that [`prepare`] gave as the reals that the network was trained on.
///
/// # Panics
/// If `reals` is not as long as `bytes`, or mean and deviation are not one for each channel.
pub fn fill_reals(preprocess: &Preprocess, bytes: &[u8], reals: &mut [f32]) {
    assert_eq!(bytes.len(), reals.len(), "one real for each byte");
    let tables = tables(preprocess);
    for (bytes, reals) in bytes.chunks(tables.len()).zip(reals.chunks_mut(tables.len())) {
        for ((table, &byte), real) in tables.iter().zip(bytes).zip(reals) {
            *real = table[usize::from(byte)];
        }
    }
}

/// Bytes that [`prepare`] gave as the levels of a quantized input.
///
/// # Panics
/// As [`fill_reals`].
pub fn fill_levels(preprocess: &Preprocess, quant: Quant, bytes: &[u8], levels: &mut [u8]) {
    assert_eq!(bytes.len(), levels.len(), "one level for each byte");
    let quantize = |table: [f32; 256]| table.map(|real| quant.quantize(real));
    let tables: Vec<[u8; 256]> = tables(preprocess).into_iter().map(quantize).collect();
    for (bytes, levels) in bytes.chunks(tables.len()).zip(levels.chunks_mut(tables.len())) {
        for ((table, &byte), level) in tables.iter().zip(bytes).zip(levels) {
            *level = table[usize::from(byte)];
        }
    }
}

/// For each channel the real that each byte becomes.
///
/// # Panics
/// If mean and deviation are not one for each channel.
#[must_use]
pub fn tables(preprocess: &Preprocess) -> Vec<[f32; 256]> {
    let count = preprocess.channels.count();
    assert!(
        preprocess.mean.len() == count && preprocess.std.len() == count,
        "one mean and deviation for each channel"
    );
    let real = |byte: usize, channel: usize| {
        #[expect(clippy::cast_precision_loss, reason = "a byte")]
        let value = byte as f32 * preprocess.scale;
        (value - preprocess.mean[channel]) / preprocess.std[channel]
    };
    (0..count).map(|channel| core::array::from_fn(|byte| real(byte, channel))).collect()
}

/// Width and height with the shorter one `side`; the longer one is rounded down, as torchvision does.
fn shorter_side(image: &Image, side: usize) -> [usize; 2] {
    let [width, height] = [image.width(), image.height()];
    if width <= height { [side, side * height / width] } else { [side * width / height, side] }
}

/// Where a crop in the middle starts: half of what is left, of two middles the even one, as torchvision does. Zero
/// where nothing is left.
const fn middle(all: usize, crop: usize) -> usize {
    let left = all.saturating_sub(crop);
    let half = left / 2;
    if left % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}

fn channels(order: Channels, rgb: &[u8]) -> Vec<u8> {
    match order {
        Channels::Rgb => rgb.to_vec(),
        Channels::Bgr => {
            rgb.chunks_exact(3).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect()
        }
        Channels::Gray => {
            rgb.chunks_exact(3).map(|pixel| luma([pixel[0], pixel[1], pixel[2]])).collect()
        }
    }
}

/// Luma in 16-bit fixed point. Source: ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B.
#[expect(clippy::cast_possible_truncation, reason = "the weights sum to 2^16")]
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
    ((sum + (1 << 15)) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::middle;

    #[test]
    fn the_middle_is_the_even_one_of_two() {
        let starts: Vec<usize> = (224..234).map(|all| middle(all, 224)).collect();
        assert_eq!(starts, [0, 0, 1, 2, 2, 2, 3, 4, 4, 4]);
        assert_eq!(middle(10, 20), 0);
    }
}
