//! Compares small calls of all functions with `unsafe` code with plain sums, on one thread and on two. They are small enough
//! for Miri, which checks for undefined behaviour and has only the portable kernel (docs/kernels.md).

#![allow(clippy::unwrap_used)]

use super::attention::{Buckets, Plan, Segment, backward, forward};
use super::choice::Kernel;
use super::gemm::{Mat, matmul_by};
use super::matrix::Matrix;
use super::pool::{for_row_pairs, for_rows, new_row_pairs, new_rows, set_threads};
use super::quantized::{Compact, Precision};
use super::test_numbers;

fn close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).for_each(|(g, w)| assert!((g - w).abs() < 1e-4, "{g} in place of {w}"));
}

/// x (m, k) times w (n, k) transposed.
fn plain(x: &[f32], w: &[f32], k: usize) -> Vec<f32> {
    let row = |x: &[f32]| w.chunks(k).map(|w| x.iter().zip(w).map(|(x, w)| x * w).sum()).collect::<Vec<f32>>();
    x.chunks(k).flat_map(row).collect()
}

#[test]
fn products_write_only_their_block() {
    for threads in [1, 2] {
        set_threads(threads);
        for by in Kernel::available() {
            for (m, n, k) in [(1, 7, 9), (3, 5, 4), (5, 3, 20)] {
                let (x, w) = (test_numbers(1, m * k), test_numbers(2, n * k));
                let mut y = vec![0.5; (m - 1) * (n + 2) + n];
                let (a, b) = (Mat::new(&x, m, k, k), Mat::new(&w, n, k, k).t());
                matmul_by(by, &mut y, n + 2, a, b, 1.0, true);
                let rows: Vec<f32> = y.chunks(n + 2).flat_map(|row| row[..n].iter().map(|y| y - 0.5)).collect();
                close(&rows, &plain(&x, &w, k));
                assert!(y.chunks(n + 2).all(|row| row[n..].iter().all(|y| *y == 0.5)), "between the rows");
            }
        }
    }
}

#[test]
fn every_row_is_made_once() {
    for threads in [1, 2] {
        set_threads(threads);
        let n = 3 * (1 << 13); // 3 numbers a row, more than one piece
        let number = |first: usize, rows: &mut [f32]| {
            rows.iter_mut().enumerate().for_each(|(i, x)| *x += (3 * first + i) as f32);
        };
        let want: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let mut made = new_rows(n, 3, number);
        assert_eq!(made, want);
        let (a, b) = new_row_pairs((n, 3), (n / 3, 1), |first, a, b| {
            number(first, a);
            b.iter_mut().enumerate().for_each(|(i, b)| *b = (first + i) as f32);
        });
        assert_eq!((&a, &b[..]), (&want, &want[..n / 3]));
        for_rows(&mut made, 3, number);
        let mut b = b;
        for_row_pairs((&mut made, 3), (&mut b, 1), |_, a, b| a.iter_mut().chain(b).for_each(|x| *x *= 0.5));
        assert_eq!((made, &b[2..4]), (want, &[1.0, 1.5][..]));
    }
}

#[test]
fn products_with_compact_weights_equal_those_of_their_widened_numbers() {
    for threads in [1, 2] {
        set_threads(threads);
        let (rows, cols) = (5, 40);
        let w = test_numbers(3, rows * cols);
        for precision in [Precision::Bf16, Precision::F16, Precision::Q8_0] {
            let held = Compact::of(&w, rows, cols, precision).unwrap();
            let mut wide = vec![0.0; rows * cols];
            held.widen(0..rows, 0..cols, &mut wide);
            let transposed: Vec<f32> = (0..rows * cols).map(|i| wide[i % rows * cols + i / rows]).collect();
            for m in [1, 3, 17] {
                let (x, g) = (test_numbers(4, m * cols), test_numbers(5, m * rows));
                close(&Matrix::Compact(&held).product(&x, m), &plain(&x, &wide, cols));
                close(&Matrix::Compact(&held).transposed_product(&g, m), &plain(&g, &transposed, rows));
            }
        }
    }
}

#[test]
fn attention_is_equal_on_any_number_of_threads_and_for_single_queries() {
    let (heads, width) = (2, 8);
    let (q, kv) = (test_numbers(6, 7 * width), test_numbers(7, 7 * 2 * width));
    let (table, g) = (test_numbers(8, 8 * heads), test_numbers(9, 7 * width));
    let segment = |query, queries, key, keys, offset| Segment { query, queries, key, keys, offset };
    let buckets = Some(Buckets { count: 8, max_distance: 16, bidirectional: false });
    // row 4 belongs to no segment
    let segments = vec![segment(0, 4, 0, 4, 0), segment(5, 2, 5, 2, 0)];
    let plan = Plan { segments, heads, scale: 0.5, causal: true, buckets, drop: None };
    let results = [1, 2].map(|threads| {
        set_threads(threads);
        let y = forward(&plan, &q, &kv, Some(&table), width);
        (y, backward(&plan, (&q, &kv, Some(&table)), width, &g, true))
    });
    assert_eq!(results[0], results[1]);
    let (y, (dq, dkv, _)) = &results[0];
    assert!([&y[4 * width..5 * width], &dq[4 * width..5 * width]].iter().all(|row| row.iter().all(|x| *x == 0.0)));
    assert!(dkv[4 * 2 * width..5 * 2 * width].iter().all(|x| *x == 0.0));
    let last = Plan { segments: vec![segment(0, 1, 0, 4, 3)], ..plan };
    close(&forward(&last, &q[3 * width..4 * width], &kv, Some(&table), width), &y[3 * width..4 * width]);
}

#[test]
#[should_panic(expected = "segments share queries")]
fn segments_that_share_rows_are_refused() {
    let segment = Segment { query: 0, queries: 2, key: 0, keys: 2, offset: 0 };
    let plan = Plan { segments: vec![segment; 2], heads: 1, scale: 1.0, causal: false, buckets: None, drop: None };
    forward(&plan, &[1.0; 4], &[1.0; 8], None, 2);
}
