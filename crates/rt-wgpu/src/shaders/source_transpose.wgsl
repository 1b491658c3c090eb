struct Params {
    input: u32, out: u32, count: u32, border: u32,
    // Extents of the result, and how far apart its neighbours on each axis are in the input.
    dim1: u32, dim2: u32, dim3: u32,
    stride0: u32, stride1: u32, stride2: u32, stride3: u32,
}
@group(0) @binding(2) var<uniform> p: Params;

fn source(i: u32) -> u32 {
    let row = i / p.dim3;
    let map = row / p.dim2;
    return map / p.dim1 * p.stride0 + map % p.dim1 * p.stride1 + row % p.dim2 * p.stride2 + i % p.dim3 * p.stride3;
}
