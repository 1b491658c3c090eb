// One part of a concatenation whose rows are whole words: an invocation copies one, through a table where `function` is 1.
struct Params { input: u32, out: u32, count: u32, row: u32, stride: u32, function: u32 }
@group(0) @binding(1) var<storage, read> constants: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t);
    if (i >= p.count) {
        return;
    }
    var word = load(p.input + i);
    if (p.function == 1u) {
        word = mapped(word);
    }
    store(p.out + i / p.row * p.stride + i % p.row, word);
}
