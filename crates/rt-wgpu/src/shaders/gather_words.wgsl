// Moves words: an invocation makes one, from where `source` says, or the border.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t);
    if (i >= p.count) {
        return;
    }
    let place = source(i);
    var word = p.border;
    if (place != 0xffffffffu) {
        word = load(p.input + place);
    }
    store(p.out + i, word);
}
