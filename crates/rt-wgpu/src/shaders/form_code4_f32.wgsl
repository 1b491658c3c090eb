// `words` words of eight codes a row; the codebook of 16 floats is read once a workgroup.
var<workgroup> book: array<f32, 16>;

fn prepare(t: u32) {
    if (t < 16u) {
        book[t] = bitcast<f32>(constant(p.book + t));
    }
    workgroupBarrier();
}

fn products(row: u32, lane: u32, sample: u32) -> f32 {
    var sum = 0.0;
    for (var i = lane; i < p.words; i += 8u) {
        let codes = constants[row * p.words + i];
        let at = p.input + sample * p.k + i * 8u;
        for (var j = 0u; j < min(8u, p.k - i * 8u); j++) {
            sum += book[(codes >> (j * 4u)) & 15u] * load_f32(at + j);
        }
    }
    return sum;
}
