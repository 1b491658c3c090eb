var<workgroup> partial: array<i32, 64>;
var<workgroup> results: array<u32, 8>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    prepare(t);
    let row0 = (wid.y * count.x + wid.x) * 8u;
    let row = row0 + t / 8u;
    var sum = 0;
    if (row < p.n) {
        sum = products(row, t % 8u, wid.z);
    }
    partial[t] = sum;
    workgroupBarrier();
    if (t % 8u == 0u) {
        results[t / 8u] = 0u;
        if (row < p.n) {
            for (var lane = 1u; lane < 8u; lane++) {
                sum += partial[t + lane];
            }
            results[t / 8u] = result(sum + bitcast<i32>(constant(p.bias + row)), row, wid.z);
        }
    }
    workgroupBarrier();
    let first = row0 + t * 4u;
    if (p.stage == 0u && t < 2u && first < p.n) {
        let four = vec4<u32>(results[t * 4u], results[t * 4u + 1u], results[t * 4u + 2u], results[t * 4u + 3u]);
        store_levels(p.out * 4u + wid.z * p.out_stride + first, four, min(4u, p.n - first));
    }
}

// The level, or nothing more to do for an accumulator.
fn result(sum: i32, row: u32, sample: u32) -> u32 {
    if (p.stage == 0u) {
        return level(sum, bitcast<i32>(constant(p.multipliers + row)), p.shift, p.levels);
    }
    let kept = select(sum, max(sum, 0), p.stage == 2u);
    store(p.out + sample * p.out_stride + row, bitcast<u32>(kept));
    return 0u;
}
