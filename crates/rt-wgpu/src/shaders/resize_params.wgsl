// Constants: for each row of the result, then each column, the lower and the upper neighbour, the weight of the upper one
// as a float and in steps of 1/4096.
struct Params {
    input: u32, out: u32, count: u32, border: u32,
    ih: u32, iw: u32, c: u32, oh: u32, ow: u32,
}
@group(0) @binding(1) var<storage, read> constants: array<vec4<u32>>;
@group(0) @binding(2) var<uniform> p: Params;

fn row_of(i: u32) -> vec4<u32> {
    return constants[i / p.c / p.ow % p.oh];
}

fn column_of(i: u32) -> vec4<u32> {
    return constants[p.oh + i / p.c % p.ow];
}

fn neighbour(i: u32, y: u32, x: u32) -> u32 {
    return ((i / (p.c * p.ow * p.oh) * p.ih + y) * p.iw + x) * p.c + i % p.c;
}
