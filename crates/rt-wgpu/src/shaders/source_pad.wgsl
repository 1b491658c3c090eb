struct Params {
    input: u32, out: u32, count: u32, border: u32,
    // Rows and elements of a row of the input, of the result, and of the border above and to the left.
    height: u32, row: u32, out_height: u32, out_row: u32, top: u32, left: u32,
}
@group(0) @binding(2) var<uniform> p: Params;

fn source(i: u32) -> u32 {
    let line = i / p.out_row;
    // Above and to the left these are huge.
    let y = line % p.out_height - p.top;
    let x = i % p.out_row - p.left;
    if (y >= p.height || x >= p.row) {
        return 0xffffffffu;
    }
    return (line / p.out_height * p.height + y) * p.row + x;
}
