// Interpolates floats, along rows first: an invocation makes one.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t);
    if (i >= p.count) {
        return;
    }
    let row = row_of(i);
    let column = column_of(i);
    let x = bitcast<f32>(column.z);
    let upper = load_f32(p.input + neighbour(i, row.x, column.x)) * (1.0 - x)
        + load_f32(p.input + neighbour(i, row.x, column.y)) * x;
    let lower = load_f32(p.input + neighbour(i, row.y, column.x)) * (1.0 - x)
        + load_f32(p.input + neighbour(i, row.y, column.y)) * x;
    let y = bitcast<f32>(row.z);
    store_f32(p.out + i, upper * (1.0 - y) + lower * y);
}
