// Depthwise convolution of floats: an invocation makes one element. Constants: [taps][c] weights, then [c] biases.
struct Params {
    input: u32, out: u32, count: u32, c: u32,
    oh: u32, ow: u32, ih: u32, iw: u32,
    kh: u32, kw: u32, stride_y: u32, stride_x: u32,
    dilation_y: u32, dilation_x: u32, pad_y: u32, pad_x: u32,
    low: f32, high: f32,
}
@group(0) @binding(1) var<storage, read> constants: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let i = linear(wid, count, t);
    if (i >= p.count) {
        return;
    }
    let c = i % p.c;
    let pixel = i / p.c;
    let y0 = i32(pixel / p.ow % p.oh * p.stride_y) - i32(p.pad_y);
    let x0 = i32(pixel % p.ow * p.stride_x) - i32(p.pad_x);
    let sample = p.input + pixel / (p.ow * p.oh) * (p.ih * p.iw * p.c) + c;
    var sum = constants[p.kh * p.kw * p.c + c];
    for (var ky = 0u; ky < p.kh; ky++) {
        let y = y0 + i32(ky * p.dilation_y);
        if (y < 0 || y >= i32(p.ih)) {
            continue;
        }
        for (var kx = 0u; kx < p.kw; kx++) {
            let x = x0 + i32(kx * p.dilation_x);
            if (x >= 0 && x < i32(p.iw)) {
                let value = load_f32(sample + (u32(y) * p.iw + u32(x)) * p.c);
                sum += value * constants[(ky * p.kw + kx) * p.c + c];
            }
        }
    }
    store_f32(p.out + i, bound(sum, p.low, p.high));
}
