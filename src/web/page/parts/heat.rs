//! Numbers as colours: signed quantities on a diverging scale around a neutral number, others on a sequential one. There
//! are few levels, each with a CSS class (`static/parts.css`). The number is always written too.

use super::sums::Quantity;
use crate::protocol::{Grid, Grids};

/// Distance from the neutral colour, at most [`LEVELS`] on each side.
pub type Level = i8;

/// Colours on each side.
pub const LEVELS: Level = 4;

/// What a number is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The neutral number.
    pub centre: f32,
    /// The distance from it that has the strongest colour.
    pub reach: f32,
    /// Whether there are numbers on both sides of the centre.
    pub diverging: bool,
}

impl Scale {
    /// For a quantity over all trained tokens of a batch.
    pub fn over(quantity: Quantity, grids: &Grids) -> Self {
        let centre = if quantity == Quantity::Ratio { 1.0 } else { 0.0 };
        let diverging = !matches!(quantity, Quantity::Logprob | Quantity::RefLogprob);
        // Both log-probs have the same scale, so that they can be compared.
        let reach = match quantity {
            Quantity::Logprob | Quantity::RefLogprob => {
                reach(&grids.old_logprobs, &grids.mask, centre).max(reach(&grids.ref_logprobs, &grids.mask, centre))
            }
            other => reach(other.of(grids), &grids.mask, centre),
        };
        Self { centre, reach, diverging }
    }

    /// For any grid of signed numbers.
    pub fn signed(grid: &Grid, mask: &Grid) -> Self {
        Self { centre: 0.0, reach: reach(grid, mask, 0.0), diverging: true }
    }

    /// The level of a number. It grows with the square root of the distance, so that one large number does not make all
    /// others pale.
    pub fn level(&self, x: f32) -> Level {
        let distance = x - self.centre;
        if !distance.is_finite() || self.reach <= 0.0 {
            return 0;
        }
        let part = (distance.abs() / self.reach).min(1.0).sqrt();
        let level = (part * f32::from(LEVELS)).round() as Level;
        if distance < 0.0 && self.diverging { -level } else { level }
    }

    /// The numbers at the ends of a legend.
    pub fn ends(&self) -> (f32, f32) {
        match self.diverging {
            true => (self.centre - self.reach, self.centre + self.reach),
            false => (self.centre, self.centre - self.reach), // log-probs: 0 is the pale end
        }
    }

    /// All levels from end to end.
    pub fn levels(&self) -> std::ops::RangeInclusive<Level> {
        if self.diverging { -LEVELS..=LEVELS } else { 0..=LEVELS }
    }

    /// The CSS class of a level.
    pub fn class(&self, level: Level) -> &'static str {
        let classes = match self.diverging {
            true => ["h-n4", "h-n3", "h-n2", "h-n1", "h-0", "h-p1", "h-p2", "h-p3", "h-p4"],
            false => ["h-n4", "h-n3", "h-n2", "h-n1", "h-0", "h-m1", "h-m2", "h-m3", "h-m4"],
        };
        classes[(LEVELS + level.clamp(-LEVELS, LEVELS)) as usize]
    }
}

/// The largest distance from `centre` in trained columns.
fn reach(grid: &Grid, mask: &Grid, centre: f32) -> f32 {
    let trained = grid.data.iter().zip(&mask.data).filter(|(_, m)| **m > 0.0);
    trained.map(|(x, _)| (x - centre).abs()).filter(|x| x.is_finite()).fold(0.0, f32::max)
}

/// A row of numbers as SVG paths, one for each level, in a view box as wide as the row and 1 high: (class, `d`).
pub fn paths(numbers: &[f32], scale: &Scale) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    for level in scale.levels() {
        let places = numbers.iter().enumerate().filter(|(_, x)| scale.level(**x) == level);
        let d: String = places.map(|(k, _)| format!("M{k} 0h1v1h-1z")).collect();
        if !d.is_empty() {
            out.push((scale.class(level), d));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(reach: f32) -> Scale {
        Scale { centre: 0.0, reach, diverging: true }
    }

    #[test]
    fn shades_have_two_sides_or_one() {
        let scale = signed(4.0);
        let levels: Vec<Level> = [-4.0, -1.0, -0.0001, 0.0, 0.25, 1.0, 9.0].map(|x| scale.level(x)).to_vec();
        assert_eq!(levels, [-4, -2, 0, 0, 1, 2, 4]);
        let one_sided = Scale { diverging: false, ..scale };
        assert_eq!((one_sided.level(-4.0), one_sided.level(0.0)), (4, 0));
        assert_eq!(
            (scale.class(-4), scale.class(3), one_sided.class(2), scale.class(0)),
            ("h-n4", "h-p3", "h-m2", "h-0")
        );
    }

    #[test]
    fn nothing_has_no_shade() {
        assert_eq!((signed(0.0).level(1.0), signed(1.0).level(f32::NAN)), (0, 0));
    }

    #[test]
    fn a_row_becomes_one_path_a_shade() {
        let paths = paths(&[4.0, -4.0, 4.0], &signed(4.0));
        assert_eq!(paths, [("h-n4", "M1 0h1v1h-1z".to_string()), ("h-p4", "M0 0h1v1h-1zM2 0h1v1h-1z".to_string())]);
    }
}
