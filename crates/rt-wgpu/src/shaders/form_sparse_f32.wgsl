// Where each row begins, `n + 1` words, then an entry a word: the column above the code of its value, which has 8 bits.
var<workgroup> book: array<f32, 256>;

fn prepare(t: u32) {
    for (var i = t; i < 256u; i += 64u) {
        book[i] = bitcast<f32>(constant(p.book + i));
    }
    workgroupBarrier();
}

fn products(row: u32, lane: u32, sample: u32) -> f32 {
    var sum = 0.0;
    let end = constants[row + 1u];
    for (var i = constants[row] + lane; i < end; i += 8u) {
        let entry = constants[p.words + i];
        sum += book[entry & 255u] * load_f32(p.input + sample * p.k + (entry >> 8u));
    }
    return sum;
}
