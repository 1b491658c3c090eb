// Levels to floats, a word of four for each invocation.
struct Params { input: u32, out: u32, count: u32, zero_point: u32, scale: f32 }
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t) * 4u;
    if (i >= p.count) {
        return;
    }
    let levels = unpack(load(p.input + i / 4u));
    for (var j = 0u; j < min(4u, p.count - i); j++) {
        store_f32(p.out + i + j, p.scale * f32(i32(levels[j]) - i32(p.zero_point)));
    }
}
