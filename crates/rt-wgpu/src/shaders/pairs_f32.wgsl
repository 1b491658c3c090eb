// Sums, products and slopes of floats. Each sample of `sample` elements of the first input meets `row` elements of the
// second one again and again; slopes are the constants.
struct Params {
    lhs: u32, rhs: u32, out: u32, count: u32,
    sample: u32, row: u32, function: u32, low: f32, high: f32,
}
@group(0) @binding(1) var<storage, read> constants: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t);
    if (i >= p.count) {
        return;
    }
    let x = load_f32(p.lhs + i);
    var result: f32;
    if (p.function == 2u) {
        result = select(x, x * constants[i % p.row], x < 0.0);
    } else {
        let y = load_f32(p.rhs + i / p.sample * p.row + i % p.sample % p.row);
        result = select(bound(x + y, p.low, p.high), x * y, p.function == 1u);
    }
    store_f32(p.out + i, result);
}
