// Other levels for levels, by a table of 256 bytes; a word of four for each invocation.
struct Params { input: u32, out: u32, count: u32 }
@group(0) @binding(1) var<storage, read> constants: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t);
    if (i < p.count) {
        store(p.out + i, mapped(load(p.input + i)));
    }
}
