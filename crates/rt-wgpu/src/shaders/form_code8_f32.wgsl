// `words` words of four codes a row; the codebook of 256 floats is read once a workgroup.
var<workgroup> book: array<f32, 256>;

fn prepare(t: u32) {
    for (var i = t; i < 256u; i += 64u) {
        book[i] = bitcast<f32>(constant(p.book + i));
    }
    workgroupBarrier();
}

fn products(row: u32, lane: u32, sample: u32) -> f32 {
    var sum = 0.0;
    for (var i = lane; i < p.words; i += 8u) {
        let codes = unpack(constants[row * p.words + i]);
        let at = p.input + sample * p.k + i * 4u;
        for (var j = 0u; j < min(4u, p.k - i * 4u); j++) {
            sum += book[codes[j]] * load_f32(at + j);
        }
    }
    return sum;
}
