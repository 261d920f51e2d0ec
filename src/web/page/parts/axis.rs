//! The range of an axis and its ticks at round numbers. The charts draw it.

use super::format;

/// A range with its ticks.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub low: f64,
    pub high: f64,
    /// (number, its text), from low to high.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// About `about` round numbers that enclose all finite `values`; without values, 0 to 1.
    pub fn around(values: impl Iterator<Item = f64>, about: usize) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-12 * high.abs().max(1e-6) {
            let margin = if high == 0.0 { 1.0 } else { high.abs() * 0.1 };
            (low, high) = (low - margin, high + margin);
        }
        let step = round_step((high - low) / about.max(1) as f64);
        // A value that is only a little beyond a tick gets no further tick.
        let (first, last) = ((low / step + 0.02).floor() as i64, (high / step - 0.02).ceil() as i64);
        Self::from_steps(first, last, step)
    }

    /// Exactly from `low` to `high`, with ticks at round whole numbers.
    pub fn whole(low: f64, high: f64, about: usize) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        let step = round_step((high - low) / about.max(1) as f64).max(1.0);
        let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
        Self { low, high, ..Self::from_steps(first, last, step) }
    }

    fn from_steps(first: i64, last: i64, step: f64) -> Self {
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let tiny = step < 1e-4;
        let tick = |i: i64| {
            let x = i as f64 * step;
            (x, if tiny { format::number(x, 2) } else { format::fixed(x, decimals) })
        };
        Self { low: first as f64 * step, high: last as f64 * step, ticks: (first..=last).map(tick).collect() }
    }

    /// The position of a number: 0 at the low end, 1 at the high end.
    pub fn place(&self, x: f64) -> f64 {
        (x - self.low) / (self.high - self.low)
    }
}

/// The smallest of 1, 2, 5 · 10ⁿ that is at least `x`.
fn round_step(x: f64) -> f64 {
    let power = 10f64.powf(x.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= 0.99 * x).unwrap_or(10.0);
    times * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.1.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        let axis = Axis::around([0.03, 1.94].into_iter(), 4);
        assert_eq!(written(&axis), ["0.0", "0.5", "1.0", "1.5", "2.0"]);
        assert_eq!((axis.low, axis.high), (0.0, 2.0));
        assert_eq!(axis.place(0.5), 0.25);
        assert_eq!(
            written(&Axis::around([-0.0213, 0.0041].into_iter(), 3)),
            ["−0.03", "−0.02", "−0.01", "0.00", "0.01"]
        );
        assert_eq!(written(&Axis::around([-7e-8, 6.0].into_iter(), 3)), ["0", "2", "4", "6"]);
        assert_eq!(written(&Axis::whole(1.0, 80.0, 4)), ["20", "40", "60", "80"]);
    }

    #[test]
    fn flat_and_empty_ranges_have_a_width() {
        let axis = Axis::around([0.3, 0.3].into_iter(), 3);
        assert!(axis.low < 0.3 && axis.high > 0.3);
        assert!(Axis::around([0.0].into_iter(), 3).ticks.len() > 2);
        assert_eq!(written(&Axis::around([f64::NAN].into_iter(), 2)), ["0.0", "0.5", "1.0"]);
        assert_eq!(written(&Axis::whole(1.0, 1.0, 4)), ["1", "2"]);
    }
}
