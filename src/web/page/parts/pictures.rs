//! The pictures of a step: the clipped objective over the ratio, the value predictions along a response, the tokens'
//! probabilities before and after. Each is made from a step's grids, as SVG text.

use super::axis::Axis;
use super::format;
use super::plot::Plot;
use crate::protocol::{Grid, Step};

/// The numbers of the trained tokens, row by row.
fn trained<'a>(step: &'a Step, of: &'a Grid) -> impl Iterator<Item = f64> + Clone + 'a {
    of.data.iter().zip(&step.grids.mask.data).filter(|(_, mask)| **mask > 0.0).map(|(x, _)| f64::from(*x))
}

/// PPO's objective of one token: the smaller of ratio · advantage and clipped ratio · advantage.
fn objective(ratio: f64, advantage: f64, clip: f64) -> f64 {
    (ratio * advantage).min(ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)
}

/// Whether its gradient is 0.
fn clipped(ratio: f64, advantage: f64, clip: f64) -> bool {
    (advantage > 0.0 && ratio > 1.0 + clip) || (advantage < 0.0 && ratio < 1.0 - clip)
}

/// The clipped objective over the ratio: its two branches, and every token of the batch as a dot. With what it shows, in words.
pub fn clip(step: &Step, clip: f64) -> (String, String) {
    let tokens: Vec<(f64, f64)> =
        trained(step, &step.grids.ratio).zip(trained(step, &step.grids.advantages_whitened)).collect();
    let outside = |t: &&(f64, f64)| clipped(t.0, t.1, clip);
    let at = |t: &(f64, f64)| (t.0, objective(t.0, t.1, clip));
    let ends = tokens.iter().map(|t| t.0).chain([1.0 - 2.0 * clip.min(0.5), 1.0 + 2.0 * clip.min(0.5)]);
    let across = Axis::around(ends.map(|x| x.clamp(0.0, 3.0)), 5);
    let up = Axis::around(tokens.iter().map(|t| at(t).1).chain([-1.5, 1.5]), 5);
    let (low, high) = (across.low, across.high);
    let mut plot = Plot::new(across, up.clone(), 12.0);
    for edge in [1.0 - clip, 1.0 + clip].into_iter().filter(|edge| (low..=high).contains(edge)) {
        plot.line([(edge, up.low), (edge, up.high)].into_iter(), "edge");
    }
    for (advantage, class) in [(1.0, "line m-policy"), (-1.0, "line m-policy is-dashed")] {
        let bends = [low, (1.0 - clip).max(low), (1.0 + clip).min(high), high];
        plot.line(bends.into_iter().map(|ratio| (ratio, objective(ratio, advantage, clip))), class);
    }
    plot.dots(tokens.iter().filter(|t| !outside(t)).map(at), "dots");
    plot.dots(tokens.iter().filter(outside).map(at), "dots is-clipped");
    let n = tokens.iter().filter(outside).count();
    let apart = tokens.iter().any(|t| (t.0 - 1.0).abs() > 1e-4);
    let says = if apart {
        format!(
            "{n} of {} tokens are clipped, so that their gradient is 0. In the mini-batch that is trained first (its rows are drawn) ratios are 1, because nothing was updated before it.",
            tokens.len()
        )
    } else {
        format!(
            "All {} ratios are 1, because each token was used for one update only, and its ratio is taken before that. Set ppo_epochs to 4 \
             or mini_batch_size to 8 in 3.1 and start over: the dots move apart.",
            tokens.len()
        )
    };
    (plot.svg(&format!("The clipped objective over the ratio. {says}"), "ratio ρ", ""), says)
}

/// A response's tokens in a row of the batch, as far as its grids go.
fn pieces(step: &Step, row: usize) -> Vec<&str> {
    let len = step.grids.mask.cols;
    step.responses
        .get(row)
        .map(|r| r.pieces.iter().take(len).map(|piece| piece.text.trim()).collect())
        .unwrap_or_default()
}

/// A plot with a column for each token, as wide as it needs.
fn columns(pieces: &[&str], up: Axis) -> Plot {
    let ticks = pieces.iter().enumerate().map(|(i, text)| (i as f64, super::plot::escaped(text))).collect();
    let across = Axis { low: -0.5, high: pieces.len() as f64 - 0.5, ticks };
    Plot::new(across, up, 100.0 / (pieces.len() as f64).clamp(12.0, 40.0))
}

/// The value predictions along a response, and at each token the gap δ = r + γ V(next) − V.
pub fn values(step: &Step, row: usize, gamma: f64) -> String {
    let (pieces, g) = (pieces(step, row), &step.grids);
    if pieces.is_empty() {
        return String::new();
    }
    let number = |grid: &Grid, t: usize| if t < pieces.len() { f64::from(grid.row(row)[t]) } else { 0.0 };
    let value: Vec<f64> = (0..pieces.len()).map(|t| number(&g.old_values, t)).collect();
    let target: Vec<f64> =
        (0..pieces.len()).map(|t| number(&g.rewards, t) + gamma * number(&g.old_values, t + 1)).collect();
    let up = Axis::around(value.iter().chain(&target).copied(), 4);
    let mut plot = columns(&pieces, up);
    for (t, (value, target)) in value.iter().zip(&target).enumerate() {
        let class = if target >= value { "gap is-up" } else { "gap is-down" };
        plot.line([(t as f64, *value), (t as f64, *target)].into_iter(), class);
    }
    let points = || value.iter().enumerate().map(|(t, y)| (t as f64, *y));
    plot.line(points(), "line m-value");
    plot.dots(points(), "dots m-value");
    let largest =
        value.iter().zip(&target).map(|(v, r)| r - v).max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
    plot.svg(
        &format!("Value predictions along the response; the largest δ is {}", format::signed(largest, 2)),
        "",
        width(pieces.len()),
    )
}

/// The probability of each token when it was written, and before the step's last update.
pub fn probabilities(step: &Step, row: usize) -> String {
    let (pieces, g) = (pieces(step, row), &step.grids);
    if pieces.is_empty() {
        return String::new();
    }
    let old: Vec<f64> = (0..pieces.len()).map(|t| f64::from(g.old_logprobs.row(row)[t]).exp()).collect();
    let new: Vec<f64> = (0..pieces.len()).map(|t| (old[t] * f64::from(g.ratio.row(row)[t])).min(1.0)).collect();
    let mut plot = columns(&pieces, Axis::around([0.0, 1.0].into_iter(), 4));
    for t in 0..pieces.len() {
        let (x, advantage) = (t as f64, g.advantages_whitened.row(row)[t]);
        plot.line([(x - 0.15, 0.0), (x - 0.15, old[t])].into_iter(), "bars");
        plot.line([(x + 0.15, 0.0), (x + 0.15, new[t])].into_iter(), "bars m-policy");
        plot.text(x - 0.2, old[t].max(new[t]), "tick", if advantage >= 0.0 { "↑" } else { "↓" });
    }
    plot.svg(
        "Each token's probability before and after; arrows show the sign of its advantage",
        "",
        width(pieces.len()),
    )
}

/// The class of a picture with this many columns.
fn width(columns: usize) -> &'static str {
    match columns {
        0..=12 => "of-12",
        13..=24 => "of-24",
        25..=40 => "of-40",
        _ => "of-60",
    }
}
