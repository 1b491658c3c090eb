//! Times how fast tensors decode: `cargo run --release -p embdl-core --example decode_speed`.
#![expect(clippy::print_stdout, reason = "an example that prints a table")]

use std::time::Instant;

use embdl_core::encoding::encode::{Book, EncodeOptions, WeightData, candidates, encode};
use embdl_core::model::Scales;
use embdl_core::tensor::Shape;

fn main() {
    let shape = Shape::matrix(1000, 4000);
    let book: Vec<i8> = (-8..8).collect();
    let mut state = 1_u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 40
    };
    println!(
        "share of weights  form                              bytes   M elements/s  M symbols/s"
    );
    for percent in [100, 20, 5] {
        // The minimum of two uniform draws, so that small indices are common.
        let mut draw = |zero: u8| {
            if word() % 100 >= percent { zero } else { word().min(word()).to_le_bytes()[2] >> 4 }
        };
        let codes: Vec<u8> = (0..shape.len()).map(|_| draw(8)).collect();
        let data = WeightData::Codebook { codes: &codes, book: Book::I8(&book) };
        let scales = Scales::PerTensor(0.01);
        let forms = candidates(shape, &scales, data, EncodeOptions::default());
        let forms = forms.expect("these codes have forms");
        let mut best: Vec<_> = [(false, false), (true, false), (true, true)]
            .into_iter()
            .filter_map(|(sparse, huffman)| {
                forms
                    .iter()
                    .filter(|form| form.gap_bits.is_some() == sparse)
                    .filter(|form| sparse || form.huffman_symbols)
                    .filter(|form| !sparse || form.huffman_gaps == huffman)
                    .min_by_key(|form| form.total_bytes())
            })
            .collect();
        best.dedup();
        for form in best {
            let tensor =
                encode(shape, scales.clone(), data, form).expect("a form that was offered");
            let rounds = 5;
            let start = Instant::now();
            for _ in 0..rounds {
                let decoded = tensor.view().decode_i8().expect("what was encoded decodes");
                assert_eq!(core::hint::black_box(decoded).len(), shape.len());
            }
            let seconds = start.elapsed().as_secs_f64() / f64::from(rounds);
            let symbols =
                codes.iter().filter(|&&code| form.gap_bits.is_none() || code != 8).count();
            println!(
                "{percent:>15} %  {:<30} {:>8}   {:>12.0}  {:>11.0}",
                format!(
                    "gaps {:?}, Huffman {}/{}",
                    form.gap_bits, form.huffman_gaps, form.huffman_symbols
                ),
                form.total_bytes(),
                shape.len() as f64 / seconds / 1e6,
                symbols as f64 / seconds / 1e6,
            );
        }
    }
}
