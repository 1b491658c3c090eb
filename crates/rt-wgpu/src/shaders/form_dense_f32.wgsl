// `words` vectors of four floats a row.
fn products(row: u32, lane: u32, sample: u32) -> f32 {
    var sum = vec4<f32>(0.0);
    for (var i = lane; i < p.words; i += 8u) {
        let weights = bitcast<vec4<f32>>(constants[row * p.words + i]);
        let at = p.input + sample * p.k + i * 4u;
        var x = vec4<f32>(load_f32(at), load_f32(at + 1u), load_f32(at + 2u), load_f32(at + 3u));
        if (i * 4u + 3u >= p.k) {
            // What follows a sample may be no number.
            x = select(vec4<f32>(0.0), x, i * 4u + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.k));
        }
        sum += weights * x;
    }
    return sum.x + sum.y + sum.z + sum.w;
}
