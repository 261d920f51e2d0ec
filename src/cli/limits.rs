//! Limits of numbers on the command line, so that a typing error is refused at once.

/// The largest number of rows, tokens or ranks that makes sense on any machine.
pub const MOST: usize = 1_000_000;

/// A whole number from 1 to `MAX`.
pub fn up_to<const MAX: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse::<u128>().ok().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=MAX).contains(n));
    number.ok_or_else(|| format!("give a whole number from 1 to {MAX}"))
}

/// `--threads`: a few more than the machine has cores do no harm; thousands would only wait for each other.
pub fn threads(text: &str) -> Result<usize, String> {
    let has = std::thread::available_parallelism().map_or(1, usize::from);
    let most = has.max(64);
    let wrong =
        || format!("this machine runs {has} threads at once: give a number from 1 to {most}, or leave --threads out");
    text.parse().ok().filter(|n| (1..=most).contains(n)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_numbers_are_refused_with_those_that_are_not() {
        assert_eq!(up_to::<MOST>("1000000"), Ok(1_000_000));
        for wrong in ["0", "-1", "1000001", "1000000000000000000000000", "many", ""] {
            assert_eq!(up_to::<MOST>(wrong), Err("give a whole number from 1 to 1000000".into()), "{wrong}");
        }
        assert_eq!((threads("1"), threads("64")), (Ok(1), Ok(64)), "some more than a machine has are fine");
        for wrong in ["0", "100000", "99999999999999999999999"] {
            assert!(threads(wrong).is_err_and(|said| said.contains("give a number from 1 to")), "{wrong}");
        }
    }
}
