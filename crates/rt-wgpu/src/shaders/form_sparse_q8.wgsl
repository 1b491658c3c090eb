// Where each row begins, `n + 1` words, then an entry a word: the column above its value, a signed byte.
fn prepare(t: u32) {}

fn products(row: u32, lane: u32, sample: u32) -> i32 {
    var sum = 0;
    let end = constants[row + 1u];
    for (var i = constants[row] + lane; i < end; i += 8u) {
        let entry = constants[p.words + i];
        let value = i32(load_level(p.input * 4u + sample * p.k + (entry >> 8u))) - i32(p.zero_point);
        sum += value * (bitcast<i32>(entry << 24u) >> 24u);
    }
    return sum;
}
