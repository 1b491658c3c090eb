@group(0) @binding(1) var<storage, read> constants: array<u32>;

fn constant(word: u32) -> u32 {
    return constants[word];
}
