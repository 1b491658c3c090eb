fn source(i: u32) -> u32 {
    return neighbour(i, row_of(i).x, column_of(i).x);
}
