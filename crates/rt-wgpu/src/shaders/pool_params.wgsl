// A window over each channel by itself.
struct Params {
    input: u32, out: u32, count: u32, c: u32,
    oh: u32, ow: u32, ih: u32, iw: u32,
    kh: u32, kw: u32, stride_y: u32, stride_x: u32,
    dilation_y: u32, dilation_x: u32, pad_y: u32, pad_x: u32,
    pad_bottom: u32, pad_right: u32, function: u32, zero_point: i32,
    lowest: f32, levels: u32,
}
@group(0) @binding(2) var<uniform> p: Params;

// Taps of an axis that are inside of the input, the first and one behind the last, for a window that begins at `start`
// with `pad` counted.
fn taps(start: u32, dilation: u32, pad: u32, extent: u32, kernel: u32) -> vec2<u32> {
    let first = (max(pad, start) - start + dilation - 1u) / dilation;
    let end = min((max(extent + pad, start) - start + dilation - 1u) / dilation, kernel);
    return vec2<u32>(first, max(first, end));
}
