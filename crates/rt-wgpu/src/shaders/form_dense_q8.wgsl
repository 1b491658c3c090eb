// `words` vectors of sixteen bytes a row; what follows a sample meets weights of zero.
fn products(row: u32, lane: u32, sample: u32) -> i32 {
    var sum = 0;
    for (var i = lane; i < p.words; i += 8u) {
        let weights = constants[row * p.words + i];
        let at = p.input * 4u + sample * p.k + i * 16u;
        for (var j = 0u; j < 4u; j++) {
            if (i * 16u + j * 4u < p.k) {
                sum += dot4I8Packed(load_levels(at + j * 4u) ^ 0x80808080u, weights[j]);
            }
        }
    }
    return sum;
}
