//! tract as the oracle: it runs ONNX files by itself.

use embdl_core::tensor::Shape;
use embdl_graph::Graph;
use tract_onnx::prelude::*;

use super::{in_graph_order, in_onnx_order};

/// Outputs that tract computes, in the graph's order.
pub(crate) fn run(bytes: &[u8], graph: &Graph, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let dims = |shape: Shape| -> Vec<usize> {
        let dims: Vec<usize> = shape.iter().collect();
        if let &[n, h, w, c] = dims.as_slice() { vec![n, c, h, w] } else { dims }
    };
    let mut model = onnx().model_for_read(&mut &*bytes).expect("tract reads the file");
    let mut tensors = tvec!();
    for (at, (&id, values)) in graph.inputs.iter().zip(inputs).enumerate() {
        let shape = graph.values[id].shape;
        let dims = dims(shape);
        model = model.with_input_fact(at, f32::fact(&dims).into()).expect("the shape fits");
        let values = in_onnx_order(values, shape);
        tensors.push(Tensor::from_shape(&dims, &values).expect("as many values").into());
    }
    let plan = model.into_typed().and_then(|model| model.into_runnable()).expect("tract runs it");
    let results = plan.run(tensors).expect("tract runs");
    let outputs = graph.outputs.iter().zip(results.iter());
    outputs
        .map(|(&id, tensor)| {
            let shape = graph.values[id].shape;
            let plain = tensor.to_plain_array_view::<f32>().expect("floats");
            assert_eq!(plain.shape(), dims(shape), "the file says the shape of its outputs");
            let values: Vec<f32> = plain.iter().copied().collect();
            in_graph_order(&values, shape)
        })
        .collect()
}
