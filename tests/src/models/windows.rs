//! Pooling.

use embdl_core::op::{Op, Pool, PoolKind, Window};
use embdl_core::quant::Quant;
use embdl_core::tensor::Shape;

use super::Problem;
use crate::net::{Elements, Net};

/// Max, average and global pooling, with pads and ceil mode, on floats and on levels with the same or another scale.
#[must_use]
pub fn pools() -> Vec<Problem> {
    let window = |kernel, stride, pads| Window { kernel, stride, dilation: [1, 1], pads };
    let windows = [
        ("2 by 2", [24, 24, 20], window([2, 2], [2, 2], [0; 4]), false),
        ("3 by 3 over the end", [13, 13, 5], window([3, 3], [2, 2], [0; 4]), true),
        ("padded", [7, 6, 3], window([3, 3], [2, 2], [1; 4]), false),
        ("padded over the end", [6, 8, 4], window([3, 2], [2, 3], [1, 0, 2, 1]), true),
        // Large enough to be shared out to threads.
        ("large", [71, 66, 30], window([3, 3], [2, 2], [1; 4]), true),
        ("dilated", [9, 9, 2], Window { dilation: [2, 3], ..Window::square(2, 1) }, false),
    ];
    let kinds = [
        ("max", PoolKind::Max),
        ("average", PoolKind::Average { include_pads: false }),
        ("average with pads", PoolKind::Average { include_pads: true }),
    ];
    let quant = Quant { scale: 0.1, zero_point: 30 };
    let other = Quant { scale: 0.07, zero_point: 11 };
    let mut problems = vec![max_by_hand(), average_by_hand()];
    for (name, [h, w, c], window, ceil) in windows {
        for (kind_name, kind) in kinds {
            let op = Op::Pool(Pool { kind, window, ceil });
            let shape = Shape::nhwc(1, h, w, c);
            let name = format!("{kind_name} pool, {name}");
            let net = |from, to| single(op.clone(), shape, from, to);
            let same = net(Elements::U8(quant), Elements::U8(quant));
            let rescaled = net(Elements::U8(quant), Elements::U8(other));
            problems
                .push(Problem::new(format!("{name}, float"), net(Elements::F32, Elements::F32)));
            problems.push(Problem::new(format!("{name}, levels"), same));
            let rescaled = Problem::new(format!("{name}, other levels"), rescaled);
            // Files have the maxima of levels at the levels of the input.
            let in_files = kind != PoolKind::Max;
            problems.push(if in_files { rescaled } else { rescaled.only_in_memory() });
        }
    }
    let shape = Shape::nhwc(1, 6, 5, 9);
    let global = |from, to| single(Op::GlobalAveragePool, shape, from, to);
    let float = global(Elements::F32, Elements::F32);
    problems.push(Problem::new("global pool, float", float));
    let levels = global(Elements::U8(quant), Elements::U8(quant));
    problems.push(Problem::new("global pool, levels", levels));
    let rescaled = global(Elements::U8(quant), Elements::U8(other));
    problems.push(Problem::new("global pool, other levels", rescaled));
    problems
}

fn single(op: Op, shape: Shape, from: Elements, to: Elements) -> Net {
    let mut net = Net::new();
    let input = net.input(shape, from);
    let output = net.node(op, &[input], to);
    net.output(output);
    net
}

fn max_by_hand() -> Problem {
    let op = Op::Pool(Pool { kind: PoolKind::Max, window: Window::square(2, 2), ceil: true });
    let net = single(op, Shape::nhwc(1, 2, 3, 1), Elements::F32, Elements::F32);
    Problem::new("max pool by hand", net)
        .by_hand(&[&[-1., -2., -5., -3., -4., -6.]], &[&[-1., -5.]])
}

fn average_by_hand() -> Problem {
    let kind = PoolKind::Average { include_pads: true };
    let window = Window::square(2, 2).padded(1);
    let op = Op::Pool(Pool { kind, window, ceil: false });
    let quant = Quant { scale: 1.0, zero_point: 10 };
    let net = single(op, Shape::nhwc(1, 2, 2, 1), Elements::U8(quant), Elements::U8(quant));
    // Each window sees one element and three pads: a quarter of -10, 2, 6, 1, and ties go up.
    Problem::new("average pool by hand", net)
        .by_hand(&[&[0., 12., 16., 11.]], &[&[8., 11., 12., 10.]])
}
