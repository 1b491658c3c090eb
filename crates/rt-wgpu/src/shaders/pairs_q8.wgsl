// The same for levels, a word of four for each invocation.
struct Params {
    lhs: u32, rhs: u32, out: u32, count: u32,
    sample: u32, row: u32, function: u32, shift: u32,
    lhs_multiplier: i32, rhs_multiplier: i32, lhs_zero: i32, rhs_zero: i32,
    levels: u32,
}
@group(0) @binding(1) var<storage, read> constants: array<i32>;
@group(0) @binding(2) var<uniform> p: Params;

fn function(i: u32, lhs: u32) -> u32 {
    let x = i32(lhs) - p.lhs_zero;
    if (p.function == 2u) {
        return level(x, select(p.lhs_multiplier, constants[i % p.row], x < 0), p.shift, p.levels);
    }
    let y = i32(load_level(p.rhs * 4u + i / p.sample * p.row + i % p.sample % p.row)) - p.rhs_zero;
    if (p.function == 1u) {
        return level(x * y, p.lhs_multiplier, p.shift, p.levels);
    }
    // Both products fit 31 bits together.
    let sum = x * p.lhs_multiplier + y * p.rhs_multiplier;
    let steps = ((sum + (1 << (p.shift - 1u))) >> p.shift) + i32(p.levels & 255u);
    return u32(clamp(steps, i32((p.levels >> 8u) & 255u), i32((p.levels >> 16u) & 255u)));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t) * 4u;
    if (i >= p.count) {
        return;
    }
    let lhs = unpack(load(p.lhs + i / 4u));
    var results: vec4<u32>;
    for (var j = 0u; j < min(4u, p.count - i); j++) {
        results[j] = function(i + j, lhs[j]);
    }
    store(p.out + i / 4u, pack(results));
}
