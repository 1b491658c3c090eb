// The arena as words that nobody shares within a dispatch.
@group(0) @binding(0) var<storage, read_write> arena: array<u32>;

fn load(word: u32) -> u32 {
    return arena[word];
}

fn store(word: u32, value: u32) {
    arena[word] = value;
}

// Writes four levels at once: their word belongs to the caller.
fn store_levels(byte: u32, levels: vec4<u32>, count: u32) {
    arena[byte >> 2u] = pack(levels);
}
