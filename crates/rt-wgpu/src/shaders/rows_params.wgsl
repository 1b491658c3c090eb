// A dense layer whose rows of weights are read once for each sample: what batches of one want. A workgroup of 64 takes 8
// rows, 8 invocations each, which then add up what they have. Where things begin in the constants follows the places.
struct Params {
    input: u32, out: u32, k: u32, n: u32,
    out_stride: u32, words: u32, bias: u32, book: u32,
    low: f32, high: f32, stage: u32, shift: u32,
    levels: u32, multipliers: u32, zero_point: u32,
}
@group(0) @binding(2) var<uniform> p: Params;
