// What a table of 256 bytes at the start of the constants makes of four levels.
fn mapped(word: u32) -> u32 {
    var levels = unpack(word);
    for (var j = 0u; j < 4u; j++) {
        levels[j] = (constants[levels[j] / 4u] >> (levels[j] % 4u * 8u)) & 255u;
    }
    return pack(levels);
}
