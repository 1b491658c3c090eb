//! Winograd F(4x4, 3x3) on integers, exact: the arithmetic that the runtimes share.
//!
//! The transforms are those of Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks", for the points
//! 0, 1, -1, 2, -2. `B` is integer. The rows of `G` are scaled to integers: (6, 0, 0), (1, 1, 1), (1, -1, 1), (1, 2, 4),
//! (1, -2, 4), (0, 0, 6) are 24, -6, -6, 24, 24 and 6 times it, and what they are too large by moves into `A`:
//!
//! ```text
//! 24 y0 = m0 - 4 (m1 + m2) + (m3 + m4)        6 y2 = (m3 + m4) - (m1 + m2)
//! 12 y1 = 2 (m2 - m1) + (m3 - m4)             6 y3 = (m2 - m1) + 2 (m3 - m4) + m5
//! ```
//!
//! Why that is exact:
//! - `V = B' d B` fits 16 bits: absolute values of a row of `B` sum to 10 at most, so those of both directions to 100, and
//!   100 * 255 = 25,500. `U = G g G'` fits: 7 * 7 * 128 = 6,272.
//! - Everything after `V` and `U` is i32 arithmetic modulo 2^32: products of two words fit i32, and sums, doubling and
//!   differences are the same modulo 2^32 whatever their order.
//! - So the result of the transforms is `9 * 2^s * t` modulo 2^32, where t is the convolution's accumulator and s is 2 to
//!   6, by the place in the tile. 9 has an inverse modulo 2^32; multiplied by it, `2^s * t` modulo 2^32 is left. That is
//!   `2^s * t` as a signed number if `|t| < 2^25`, and an arithmetic shift gives t.
//! - `t = sum of x * w` with levels 0 to 255 (zero points are folded into the bias) is below 2^25 if 255 times the sum of
//!   the positive weights is, and so for the negative ones. [`fits`] says so; 4608 weights may have a mean of 57 on each
//!   side. Layers beyond run as matrix products.
//!
//! Windows larger than 3x3 are cut into blocks of 3x3 taps, filled up with zeros: their products add up before the
//! results are transformed, as if there were more input channels. 5x5 takes 4 * 36 products for 16 results instead of 400.

/// Products of a tile.
pub const PLACES: usize = 36;
/// Inverse of 9 modulo 2^32.
pub const INVERSE_OF_9: i32 = 0x38e3_8e39;
/// Powers of two in the denominators of a row or column of results.
pub const SHIFTS: [i32; 4] = [3, 2, 1, 1];

/// Whether accumulators of `weights` times levels, with up to `more` added to them, stay below 2^25.
#[must_use]
pub fn fits(weights: &[i8], more: u32) -> bool {
    let (mut positive, mut negative) = (0_u64, 0_u64);
    for &w in weights {
        *(if w > 0 { &mut positive } else { &mut negative }) += u64::from(w.unsigned_abs());
    }
    positive.max(negative) * 255 + u64::from(more) < 1 << 25
}

/// `G g G'` by the scaled rows: the weights of the 36 places.
#[must_use]
pub fn transform_weights(g: [[i32; 3]; 3]) -> [[i32; 6]; 6] {
    let along = |[a, b, c]: [i32; 3]| {
        let (ends, wide) = (a + c, a + 4 * c);
        [6 * a, ends + b, ends - b, wide + 2 * b, wide - 2 * b, 6 * c]
    };
    let columns = [0, 1, 2].map(|x| along([g[0][x], g[1][x], g[2][x]]));
    [0, 1, 2, 3, 4, 5].map(|y| along([columns[0][y], columns[1][y], columns[2][y]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transformed_weights_fit_words() {
        for signs in 0..512_u32 {
            let sign = |at: u32| if signs >> at & 1 == 1 { -128 } else { 127 };
            let g = [0, 1, 2].map(|y| [0, 1, 2].map(|x| sign(y * 3 + x)));
            let largest = transform_weights(g).as_flattened().iter().map(|w| w.abs()).max();
            assert!(largest.is_some_and(|largest| largest <= 6272), "{largest:?}");
        }
    }

    #[test]
    fn nine_has_its_inverse() {
        assert_eq!(INVERSE_OF_9.wrapping_mul(9), 1);
    }

    #[test]
    fn accumulators_fit_below_2_to_25() {
        let weights = [127; 1036];
        assert!(fits(&weights, 3_571) && !fits(&weights, 3_572));
        assert!(fits(&[-128; 1028], 0) && !fits(&[-128; 1029], 0));
    }
}
