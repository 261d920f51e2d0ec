//! Places by a number, the smallest first. One sort for all lists: each that is compiled costs the page 1.4 kB to download.

/// The places of `keys` so that their numbers rise; equal ones keep their order.
pub fn rising(keys: impl Iterator<Item = f64>) -> Vec<usize> {
    sorted(keys.collect())
}

#[inline(never)]
fn sorted(keys: Vec<f64>) -> Vec<usize> {
    let mut places: Vec<usize> = (0..keys.len()).collect();
    places.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
    places
}

#[cfg(test)]
mod tests {
    use super::rising;

    #[test]
    fn equal_numbers_keep_their_order() {
        assert_eq!(rising([2.0, -1.0, 2.0, 0.5].into_iter()), [1, 3, 0, 2]);
    }
}
