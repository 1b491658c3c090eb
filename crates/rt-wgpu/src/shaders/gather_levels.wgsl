// Moves levels: an invocation makes a word of four, each from where `source` says, or the border.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t) * 4u;
    if (i >= p.count) {
        return;
    }
    var levels: vec4<u32>;
    for (var j = 0u; j < min(4u, p.count - i); j++) {
        let place = source(i + j);
        levels[j] = p.border;
        if (place != 0xffffffffu) {
            levels[j] = load_level(p.input * 4u + place);
        }
    }
    store(p.out + i / 4u, pack(levels));
}
