// `words` vectors of eight weights in 16 bits a row; products are of floats.
fn products(row: u32, lane: u32, sample: u32) -> f32 {
    var sum = vec2<f32>(0.0);
    for (var i = lane; i < p.words; i += 8u) {
        let weights = constants[row * p.words + i];
        let at = p.input + sample * p.k + i * 8u;
        for (var j = 0u; j < 4u; j++) {
            var x = vec2<f32>(load_f32(at + j * 2u), load_f32(at + j * 2u + 1u));
            // What follows a sample may be no number.
            x = select(vec2<f32>(0.0), x, i * 8u + j * 2u + vec2<u32>(0u, 1u) < vec2<u32>(p.k));
            sum += unpack2x16float(weights[j]) * x;
        }
    }
    return sum.x + sum.y;
}
