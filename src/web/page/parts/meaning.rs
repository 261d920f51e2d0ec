//! What a colour means: the four whose numbers PPO mixes, each with one hue everywhere. The hues are in
//! `static/page.css`.

/// Whose number it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Meaning {
    Policy,
    Reference,
    Reward,
    Value,
    /// Nobody's: a count, a setting, a mixture.
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

    /// The word for a legend.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Reference => "reference",
            Self::Reward => "reward",
            Self::Value => "value",
            Self::Plain => "",
        }
    }
}
