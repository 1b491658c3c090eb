// Local response normalization: an invocation makes one element.
struct Params {
    input: u32, out: u32, count: u32, c: u32,
    before: u32, after: u32, factor: f32, bias: f32,
    exponent: f32,
}
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t);
    if (i >= p.count) {
        return;
    }
    let c = i % p.c;
    let row = p.input + i - c;
    var squares = 0.0;
    for (var at = max(c, p.before) - p.before; at < min(p.c, c + p.after + 1u); at++) {
        let x = load_f32(row + at);
        squares += x * x;
    }
    let base = p.bias + p.factor * squares;
    var divisor: f32;
    if (p.exponent == 0.75) {
        // AlexNet's, which roots are exact for.
        divisor = sqrt(base) * sqrt(sqrt(base));
    } else {
        divisor = pow(base, p.exponent);
    }
    store_f32(p.out + i, load_f32(row + c) / divisor);
}
