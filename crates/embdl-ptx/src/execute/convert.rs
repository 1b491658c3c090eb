//! Conversions between types.

use half::f16;

use super::{Block, each, row};
use crate::instruction::{Convert, Kind, Register};

impl Block<'_> {
    pub(super) fn convert(
        &mut self,
        convert: Convert,
        lanes: &[u32],
        to: Register,
        from: Register,
    ) {
        let threads = self.threads;
        let (words, longs) = self.cells();
        each(lanes, threads, |t| {
            let bits = match from {
                Register::Word(word, _) => u64::from(row(words, word.0, threads)[t].get()),
                Register::Long(long) => row(longs, long.0, threads)[t].get(),
            };
            let value = converted(convert, bits);
            match to {
                // The upper bits of a register of 16 stay zero.
                #[expect(clippy::cast_possible_truncation, reason = "what does not fit is cut off")]
                Register::Word(word, bits) => {
                    let value = if bits == 16 { value as u32 & 0xffff } else { value as u32 };
                    row(words, word.0, threads)[t].set(value);
                }
                Register::Long(long) => row(longs, long.0, threads)[t].set(value),
            }
        });
    }
}

/// A number on its way from one type to another.
enum Number {
    Whole(i128),
    Float(f32),
}

/// The bits of the result, with its sign in all bits above those of its type.
fn converted(convert: Convert, bits: u64) -> u64 {
    let number = match convert.from {
        Kind::Unsigned(width) => Number::Whole(i128::from(bits << (64 - width) >> (64 - width))),
        Kind::Signed(width) => {
            Number::Whole(i128::from((bits << (64 - width)).cast_signed() >> (64 - width)))
        }
        #[expect(clippy::cast_possible_truncation, reason = "16 bits of a register")]
        Kind::F16 => Number::Float(f16::from_bits(bits as u16).to_f32()),
        #[expect(clippy::cast_possible_truncation, reason = "32 bits of a register")]
        Kind::F32 => Number::Float(f32::from_bits(bits as u32)),
    };
    match (number, convert.to) {
        // Cut off, then zeros or the sign above.
        (Number::Whole(whole), Kind::Unsigned(width)) => {
            low_bits(whole) << (64 - width) >> (64 - width)
        }
        (Number::Whole(whole), Kind::Signed(width)) => {
            ((low_bits(whole) << (64 - width)).cast_signed() >> (64 - width)).cast_unsigned()
        }
        #[expect(clippy::cast_precision_loss, reason = "rounded to the nearest")]
        (Number::Whole(whole), Kind::F32) => u64::from((whole as f32).to_bits()),
        // What a float does not hold exactly is beyond all halves.
        #[expect(clippy::cast_precision_loss, reason = "rounded to the nearest")]
        (Number::Whole(whole), Kind::F16) => u64::from(f16::from_f32(whole as f32).to_bits()),
        (Number::Float(float), Kind::F32) => u64::from(float.to_bits()),
        (Number::Float(float), Kind::F16) => u64::from(f16::from_f32(float).to_bits()),
        // Towards zero, the nearest that there is, zero for what is no number.
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, then the bounds do")]
        (Number::Float(float), Kind::Unsigned(width)) => {
            low_bits((float as i128).clamp(0, (1 << width) - 1))
        }
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, then the bounds do")]
        (Number::Float(float), Kind::Signed(width)) => {
            let largest = (1_i128 << (width - 1)) - 1;
            low_bits((float as i128).clamp(-largest - 1, largest))
        }
    }
}

/// The lower 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn low_bits(whole: i128) -> u64 {
    whole.cast_unsigned() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: Kind, to: Kind, bits: u64) -> u64 {
        converted(Convert { from, to }, bits)
    }

    #[test]
    fn integers_are_cut_off_and_keep_their_sign() {
        assert_eq!(check(Kind::Signed(32), Kind::Signed(64), 0xffff_fffe), u64::MAX - 1);
        assert_eq!(check(Kind::Unsigned(32), Kind::Unsigned(64), 0xffff_fffe), 0xffff_fffe);
        assert_eq!(check(Kind::Signed(32), Kind::Signed(8), 0x1280), u64::MAX - 127);
        assert_eq!(check(Kind::Signed(8), Kind::Signed(32), 0x17f), 0x7f);
        assert_eq!(check(Kind::Unsigned(32), Kind::Unsigned(16), 0x12_3456), 0x3456);
    }

    #[test]
    fn floats_are_rounded_to_the_nearest_or_towards_zero() {
        let bits = |x: f32| u64::from(x.to_bits());
        assert_eq!(check(Kind::F32, Kind::Signed(32), bits(-2.9)), u64::MAX - 1);
        assert_eq!(check(Kind::F32, Kind::Signed(32), bits(3e9)), 0x7fff_ffff);
        assert_eq!(check(Kind::F32, Kind::Unsigned(8), bits(-1.0)), 0);
        assert_eq!(check(Kind::F32, Kind::Signed(32), bits(f32::NAN)), 0);
        assert_eq!(check(Kind::Unsigned(32), Kind::F32, 0xffff_ffff), bits(4_294_967_296.0));
        assert_eq!(check(Kind::Signed(16), Kind::F32, 0xffff), bits(-1.0));
        assert_eq!(check(Kind::F32, Kind::F16, bits(1.0)), 0x3c00);
        assert_eq!(check(Kind::F16, Kind::F32, 0xc000), bits(-2.0));
    }
}
