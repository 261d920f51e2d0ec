//! Numbers as text: a fixed number of digits, a true minus sign, and units.

/// Written where there is no number.
pub const NONE: &str = "–";

/// A written text; an empty one is named.
pub fn or_empty(text: &str) -> String {
    if text.is_empty() { "(empty)" } else { text }.to_owned()
}

const MINUS: char = '\u{2212}';
const SPACE: char = '\u{a0}';

/// With `decimals` digits after the point: `−0.30`. A zero has no sign.
pub fn fixed(x: f64, decimals: usize) -> String {
    if !x.is_finite() {
        return not_finite(x);
    }
    let digits = format!("{:.decimals$}", x.abs());
    let zero = digits.bytes().all(|b| matches!(b, b'0' | b'.'));
    if x < 0.0 && !zero { format!("{MINUS}{digits}") } else { digits }
}

/// As [`fixed`], with a plus sign above zero: `+1.04`.
pub fn signed(x: f64, decimals: usize) -> String {
    let digits = fixed(x, decimals);
    let zero = digits.bytes().all(|b| matches!(b, b'0' | b'.'));
    if x > 0.0 && !zero && x.is_finite() { format!("+{digits}") } else { digits }
}

/// With `digits` significant digits; in powers of ten below 0.0001 and from 1,000,000: `1.41·10⁻⁵`.
pub fn number(x: f64, digits: usize) -> String {
    if !x.is_finite() {
        return not_finite(x);
    }
    if x == 0.0 {
        return "0".into();
    }
    let exponent = x.abs().log10().floor() as i32;
    if !(-4..6).contains(&exponent) {
        return scientific(x, digits);
    }
    let decimals = (digits as i32 - 1 - exponent).clamp(0, 10) as usize;
    fixed(x, decimals)
}

/// A setting's number, without trailing zeros: `0.2`, `1.41·10⁻⁵`, `400`.
pub fn setting(x: f64) -> String {
    let plain = number(x, 6);
    match plain.split_once('·') {
        Some((mantissa, power)) => format!("{}·{power}", trimmed(mantissa)),
        None => trimmed(&plain).to_string(),
    }
}

/// A typed text as a number. The browser parses it: the standard library's parser would add a table of 10 kB that
/// cannot be compressed.
pub fn read(text: &str) -> Option<f64> {
    let text = text.trim().replace(MINUS, "-");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(&text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    // JSON needs a digit before the point, no leading zeros, and a digit after a point.
    let whole = digits.strip_suffix('.').filter(|digits| !digits.is_empty()).unwrap_or(digits);
    let bare = whole.trim_start_matches('0');
    let zero = if bare.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "0" };
    let number = super::super::json::parse(&format!("{zero}{bare}")).ok()?.as_f64()?;
    Some(sign * number)
}

/// With four decimals, or in powers of ten if it is tiny: `0.9867`, `3.1·10⁻⁶`.
pub fn probability(p: f64) -> String {
    if p != 0.0 && p.abs() < 5e-5 { scientific(p, 2) } else { fixed(p, 4) }
}

/// A share as a percentage, the sign kept: `42.5 %`.
pub fn percent(share: f64, decimals: usize) -> String {
    format!("{}{SPACE}%", fixed(share * 100.0, decimals))
}

/// A whole number in groups of three: `247,577,856`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size in decimal units: `12.4 MB`.
pub fn bytes(n: u64) -> String {
    let x = n as f64;
    match n {
        0..1_000 => format!("{n}{SPACE}B"),
        1_000..1_000_000 => format!("{}{SPACE}kB", fixed(x / 1e3, 0)),
        1_000_000..1_000_000_000 => format!("{}{SPACE}MB", fixed(x / 1e6, 1)),
        _ => format!("{}{SPACE}GB", fixed(x / 1e9, 2)),
    }
}

/// A duration: `0.4 s`, `12 s`, `1 min 20 s`, `2 h 5 min`.
pub fn seconds(s: f64) -> String {
    if !s.is_finite() {
        return NONE.into();
    }
    let whole = s.max(0.0).round() as u64;
    match whole {
        _ if s < 9.95 => format!("{}{SPACE}s", fixed(s.max(0.0), 1)),
        0..60 => format!("{whole}{SPACE}s"),
        60..3600 => format!("{}{SPACE}min {}{SPACE}s", whole / 60, whole % 60),
        _ => format!("{}{SPACE}h {}{SPACE}min", whole / 3600, whole % 3600 / 60),
    }
}

fn not_finite(x: f64) -> String {
    match x {
        f64::INFINITY => "∞".into(),
        f64::NEG_INFINITY => format!("{MINUS}∞"),
        _ => NONE.into(),
    }
}

fn scientific(x: f64, digits: usize) -> String {
    let decimals = digits.saturating_sub(1);
    let written = format!("{:.decimals$e}", x.abs());
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let power: String = exponent.chars().map(raised).collect();
    let sign = if x < 0.0 { String::from(MINUS) } else { String::new() };
    format!("{sign}{mantissa}·10{power}")
}

fn raised(digit: char) -> char {
    digit.to_digit(10).and_then(|d| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(d as usize)).unwrap_or('⁻')
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs() {
        assert_eq!(fixed(-0.3, 2), "−0.30");
        assert_eq!(fixed(-0.001, 2), "0.00", "a zero has no sign");
        assert_eq!(signed(1.04, 2), "+1.04");
        assert_eq!(signed(-1.04, 1), "−1.0");
        assert_eq!(signed(0.001, 2), "0.00");
        assert_eq!((fixed(f64::NAN, 2), signed(f64::NEG_INFINITY, 2)), ("–".into(), "−∞".into()));
    }

    #[test]
    fn significant_digits() {
        assert_eq!(number(0.0, 4), "0");
        assert_eq!(number(-1.32456, 4), "−1.325");
        assert_eq!(number(123_456.0, 3), "123456");
        assert_eq!(number(0.000_123_4, 3), "0.000123");
        assert_eq!(number(-0.000_012_34, 3), "−1.23·10⁻⁵");
        assert_eq!(number(12_345_678.0, 3), "1.23·10⁷");
    }

    #[test]
    fn settings_are_as_typed() {
        assert_eq!(setting(0.2), "0.2");
        assert_eq!(setting(400.0), "400");
        assert_eq!(setting(10_000.0), "10000");
        assert_eq!(setting(1.41e-5), "1.41·10⁻⁵");
        assert_eq!(setting(1e-8), "1·10⁻⁸");
        assert_eq!(setting(0.0), "0");
    }

    #[test]
    fn typed_numbers_are_read() {
        for (text, number) in [
            ("0.2", 0.2),
            (" 1.4e-5 ", 1.4e-5),
            ("-3", -3.0),
            ("\u{2212}0.5", -0.5),
            ("+.5", 0.5),
            ("007", 7.0),
            ("5.", 5.0),
            ("0", 0.0),
            ("0.1000000000000000055511151231257827", 0.1),
        ] {
            assert_eq!(read(text), Some(number), "{text}");
        }
        for text in ["", ".", "-", "--1", "+-1", "much", "1,5", "0x10", "inf", "NaN", "1e999", "1 2"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn shares_and_counts() {
        assert_eq!(probability(0.986_719), "0.9867");
        assert_eq!(probability(3.14e-6), "3.1·10⁻⁶");
        assert_eq!(probability(0.0), "0.0000");
        assert_eq!(percent(0.425, 1), "42.5\u{a0}%");
        assert_eq!(percent(-0.68, 0), "−68\u{a0}%");
        assert_eq!((count(7), count(1_000), count(247_577_856)), ("7".into(), "1,000".into(), "247,577,856".into()));
    }

    #[test]
    fn units_follow_the_number() {
        assert_eq!((bytes(999), bytes(12_400_000)), ("999\u{a0}B".into(), "12.4\u{a0}MB".into()));
        assert_eq!((bytes(1_500), bytes(990_000_000)), ("2\u{a0}kB".into(), "990.0\u{a0}MB".into()));
        assert_eq!(seconds(0.42), "0.4\u{a0}s");
        assert_eq!(seconds(12.4), "12\u{a0}s");
        assert_eq!(seconds(80.0), "1\u{a0}min 20\u{a0}s");
        assert_eq!(seconds(7_500.0), "2\u{a0}h 5\u{a0}min");
        assert_eq!(seconds(f64::INFINITY), "–");
    }
}
