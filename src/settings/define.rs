//! The data about a setting, and two macros: `settings!` makes [`PpoConfig`](super::PpoConfig) and its table, `choices!` makes
//! the types of settings with named values.

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// As in `config.json`.
    pub name: &'static str,
    /// The title of its group in [`GROUPS`](super::GROUPS).
    pub group: &'static str,
    /// What it does, in one sentence without a full stop.
    pub does: &'static str,
    /// Empty for a number without a unit.
    pub unit: &'static str,
    pub kind: Kind,
    /// The allowed values; only numbers have a range.
    pub range: Option<Range>,
    /// Other names that `--config` accepts: TRL's `PPOConfig` of several versions, transformers', the notebook's.
    pub aliases: &'static [&'static str],
    /// If the presets differ: what the published behaviour does to the numbers.
    pub why: Option<&'static str>,
    /// The first part of a step whose numbers it changes.
    pub changes: Part,
    /// Whether *what if* can recompute a finished step under another value without a model.
    pub recomputed: bool,
}

/// The type of a setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Number,
    Whole,
    /// A number, or null for none.
    OptionalNumber,
    OptionalWhole,
    Switch,
    /// One of these named values.
    Choice(&'static [Choice]),
}

/// A named value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    pub name: &'static str,
    pub means: &'static str,
}

/// A part of a PPO step or of the work around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Sampling the responses.
    Responses,
    /// The text that the reward model reads, and which of its numbers is the score.
    Scores,
    /// Log-probabilities and values before the update.
    Forward,
    /// Rewards of tokens.
    Rewards,
    Advantages,
    Loss,
    /// The weights after the step.
    Update,
    /// What is measured before and after training.
    Evaluation,
}

impl Part {
    /// The name in texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Scores => "scores",
            Self::Forward => "log-probs and values",
            Self::Rewards => "per-token rewards",
            Self::Advantages => "advantages",
            Self::Loss => "loss",
            Self::Update => "update",
            Self::Evaluation => "evaluation",
        }
    }
}

/// The numbers from `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    pub low: f64,
    pub high: f64,
}

/// The largest f64 below one.
const JUST_BELOW_ONE: f64 = 1.0 - f64::EPSILON / 2.0;

/// Larger numbers of rows, passes or tokens are typing errors.
const MOST: f64 = 65536.0;

impl Range {
    pub const AT_LEAST_0: Self = Self { low: 0.0, high: f64::MAX };
    pub const ABOVE_0: Self = Self { low: f64::MIN_POSITIVE, high: f64::MAX };
    /// 0 to 1.
    pub const SHARE: Self = Self { low: 0.0, high: 1.0 };
    /// A probability that is not 0.
    pub const PROBABILITY: Self = Self { low: f64::MIN_POSITIVE, high: 1.0 };
    pub const BELOW_1: Self = Self { low: 0.0, high: JUST_BELOW_ONE };
    /// A count of at least one.
    pub const COUNT: Self = Self { low: 1.0, high: MOST };
    /// A count that may be 0.
    pub const LENGTH: Self = Self { low: 0.0, high: MOST };

    /// Whether `value` is allowed; NaN never is.
    pub fn allows(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// The range in words, such as `a number from 0 to 1`.
impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.low, self.high) {
            (f64::MIN_POSITIVE, f64::MAX) => write!(f, "a number above 0"),
            (low, f64::MAX) => write!(f, "a finite number of at least {low}"),
            (f64::MIN_POSITIVE, high) => write!(f, "a number above 0 and at most {high}"),
            (low, JUST_BELOW_ONE) => write!(f, "a number from {low} to below 1"),
            (low, high) => write!(f, "a number from {low} to {high}"),
        }
    }
}

/// A type that a setting can have.
pub trait Type {
    const KIND: Kind;

    /// The value as a number to check against the [`Range`]; none if there is nothing to check.
    fn number(&self) -> Option<f64> {
        None
    }
}

macro_rules! number_types {
    ($($type:ty, $kind:ident, $optional:ident;)*) => {$(
        impl Type for $type {
            const KIND: Kind = Kind::$kind;

            fn number(&self) -> Option<f64> {
                Some(*self as f64)
            }
        }

        impl Type for Option<$type> {
            const KIND: Kind = Kind::$optional;

            fn number(&self) -> Option<f64> {
                self.map(|x| x as f64)
            }
        }
    )*};
}

number_types! {
    f64, Number, OptionalNumber;
    u64, Whole, OptionalWhole;
    usize, Whole, OptionalWhole;
}

impl Type for bool {
    const KIND: Kind = Kind::Switch;
}

/// Enums whose variants are written as names: `/// meaning`, then `Variant = "name" | "another name that is read"`.
macro_rules! choices {
    ($(
        $(#[doc = $about:literal])+
        $type:ident { $( #[doc = $means:literal] $variant:ident = $name:tt $(| $alias:tt)*; )+ }
    )+) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $(
                #[doc = $means]
                #[serde(rename = $name $(, alias = $alias)*)]
                $variant,
            )+
        }

        impl Type for $type {
            const KIND: Kind = Kind::Choice(&[
                $( Choice { name: $name, means: $means.trim_ascii() }, )+
            ]);
        }
    )+};
}

/// The table: groups with a title and a description, and in each group entries of the form
/// `/// what it does`, `name: type = default[, published value => "why"][, unit "…"][, range …][, alias […]], changes Part
/// [recomputed];`. Makes the struct, its presets and the table.
macro_rules! settings {
    (
        $(#[doc = $about_all:literal])+
        $config:ident
        $($title:literal: $about:literal {$(
            #[doc = $does:literal]
            $name:ident: $type:ty = $default:expr
            $(, published $published:expr => $why:literal)?
            $(, unit $unit:literal)?
            $(, range $range:ident)?
            $(, alias [$($alias:literal),+])?
            , changes $part:ident $($recomputed:ident)?;
        )+})+
    ) => {
        $(#[doc = $about_all])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[allow(rustdoc::invalid_html_tags, reason = "texts name tokens such as <pad>")]
        pub struct $config {
            $($(
                #[doc = concat!($does, "." $(, " Unit: ", $unit, ".")? $(, " Published and corrected differ: ", $why, ".")?)]
                pub $name: $type,
            )+)+
        }

        impl $config {
            /// All settings of a preset. The presets differ only in what [`differences`](Self::differences) lists.
            pub fn preset(preset: Preset) -> Self {
                let published = preset == Preset::Published;
                Self { $($($name: settings!(@value published, $default $(, $published)?),)+)+ }
            }

            /// From an object with all settings. Smaller code than that of the derived `Deserialize`, which the page would have twice.
            pub(super) fn from_fields(
                mut fields: serde_json::Map<String, serde_json::Value>,
            ) -> Result<Self, serde::de::value::Error> {
                Ok(Self { $($($name: crate::settings::values::field(&mut fields, stringify!($name))?,)+)+ })
            }

            /// Every setting as a number, in the table's order; none if it is not a number or not set.
            pub(super) fn numbers(&self) -> [Option<f64>; SETTINGS.len()] {
                [$($(Type::number(&self.$name),)+)+]
            }
        }

        /// The groups in order, with their descriptions.
        pub const GROUPS: &[(&str, &str)] = &[$(($title, $about),)+];

        /// All settings, in the order of `config.json`.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            name: stringify!($name),
            group: $title,
            does: $does.trim_ascii(),
            unit: concat!("" $(, $unit)?),
            kind: <$type as Type>::KIND,
            range: settings!(@optional $(Range::$range)?),
            aliases: &[$($($alias),+)?],
            why: settings!(@optional $($why)?),
            changes: Part::$part,
            recomputed: settings!(@is_there $($recomputed)?),
        },)+)+];
    };
    (@value $is:ident, $default:expr) => { $default };
    (@value $is:ident, $default:expr, $published:expr) => { if $is { $published } else { $default } };
    (@optional) => { None };
    (@optional $value:expr) => { Some($value) };
    (@is_there) => { false };
    (@is_there recomputed) => { true };
}

pub(super) use {choices, settings};
