@group(0) @binding(1) var<storage, read> constants: array<vec4<u32>>;

fn constant(word: u32) -> u32 {
    return constants[word / 4u][word % 4u];
}

fn prepare(t: u32) {}
