//! Quantizing by counting thresholds, for devices whose division is not exact.

use super::Quant;

/// The key of the smallest float of each level from 1 on: what compares as floats do, as integers. A level that no float has
/// begins where the next one does; one beyond all floats is never reached.
#[must_use]
pub fn thresholds(quant: Quant) -> [i32; 255] {
    let mut level = 0;
    core::array::from_fn(|_| {
        level += 1;
        let reaches = |key: i32| quant.quantize(float_of(key)) >= level;
        // The smallest key that reaches it, from minus infinity to plus infinity.
        let (mut low, mut high) = (key_of(f32::NEG_INFINITY), key_of(f32::INFINITY));
        if !reaches(high) {
            return i32::MAX;
        }
        while low < high {
            // Rounded down, so that it is below `high`.
            let middle = low + (high.abs_diff(low) / 2).cast_signed();
            if reaches(middle) { high = middle } else { low = middle + 1 }
        }
        low
    })
}

/// A float's place in the order of all.
fn key_of(x: f32) -> i32 {
    let bits = x.to_bits().cast_signed();
    if bits < 0 { bits ^ i32::MAX } else { bits }
}

fn float_of(key: i32) -> f32 {
    let bits = if key < 0 { key ^ i32::MAX } else { key };
    f32::from_bits(bits.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_floats() {
        let floats = [f32::NEG_INFINITY, -2.5, -1e-40, -0.0, 0.0, 1e-40, 2.5, f32::INFINITY];
        for pair in floats.windows(2) {
            assert!(key_of(pair[0]) < key_of(pair[1]), "{pair:?}");
        }
        assert!(floats.iter().all(|&x| float_of(key_of(x)).to_bits() == x.to_bits()));
    }

    #[test]
    fn counting_thresholds_is_quantizing() {
        for (scale, zero_point) in [(0.037, 128), (1.0, 0), (1e-30, 255), (3e30, 7)] {
            let quant = Quant { scale, zero_point };
            let thresholds = thresholds(quant);
            assert!(thresholds.is_sorted());
            for bits in (0..u32::MAX).step_by(99_991) {
                let x = f32::from_bits(bits);
                if !x.is_nan() {
                    let level = thresholds.partition_point(|&least| key_of(x) >= least);
                    assert_eq!(level, usize::from(quant.quantize(x)), "{x:e} by {quant:?}");
                }
            }
        }
    }
}
