// Largest level (`function` 0), then by a table (1), or the mean (2): constants are the table, or multiplier and shift for
// each position of the result. An invocation makes a word of four levels.
@group(0) @binding(1) var<storage, read> constants: array<u32>;

// The window of `width` channels from channel `c` of a pixel on: largest levels, or sums of differences from the zero point.
fn window(pixel: u32, c: u32) -> vec4<i32> {
    let y0 = pixel / p.ow % p.oh * p.stride_y;
    let x0 = pixel % p.ow * p.stride_x;
    let rows = taps(y0, p.dilation_y, p.pad_y, p.ih, p.kh);
    let columns = taps(x0, p.dilation_x, p.pad_x, p.iw, p.kw);
    let sample = p.input * 4u + pixel / (p.ow * p.oh) * (p.ih * p.iw * p.c) + c;
    var largest = vec4<i32>(0);
    var sum = vec4<i32>(0);
    for (var ky = rows.x; ky < rows.y; ky++) {
        let line = (y0 + ky * p.dilation_y - p.pad_y) * p.iw;
        for (var kx = columns.x; kx < columns.y; kx++) {
            let at = sample + (line + x0 + kx * p.dilation_x - p.pad_x) * p.c;
            let levels = vec4<i32>(unpack(load_levels(at)));
            largest = max(largest, levels);
            sum += levels - vec4<i32>(p.zero_point);
        }
    }
    return select(largest, sum, p.function == 2u);
}

fn result(value: i32, pixel: u32) -> u32 {
    if (p.function == 2u) {
        let at = pixel % (p.ow * p.oh) * 2u;
        return level(value, bitcast<i32>(constants[at]), constants[at + 1u], p.levels);
    }
    return u32(value);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t) * 4u;
    if (i >= p.count) {
        return;
    }
    var levels: vec4<u32>;
    if (p.c % 4u == 0u) {
        let four = window(i / p.c, i % p.c);
        for (var j = 0u; j < 4u; j++) {
            levels[j] = result(four[j], i / p.c);
        }
    } else {
        for (var j = 0u; j < min(4u, p.count - i); j++) {
            let pixel = (i + j) / p.c;
            levels[j] = result(window(pixel, (i + j) % p.c).x, pixel);
        }
    }
    var word = pack(levels);
    if (p.function == 1u) {
        word = mapped(word);
    }
    store(p.out + i / 4u, word);
}
