// Weights in 16 bits, four in two words; biases are floats and take two rows. Products are of floats.
@group(0) @binding(1) var<storage, read> constants: array<vec2<u32>>;

fn group_len(k: u32) -> u32 {
    return k + 2u;
}

fn four(at: u32) -> vec4<f32> {
    let halves = constants[at];
    return vec4<f32>(unpack2x16float(halves.x), unpack2x16float(halves.y));
}

fn bias_of(at: u32, column: u32) -> vec4<f32> {
    let low = bitcast<vec2<f32>>(constants[at + column * 2u]);
    return vec4<f32>(low, bitcast<vec2<f32>>(constants[at + column * 2u + 1u]));
}
