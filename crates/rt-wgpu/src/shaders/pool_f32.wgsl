// Largest element (`function` 0), mean of those inside (1), mean with pads as zeros (2). An invocation makes one element.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t);
    if (i >= p.count) {
        return;
    }
    let pixel = i / p.c;
    let y0 = pixel / p.ow % p.oh * p.stride_y;
    let x0 = pixel % p.ow * p.stride_x;
    let rows = taps(y0, p.dilation_y, p.pad_y, p.ih, p.kh);
    let columns = taps(x0, p.dilation_x, p.pad_x, p.iw, p.kw);
    let sample = p.input + pixel / (p.ow * p.oh) * (p.ih * p.iw * p.c) + i % p.c;
    var largest = p.lowest;
    var sum = 0.0;
    for (var ky = rows.x; ky < rows.y; ky++) {
        let line = (y0 + ky * p.dilation_y - p.pad_y) * p.iw;
        for (var kx = columns.x; kx < columns.y; kx++) {
            let x = load_f32(sample + (line + x0 + kx * p.dilation_x - p.pad_x) * p.c);
            largest = select(largest, x, x > largest);
            sum += x;
        }
    }
    if (p.function == 0u) {
        store_f32(p.out + i, largest);
        return;
    }
    var divisor = (rows.y - rows.x) * (columns.y - columns.x);
    if (p.function == 2u) {
        // What hangs over the pads never counts: an axis from its first pad to its last.
        let all_rows = taps(y0, p.dilation_y, 0u, p.pad_y + p.ih + p.pad_bottom, p.kh);
        let all_columns = taps(x0, p.dilation_x, 0u, p.pad_x + p.iw + p.pad_right, p.kw);
        divisor = (all_rows.y - all_rows.x) * (all_columns.y - all_columns.x);
    }
    store_f32(p.out + i, sum / f32(divisor));
}
