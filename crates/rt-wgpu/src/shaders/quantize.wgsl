// Floats to levels. A level is the number of thresholds that the float reaches: the host found the smallest float of each
// level with embdl_core::quant, so that no rounding of a division counts. Floats are compared by their bits, in order.
struct Params { input: u32, out: u32, count: u32, zero_point: u32 }
@group(0) @binding(1) var<storage, read> constants: array<i32>;
@group(0) @binding(2) var<uniform> p: Params;

fn quantized(bits: u32) -> u32 {
    let key = bitcast<i32>(select(bits, bits ^ 0x7fffffffu, bits >= 0x80000000u));
    var level = 0u;
    for (var bit = 0u; bit < 8u; bit++) {
        let step = 128u >> bit;
        level += select(0u, step, key >= constants[level + step - 1u]);
    }
    return select(level, p.zero_point, (bits & 0x7fffffffu) > 0x7f800000u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t) * 4u;
    if (i >= p.count) {
        return;
    }
    var levels: vec4<u32>;
    for (var j = 0u; j < min(4u, p.count - i); j++) {
        levels[j] = quantized(load(p.input + i + j));
    }
    store(p.out + i / 4u, pack(levels));
}
