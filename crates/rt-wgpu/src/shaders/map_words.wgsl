// A function of each word by itself: floats to floats, accumulators to accumulators or floats.
struct Params { input: u32, out: u32, count: u32, function: u32, a: f32, b: f32 }
@group(0) @binding(2) var<uniform> p: Params;

fn function(word: u32) -> u32 {
    let x = bitcast<f32>(word);
    switch (p.function) {
        case 0u: { return bitcast<u32>(bound(x, p.a, p.b)); }
        case 1u: { return bitcast<u32>(sigmoid(x)); }
        case 2u: { return bitcast<u32>(bound(p.a * x + p.b, 0.0, 1.0)); }
        case 3u: { return bitcast<u32>(x * bound(x / 6.0 + 0.5, 0.0, 1.0)); }
        case 4u: { return bitcast<u32>(x * sigmoid(x)); }
        case 5u: { return bitcast<u32>(hyperbolic_tangent(x)); }
        case 6u: { return bitcast<u32>(select(x, p.a * x, x < 0.0)); }
        case 7u: {
            let near = exp_m1_near_zero(x);
            let below = select(exponential(x) - 1.0, near, x > -0.34);
            return bitcast<u32>(select(x, p.a * below, x < 0.0));
        }
        case 8u: { return bitcast<u32>(max(bitcast<i32>(word), 0)); }
        default: { return bitcast<u32>(f32(bitcast<i32>(word)) * p.a); }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t);
    if (i < p.count) {
        store(p.out + i, function(load(p.input + i)));
    }
}
