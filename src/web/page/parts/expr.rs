//! An arithmetic expression that can be computed, and written with names or with numbers. `sums` builds them.

use super::format;
use super::meaning::Meaning;

/// An expression of named inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Input {
        name: &'static str,
        value: f64,
        meaning: Meaning,
        /// Chosen by a person and written as typed; otherwise computed.
        setting: bool,
    },
    /// A number without a name, such as the 1 of `− 1`.
    Constant(f64),
    Negative(Box<Expr>),
    Add(Box<Expr>, Box<Expr>),
    Subtract(Box<Expr>, Box<Expr>),
    Multiply(Box<Expr>, Box<Expr>),
    Divide(Box<Expr>, Box<Expr>),
    Exp(Box<Expr>),
    Log(Box<Expr>),
    Absolute(Box<Expr>),
    Square(Box<Expr>),
}

/// A piece of a written expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub text: String,
    /// The name of an input; none for signs and brackets.
    pub name: Option<&'static str>,
    pub meaning: Meaning,
}

/// A computed input.
pub fn input(name: &'static str, value: impl Into<f64>, meaning: Meaning) -> Expr {
    Expr::Input { name, value: value.into(), meaning, setting: false }
}

/// An input that a person chose.
pub fn setting(name: &'static str, value: f64) -> Expr {
    Expr::Input { name, value, meaning: Meaning::Plain, setting: true }
}

impl Expr {
    pub fn plus(self, other: Expr) -> Expr {
        Expr::Add(Box::new(self), Box::new(other))
    }

    pub fn minus(self, other: Expr) -> Expr {
        Expr::Subtract(Box::new(self), Box::new(other))
    }

    pub fn times(self, other: Expr) -> Expr {
        Expr::Multiply(Box::new(self), Box::new(other))
    }

    pub fn over(self, other: Expr) -> Expr {
        Expr::Divide(Box::new(self), Box::new(other))
    }

    pub fn negative(self) -> Expr {
        Expr::Negative(Box::new(self))
    }

    /// Its value.
    pub fn value(&self) -> f64 {
        match self {
            Self::Input { value, .. } | Self::Constant(value) => *value,
            Self::Negative(a) => -a.value(),
            Self::Add(a, b) => a.value() + b.value(),
            Self::Subtract(a, b) => a.value() - b.value(),
            Self::Multiply(a, b) => a.value() * b.value(),
            Self::Divide(a, b) => a.value() / b.value(),
            Self::Exp(a) => a.value().exp(),
            Self::Log(a) => a.value().ln(),
            Self::Absolute(a) => a.value().abs(),
            Self::Square(a) => a.value() * a.value(),
        }
    }

    /// With the inputs' names: `−kl_coef · (logprob − reference logprob)`.
    pub fn names(&self) -> Vec<Term> {
        self.written(false)
    }

    /// With the inputs' numbers: `−0.3 · (−1.3200 − (−2.0700))`.
    pub fn numbers(&self) -> Vec<Term> {
        self.written(true)
    }

    fn written(&self, numbers: bool) -> Vec<Term> {
        let mut out = Vec::new();
        self.write(numbers, &mut out);
        out
    }

    fn write(&self, numbers: bool, out: &mut Vec<Term>) {
        match self {
            Self::Input { name, value, meaning, setting } => {
                let text = if numbers { written_number(*value, *setting) } else { (*name).to_string() };
                out.push(Term { text, name: Some(name), meaning: *meaning });
            }
            Self::Constant(value) => out.push(sign(&format::setting(*value))),
            Self::Negative(a) => {
                out.push(sign("−"));
                a.bracketed(a.strength() < 2 || a.looks_negative(numbers), numbers, out);
            }
            Self::Add(a, b) => {
                a.write(numbers, out);
                out.push(sign(" + "));
                b.bracketed(b.looks_negative(numbers), numbers, out);
            }
            Self::Subtract(a, b) => {
                a.write(numbers, out);
                out.push(sign(" − "));
                b.bracketed(b.strength() < 2 || b.looks_negative(numbers), numbers, out);
            }
            Self::Multiply(a, b) => {
                a.bracketed(a.strength() < 2, numbers, out);
                out.push(sign(" · "));
                b.bracketed(b.strength() < 2 || b.looks_negative(numbers), numbers, out);
            }
            Self::Divide(a, b) => {
                a.bracketed(a.strength() < 2, numbers, out);
                out.push(sign(" / "));
                b.bracketed(b.strength() < 3 || b.looks_negative(numbers), numbers, out);
            }
            Self::Exp(a) => a.applied("exp", numbers, out),
            Self::Log(a) => a.applied("log", numbers, out),
            Self::Absolute(a) => {
                out.push(sign("|"));
                a.write(numbers, out);
                out.push(sign("|"));
            }
            Self::Square(a) => {
                a.bracketed(a.strength() < 3 || a.looks_negative(numbers), numbers, out);
                out.push(sign("²"));
            }
        }
    }

    fn bracketed(&self, brackets: bool, numbers: bool, out: &mut Vec<Term>) {
        if brackets {
            self.applied("", numbers, out);
        } else {
            self.write(numbers, out);
        }
    }

    fn applied(&self, function: &str, numbers: bool, out: &mut Vec<Term>) {
        out.push(sign(&format!("{function}(")));
        self.write(numbers, out);
        out.push(sign(")"));
    }

    /// Precedence: sums 1, products 2, everything else 3.
    fn strength(&self) -> u8 {
        match self {
            Self::Add(..) | Self::Subtract(..) => 1,
            Self::Multiply(..) | Self::Divide(..) | Self::Negative(_) => 2,
            _ => 3,
        }
    }

    /// Whether its text begins with a minus sign.
    fn looks_negative(&self, numbers: bool) -> bool {
        match self {
            Self::Input { value, setting, .. } => numbers && written_number(*value, *setting).starts_with('\u{2212}'),
            Self::Constant(value) => *value < 0.0,
            Self::Negative(_) => true,
            Self::Add(a, _) | Self::Subtract(a, _) | Self::Multiply(a, _) | Self::Divide(a, _) => {
                a.looks_negative(numbers)
            }
            _ => false,
        }
    }
}

/// The terms as one line of text.
pub fn plain(terms: &[Term]) -> String {
    terms.iter().map(|term| term.text.as_str()).collect()
}

/// A setting as it was typed; a computed number with four decimals, or with three digits if it is small.
fn written_number(value: f64, setting: bool) -> String {
    if setting {
        return format::setting(value);
    }
    if value != 0.0 && value.abs() < 1e-3 { format::number(value, 3) } else { format::fixed(value, 4) }
}

fn sign(text: &str) -> Term {
    Term { text: text.into(), name: None, meaning: Meaning::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reward() -> Expr {
        let apart =
            input("logprob", -1.32, Meaning::Policy).minus(input("reference logprob", -2.07, Meaning::Reference));
        let score = input("score", 2.915, Meaning::Reward);
        setting("kl_coef", 0.3).negative().times(apart).plus(score)
    }

    #[test]
    fn one_tree_is_computed_and_written() {
        assert!((reward().value() - 2.69).abs() < 1e-12);
        assert_eq!(plain(&reward().names()), "−kl_coef · (logprob − reference logprob) + score");
        assert_eq!(plain(&reward().numbers()), "−0.3 · (−1.3200 − (−2.0700)) + 2.9150");
    }

    #[test]
    fn brackets_are_written_where_needed() {
        let x = |value| input("x", value, Meaning::Value);
        assert_eq!(plain(&x(1.0).plus(x(-2.0)).numbers()), "1.0000 + (−2.0000)");
        assert_eq!(plain(&x(1.0).minus(x(2.0).minus(x(3.0))).numbers()), "1.0000 − (2.0000 − 3.0000)");
        assert_eq!(plain(&x(1.0).plus(x(2.0)).over(x(4.0)).numbers()), "(1.0000 + 2.0000) / 4.0000");
        assert_eq!(plain(&Expr::Exp(Box::new(x(-1.0).minus(x(2.0)))).numbers()), "exp(−1.0000 − 2.0000)");
        assert_eq!(plain(&Expr::Square(Box::new(x(-1.0))).numbers()), "(−1.0000)²");
        assert_eq!(plain(&x(0.0).plus(x(-0.000_012_3)).numbers()), "0.0000 + (−1.23·10⁻⁵)");
    }
}
