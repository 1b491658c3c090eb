// The arena as words of which several invocations may write bytes, each its own: where rows of levels are no whole words.
@group(0) @binding(0) var<storage, read_write> arena: array<atomic<u32>>;

fn load(word: u32) -> u32 {
    return atomicLoad(&arena[word]);
}

fn store(word: u32, value: u32) {
    atomicStore(&arena[word], value);
}

// Writes the first `count` levels byte by byte: clearing and setting touch no other byte, whatever happens in between.
fn store_levels(byte: u32, levels: vec4<u32>, count: u32) {
    for (var j = 0u; j < count; j++) {
        let word = (byte + j) >> 2u;
        let shift = ((byte + j) & 3u) * 8u;
        atomicAnd(&arena[word], ~(255u << shift));
        atomicOr(&arena[word], levels[j] << shift);
    }
}
