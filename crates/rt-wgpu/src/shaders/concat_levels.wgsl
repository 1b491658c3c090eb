// One part of a concatenation of levels in rows of any length: an invocation looks after one word of the whole result, and
// puts those bytes into it that this part has. `at` is where the part stands in a row.
struct Params { input: u32, out: u32, count: u32, row: u32, stride: u32, function: u32, at: u32 }
@group(0) @binding(1) var<storage, read> constants: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t) * 4u;
    if (i >= p.count) {
        return;
    }
    let before = load(p.out + i / 4u);
    var levels = unpack(before);
    var has_any = false;
    for (var j = 0u; j < min(4u, p.count - i); j++) {
        // In front of the part this is huge.
        let at = (i + j) % p.stride - p.at;
        if (at < p.row) {
            var level = load_level(p.input * 4u + (i + j) / p.stride * p.row + at);
            if (p.function == 1u) {
                level = mapped(level) & 255u;
            }
            levels[j] = level;
            has_any = true;
        }
    }
    if (has_any) {
        store(p.out + i / 4u, pack(levels));
    }
}
