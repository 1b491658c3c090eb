// Weights as floats, a row of biases behind them.
@group(0) @binding(1) var<storage, read> constants: array<vec4<f32>>;

fn group_len(k: u32) -> u32 {
    return k + 1u;
}

fn four(at: u32) -> vec4<f32> {
    return constants[at];
}

fn bias_of(at: u32, column: u32) -> vec4<f32> {
    return constants[at + column];
}
