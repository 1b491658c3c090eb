var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>,
        @builtin(local_invocation_index) t: u32) {
    prepare(t);
    let row = (wid.y * count.x + wid.x) * 8u + t / 8u;
    var sum = 0.0;
    if (row < p.n) {
        sum = products(row, t % 8u, wid.z);
    }
    partial[t] = sum;
    workgroupBarrier();
    if (t % 8u == 0u && row < p.n) {
        for (var lane = 1u; lane < 8u; lane++) {
            sum += partial[t + lane];
        }
        sum += bitcast<f32>(constant(p.bias + row));
        store_f32(p.out + wid.z * p.out_stride + row, bound(sum, p.low, p.high));
    }
}
