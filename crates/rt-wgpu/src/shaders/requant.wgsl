// The rounding of embdl_core::quant in 32-bit halves: round(accumulator * multiplier / 2^shift), ties up.

fn requantize(accumulator: i32, multiplier: i32, shift: u32) -> i32 {
    // The 64-bit product from four products of 16 bits, as if unsigned, then put right for negative factors.
    let a = bitcast<u32>(accumulator);
    let b = bitcast<u32>(multiplier);
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a & 0xffffu) * (b >> 16u) + (low >> 16u);
    let other = (a >> 16u) * (b & 0xffffu) + (middle & 0xffffu);
    var lo = (other << 16u) | (low & 0xffffu);
    var hi = (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u);
    hi -= select(0u, b, accumulator < 0) + select(0u, a, multiplier < 0);
    // Half of the last place.
    if (shift > 32u) {
        hi += 1u << (shift - 33u);
    } else {
        let rounded = lo + (1u << (shift - 1u));
        hi += select(0u, 1u, rounded < lo);
        lo = rounded;
    }
    let sign = bitcast<i32>(hi);
    if (shift >= 32u) {
        return sign >> (shift - 32u);
    }
    // What does not fit 32 bits is beyond every level.
    let result = bitcast<i32>((lo >> shift) | (hi << (32u - shift)));
    let rest = sign >> shift;
    return select(select(2147483647, bitcast<i32>(0x80000000u), rest < 0), result, rest == result >> 31u);
}

// The level of an accumulator. `levels` is the zero point, the smallest and the largest level, a byte each.
fn level(accumulator: i32, multiplier: i32, shift: u32, levels: u32) -> u32 {
    let steps = clamp(requantize(accumulator, multiplier, shift), -1024, 1024);
    let zero_point = i32(levels & 255u);
    return u32(clamp(steps + zero_point, i32((levels >> 8u) & 255u), i32((levels >> 16u) & 255u)));
}
