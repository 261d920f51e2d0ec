//! What a colour means: policy, reference, reward model and value head have one colour each, everywhere
//! (`static/page.css`).

/// Where a number comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Meaning {
    Policy,
    Reference,
    Reward,
    Value,
    /// None of the four: a count, a setting, or a mixture.
    #[default]
    Plain,
}

impl Meaning {
    /// The CSS class that sets `--hue` and `--hue-soft`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Policy => "m-policy",
            Self::Reference => "m-reference",
            Self::Reward => "m-reward",
            Self::Value => "m-value",
            Self::Plain => "m-plain",
        }
    }
}
