// `words` words of eight codes a row; the codebook of 16 bytes is read once a workgroup. Codes behind a row stand for zero.
var<workgroup> book: array<u32, 16>;

fn prepare(t: u32) {
    if (t < 16u) {
        book[t] = constant(p.book + t);
    }
    workgroupBarrier();
}

fn products(row: u32, lane: u32, sample: u32) -> i32 {
    var sum = 0;
    for (var i = lane; i < p.words; i += 8u) {
        let codes = constants[row * p.words + i];
        let at = p.input * 4u + sample * p.k + i * 8u;
        for (var j = 0u; j < 2u; j++) {
            if (i * 8u + j * 4u < p.k) {
                let four = codes >> (j * 16u);
                let weights = book[four & 15u] | (book[(four >> 4u) & 15u] << 8u)
                    | (book[(four >> 8u) & 15u] << 16u) | (book[(four >> 12u) & 15u] << 24u);
                sum += dot4I8Packed(load_levels(at + j * 4u) ^ 0x80808080u, weights);
            }
        }
    }
    return sum;
}
