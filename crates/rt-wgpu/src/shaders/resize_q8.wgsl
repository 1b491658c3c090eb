// Interpolates levels: exact sums of four products, rounded once, half up. An invocation makes a word of four.
fn interpolated(i: u32) -> u32 {
    let row = row_of(i);
    let column = column_of(i);
    let low = 4096u - column.w;
    let upper = 4096u - row.w;
    let at = p.input * 4u;
    let sum = load_level(at + neighbour(i, row.x, column.x)) * (upper * low)
        + load_level(at + neighbour(i, row.x, column.y)) * (upper * column.w)
        + load_level(at + neighbour(i, row.y, column.x)) * (row.w * low)
        + load_level(at + neighbour(i, row.y, column.y)) * (row.w * column.w);
    return (sum + (1u << 23u)) >> 24u;
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
        levels[j] = interpolated(i + j);
    }
    store(p.out + i / 4u, pack(levels));
}
