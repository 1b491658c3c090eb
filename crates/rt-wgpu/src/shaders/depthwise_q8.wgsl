// Depthwise convolution of levels: an invocation makes the four elements of one word of the result, or four accumulators.
// Constants: [taps][c / 4] weights in bytes, then [c] biases, then [c] multipliers.
struct Params {
    input: u32, out: u32, count: u32, c: u32,
    oh: u32, ow: u32, ih: u32, iw: u32,
    kh: u32, kw: u32, stride_y: u32, stride_x: u32,
    dilation_y: u32, dilation_x: u32, pad_y: u32, pad_x: u32,
    zero_point: u32, stage: u32, shift: u32, levels: u32,
}
@group(0) @binding(1) var<storage, read> constants: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

fn signed(word: u32) -> vec4<i32> {
    return (vec4<i32>(bitcast<i32>(word)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
}

// The sums of `width` channels from channel `c` of a pixel on.
fn sums(pixel: u32, c: u32) -> vec4<i32> {
    let y0 = i32(pixel / p.ow % p.oh * p.stride_y) - i32(p.pad_y);
    let x0 = i32(pixel % p.ow * p.stride_x) - i32(p.pad_x);
    let sample = p.input * 4u + pixel / (p.ow * p.oh) * (p.ih * p.iw * p.c) + c;
    let words = (p.c + 3u) / 4u;
    var sum = vec4<i32>(0);
    for (var ky = 0u; ky < p.kh; ky++) {
        let y = y0 + i32(ky * p.dilation_y);
        if (y < 0 || y >= i32(p.ih)) {
            continue;
        }
        for (var kx = 0u; kx < p.kw; kx++) {
            let x = x0 + i32(kx * p.dilation_x);
            if (x >= 0 && x < i32(p.iw)) {
                let values = unpack(load_levels(sample + (u32(y) * p.iw + u32(x)) * p.c));
                // Weights of four channels that are no whole word stand in two.
                let at = (ky * p.kw + kx) * words + c / 4u;
                let shift = c % 4u * 8u;
                var weights = constants[at] >> shift;
                if (shift > 0u) {
                    weights |= constants[at + 1u] << (32u - shift);
                }
                sum += (vec4<i32>(values) - vec4<i32>(i32(p.zero_point))) * signed(weights);
            }
        }
    }
    return sum;
}

fn result(sum: i32, c: u32) -> u32 {
    let at = p.kh * p.kw * ((p.c + 3u) / 4u);
    let whole = sum + bitcast<i32>(constants[at + c]);
    if (p.stage == 0u) {
        return level(whole, bitcast<i32>(constants[at + p.c + c]), p.shift, p.levels);
    }
    return bitcast<u32>(select(whole, max(whole, 0), p.stage == 2u));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t) * 4u;
    if (i >= p.count) {
        return;
    }
    var results: vec4<u32>;
    if (p.c % 4u == 0u) {
        let four = sums(i / p.c, i % p.c);
        for (var j = 0u; j < 4u; j++) {
            results[j] = result(four[j], i % p.c + j);
        }
    } else {
        // The four may belong to several pixels.
        for (var j = 0u; j < min(4u, p.count - i); j++) {
            let c = (i + j) % p.c;
            results[j] = result(sums((i + j) / p.c, c).x, c);
        }
    }
    if (p.stage == 0u) {
        store(p.out + i / 4u, pack(results));
        return;
    }
    for (var j = 0u; j < min(4u, p.count - i); j++) {
        store(p.out + i + j, results[j]);
    }
}
