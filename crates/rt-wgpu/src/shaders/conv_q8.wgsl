// Convolution of levels: as conv_f32, with words of four channels for elements of k.
//
// Levels become signed by flipping their highest bit, so that one instruction multiplies four of them with four weights;
// biases have what that and the zero point add up to taken off. Outside of the input is the zero point.
// Constants of a group: [k][n / 4] weights, a row of biases, a row of multipliers.
struct Params {
    input: u32, out: u32, out_stride: u32, rows: u32,
    oh: u32, ow: u32, ih: u32, iw: u32,
    ci: u32, depth: u32, kw: u32, k: u32,
    stride_y: u32, stride_x: u32, dilation_y: u32, dilation_x: u32,
    pad_y: u32, pad_x: u32, n: u32, tiles_n: u32,
    outside: u32, stage: u32, shift: u32, levels: u32,
}
@group(0) @binding(1) var<storage, read> constants: array<vec4<u32>>;
@group(0) @binding(2) var<uniform> p: Params;

var<workgroup> lhs: array<vec4<u32>, 128>;
var<workgroup> rhs: array<vec4<u32>, 128>;
var<workgroup> origin: array<vec3<i32>, 32>;

fn tap(row: u32, y: i32, x: i32, at: u32) -> u32 {
    let start = origin[row];
    let place = start.xy + vec2<i32>(y, x);
    if (all(place >= vec2<i32>(0)) && place.x < i32(p.ih) && place.y < i32(p.iw)) {
        let byte = at + u32(start.z + (place.x * i32(p.iw) + place.y) * i32(p.ci));
        return load_levels(byte) ^ 0x80808080u;
    }
    return p.outside;
}

fn products(a: u32, b: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z), dot4I8Packed(a, b.w));
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
    let base = wid.z * (p.k + 2u) * n4;
    let depth4 = (p.depth + 3u) / 4u;
    let lane = t % 16u;
    let rows8 = t / 16u * 8u;
    var sum0 = vec4<i32>(0);
    var sum1 = vec4<i32>(0);
    var sum2 = vec4<i32>(0);
    var sum3 = vec4<i32>(0);
    for (var k0 = 0u; k0 < p.k; k0 += 16u) {
        let k = k0 + lane;
        let line = select(-1073741824, i32(k / depth4 / p.kw * p.dilation_y), k < p.k);
        let x = i32(k / depth4 % p.kw * p.dilation_x);
        let at = p.input * 4u + wid.z * p.depth + k % depth4 * 4u;
        for (var i = 0u; i < 2u; i++) {
            let row = rows8 + i * 4u;
            lhs[lane * 8u + row / 4u] = vec4<u32>(tap(row, line, x, at), tap(row + 1u, line, x, at),
                tap(row + 2u, line, x, at), tap(row + 3u, line, x, at));
            let index = t + i * 64u;
            let step = k0 + index / 8u;
            let column4 = tile % p.tiles_n * 8u + index % 8u;
            var weights = vec4<u32>(0u);
            if (step < p.k && column4 < n4) {
                weights = constants[base + step * n4 + column4];
            }
            rhs[index] = weights;
        }
        workgroupBarrier();
        for (var step = 0u; step < 16u; step++) {
            let a = lhs[step * 8u + t / 8u];
            let b = rhs[step * 8u + t % 8u];
            sum0 += products(a.x, b);
            sum1 += products(a.y, b);
            sum2 += products(a.z, b);
            sum3 += products(a.w, b);
        }
        workgroupBarrier();
    }
    if (column >= n4) {
        return;
    }
    let bias = bitcast<vec4<i32>>(constants[base + p.k * n4 + column]);
    let multipliers = bitcast<vec4<i32>>(constants[base + (p.k + 1u) * n4 + column]);
    let sums = array<vec4<i32>, 4>(sum0, sum1, sum2, sum3);
    let width = min(4u, p.n - column * 4u);
    for (var i = 0u; i < 4u; i++) {
        let row = row0 + t / 8u * 4u + i;
        if (row < p.rows) {
            finish(sums[i] + bias, multipliers, row * p.out_stride + wid.z * p.n + column * 4u, width);
        }
    }
}

// Four accumulators of one position: levels, or as they are, negative ones zero where `stage` is 2.
fn finish(sums: vec4<i32>, multipliers: vec4<i32>, at: u32, width: u32) {
    if (p.stage == 0u) {
        var levels: vec4<u32>;
        for (var j = 0u; j < 4u; j++) {
            levels[j] = level(sums[j], multipliers[j], p.shift, p.levels);
        }
        store_levels(p.out * 4u + at, levels, width);
        return;
    }
    let kept = select(sums, max(sums, vec4<i32>(0)), p.stage == 2u);
    for (var j = 0u; j < width; j++) {
        store(p.out + at + j, bitcast<u32>(kept[j]));
    }
}
