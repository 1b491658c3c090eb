// Softmax: a workgroup takes a row.
struct Params { input: u32, out: u32, rows: u32, features: u32, lowest: f32 }
@group(0) @binding(2) var<uniform> p: Params;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    // Workgroups that are too many do the last row once more.
    let row = min(wid.y * count.x + wid.x, p.rows - 1u) * p.features;
    var largest = p.lowest;
    for (var i = t; i < p.features; i += 64u) {
        let x = load_f32(p.input + row + i);
        largest = select(largest, x, x > largest);
    }
    partial[t] = largest;
    workgroupBarrier();
    for (var i = 0u; i < 64u; i++) {
        largest = max(largest, partial[i]);
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = t; i < p.features; i += 64u) {
        let e = exponential(load_f32(p.input + row + i) - largest);
        store_f32(p.out + row + i, e);
        sum += e;
    }
    partial[t] = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < 64u; i++) {
        sum += partial[i];
    }
    for (var i = t; i < p.features; i += 64u) {
        store_f32(p.out + row + i, load_f32(p.out + row + i) / sum);
    }
}
