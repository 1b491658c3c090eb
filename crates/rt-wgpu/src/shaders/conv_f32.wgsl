// Convolution as a matrix product whose left side is gathered on the way into workgroup memory.
//
// A workgroup of 64 makes 32 output positions times 32 channels, 16 steps of k at a time; an invocation 4 times 4 of them:
// 16 products for two loads of four. Constants of a group: [k][n / 4] weights, then biases.
struct Params {
    input: u32, out: u32, out_stride: u32, rows: u32,
    oh: u32, ow: u32, ih: u32, iw: u32,
    ci: u32, depth: u32, kw: u32, k: u32,
    stride_y: u32, stride_x: u32, dilation_y: u32, dilation_x: u32,
    pad_y: u32, pad_x: u32, n: u32, tiles_n: u32,
    low: f32, high: f32,
}
@group(0) @binding(2) var<uniform> p: Params;

var<workgroup> lhs: array<vec4<f32>, 128>;
var<workgroup> rhs: array<vec4<f32>, 128>;
// Line and column that a window begins at, and where its sample does.
var<workgroup> origin: array<vec3<i32>, 32>;

fn tap(row: u32, y: i32, x: i32, at: u32) -> f32 {
    let start = origin[row];
    let place = start.xy + vec2<i32>(y, x);
    if (all(place >= vec2<i32>(0)) && place.x < i32(p.ih) && place.y < i32(p.iw)) {
        return load_f32(at + u32(start.z + (place.x * i32(p.iw) + place.y) * i32(p.ci)));
    }
    return 0.0;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    let tile = wid.y * count.x + wid.x;
    let row0 = tile / p.tiles_n * 32u;
    let column = tile % p.tiles_n * 8u + t % 8u;
    if (t < 32u) {
        let row = row0 + t;
        let y = i32(row / p.ow % p.oh * p.stride_y) - i32(p.pad_y);
        let x = i32(row % p.ow * p.stride_x) - i32(p.pad_x);
        let sample = i32(row / (p.ow * p.oh) * (p.ih * p.iw * p.ci));
        origin[t] = select(vec3<i32>(-1073741824), vec3<i32>(y, x, sample), row < p.rows);
    }
    workgroupBarrier();
    let n4 = (p.n + 3u) / 4u;
    let base = wid.z * group_len(p.k) * n4;
    let lane = t % 16u;
    let rows8 = t / 16u * 8u;
    var sum0 = vec4<f32>(0.0);
    var sum1 = vec4<f32>(0.0);
    var sum2 = vec4<f32>(0.0);
    var sum3 = vec4<f32>(0.0);
    for (var k0 = 0u; k0 < p.k; k0 += 16u) {
        let k = k0 + lane;
        // Beyond the last step the line is one that no sample has.
        let line = select(-1073741824, i32(k / p.depth / p.kw * p.dilation_y), k < p.k);
        let x = i32(k / p.depth % p.kw * p.dilation_x);
        let at = p.input + wid.z * p.depth + k % p.depth;
        for (var i = 0u; i < 2u; i++) {
            let row = rows8 + i * 4u;
            lhs[lane * 8u + row / 4u] = vec4<f32>(tap(row, line, x, at), tap(row + 1u, line, x, at),
                tap(row + 2u, line, x, at), tap(row + 3u, line, x, at));
            let index = t + i * 64u;
            let step = k0 + index / 8u;
            let column4 = tile % p.tiles_n * 8u + index % 8u;
            var weights = vec4<f32>(0.0);
            if (step < p.k && column4 < n4) {
                weights = four(base + step * n4 + column4);
            }
            rhs[index] = weights;
        }
        workgroupBarrier();
        for (var step = 0u; step < 16u; step++) {
            let a = lhs[step * 8u + t / 8u];
            let b = rhs[step * 8u + t % 8u];
            sum0 += a.x * b;
            sum1 += a.y * b;
            sum2 += a.z * b;
            sum3 += a.w * b;
        }
        workgroupBarrier();
    }
    if (column >= n4) {
        return;
    }
    let bias = bias_of(base + p.k * n4, column);
    let sums = array<vec4<f32>, 4>(sum0, sum1, sum2, sum3);
    for (var i = 0u; i < 4u; i++) {
        let row = row0 + t / 8u * 4u + i;
        if (row < p.rows) {
            let result = bound4(sums[i] + bias, p.low, p.high);
            let at = p.out + row * p.out_stride + wid.z * p.n + column * 4u;
            for (var j = 0u; j < min(4u, p.n - column * 4u); j++) {
                store_f32(at + j, result[j]);
            }
        }
    }
}
