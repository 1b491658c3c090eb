// What all kernels share. Places are in words of the arena, positions of levels in bytes.

fn linear(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
    return (group.y * groups.x + group.x) * 64u + local;
}

fn load_f32(word: u32) -> f32 {
    return bitcast<f32>(load(word));
}

fn store_f32(word: u32, value: f32) {
    store(word, bitcast<u32>(value));
}

fn unpack(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}

fn pack(levels: vec4<u32>) -> u32 {
    let at = levels << vec4<u32>(0u, 8u, 16u, 24u);
    return at.x | at.y | at.z | at.w;
}

fn load_level(byte: u32) -> u32 {
    return (load(byte >> 2u) >> ((byte & 3u) * 8u)) & 255u;
}

// Four levels from any byte on. May read the word behind them, which every arena has.
fn load_levels(byte: u32) -> u32 {
    let shift = (byte & 3u) * 8u;
    let low = load(byte >> 2u);
    if (shift == 0u) {
        return low;
    }
    return (low >> shift) | (load((byte >> 2u) + 1u) << (32u - shift));
}

// Bounds that keep NaN.
fn bound(x: f32, low: f32, high: f32) -> f32 {
    return select(select(x, high, x > high), low, x < low);
}

fn bound4(x: vec4<f32>, low: f32, high: f32) -> vec4<f32> {
    return select(select(x, vec4<f32>(high), x > vec4<f32>(high)), vec4<f32>(low), x < vec4<f32>(low));
}
