//! The page's address: chapter, seed, preset, changed settings and selected row, so that a link opens the same view.
//! Plain Rust on the text behind `#`; `app` reads and writes the browser's address line.

use super::json;
use crate::settings::{Preset, values};
use serde_json::Value;
use std::collections::BTreeMap;

/// The chapters of the lab, in reading order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Chapter {
    #[default]
    SetUp,
    Policy,
    Reward,
    Toxicity,
    Trainer,
    Ppo,
    Numbers,
    Texts,
    Hacking,
    Experiments,
    Take,
}

impl Chapter {
    pub const ALL: [Self; 11] = [
        Self::SetUp,
        Self::Policy,
        Self::Reward,
        Self::Toxicity,
        Self::Trainer,
        Self::Ppo,
        Self::Numbers,
        Self::Texts,
        Self::Hacking,
        Self::Experiments,
        Self::Take,
    ];

    /// Name in the address and id of its element; number in the lab, if it has one; title.
    fn about(self) -> [&'static str; 3] {
        match self {
            Self::SetUp => ["set-up", "1", "Set up"],
            Self::Policy => ["policy", "2.1", "Data and policy"],
            Self::Reward => ["reward", "2.2", "Reward model"],
            Self::Toxicity => ["toxicity", "2.3", "Toxicity"],
            Self::Trainer => ["trainer", "3.1", "Trainer"],
            Self::Ppo => ["ppo", "3.2", "PPO"],
            Self::Numbers => ["numbers", "3.3", "Before and after, in numbers"],
            Self::Texts => ["texts", "3.4", "Before and after, in text"],
            Self::Hacking => ["hacking", "", "Reward hacking"],
            Self::Experiments => ["experiments", "", "Experiments"],
            Self::Take => ["take", "", "Take it with you"],
        }
    }

    pub fn slug(self) -> &'static str {
        self.about()[0]
    }

    pub fn number(self) -> &'static str {
        self.about()[1]
    }

    pub fn title(self) -> &'static str {
        self.about()[2]
    }

    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|chapter| chapter.slug() == slug)
    }
}

/// What a link contains. `changes` are settings that differ from the preset, with their names in config.json.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Address {
    pub chapter: Chapter,
    pub seed: u64,
    pub preset: Option<Preset>,
    pub changes: BTreeMap<String, Value>,
    /// The response's row, counted from 0 (from 1 in the address).
    pub row: Option<usize>,
    /// The quantity that the token strip shows, by its name in an address.
    pub show: Option<String>,
    /// The stage whose numbers chapter 3.2 shows.
    pub stage: Option<u8>,
    /// Whether the page is in presenter mode.
    pub present: bool,
    /// The id of an experiment (scripts/experiments.json).
    pub experiment: Option<String>,
}

impl Address {
    /// From the text behind `#`. What cannot be read is ignored, so an old link still opens.
    pub fn parse(hash: &str) -> Self {
        let hash = hash.trim_start_matches('#');
        let (slug, query) = hash.split_once('?').unwrap_or((hash, ""));
        let mut address = Self { chapter: Chapter::from_slug(slug).unwrap_or_default(), ..Self::default() };
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let (key, value) = (decode(key), decode(value));
            let from_one = || value.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            match key.as_str() {
                "seed" => address.seed = value.parse().unwrap_or_default(),
                "preset" => address.preset = values::read(Value::String(value)).ok(),
                "row" => address.row = from_one(),
                "show" => address.show = Some(value),
                "stage" => address.stage = value.parse().ok().filter(|n| (1..=12).contains(n)),
                "present" => address.present = value == "1",
                "experiment" => address.experiment = Some(value).filter(|id| is_id(id)),
                _ if is_setting(&key) => {
                    address.changes.insert(key, setting(&value));
                }
                _ => {}
            }
        }
        address
    }

    /// The id of the element that a link scrolls to.
    pub fn place(&self) -> String {
        match &self.experiment {
            Some(id) if self.chapter == Chapter::Experiments => format!("experiment-{id}"),
            _ => self.chapter.slug().to_owned(),
        }
    }

    /// The text behind `#`, without it.
    pub fn format(&self) -> String {
        let mut pairs = Vec::new();
        if self.seed != 0 {
            pairs.push(("seed".to_owned(), self.seed.to_string()));
        }
        if let Some(Ok(Value::String(preset))) = self.preset.map(serde_json::to_value) {
            pairs.push(("preset".to_owned(), preset));
        }
        for (key, value) in &self.changes {
            let text = value.as_str().map_or_else(|| values::to_json(value), str::to_owned);
            pairs.push((key.clone(), text));
        }
        pairs.extend(self.row.map(|row| ("row".to_owned(), (row + 1).to_string())));
        pairs.extend(self.show.clone().map(|show| ("show".to_owned(), show)));
        pairs.extend(self.stage.map(|stage| ("stage".to_owned(), stage.to_string())));
        pairs.extend(self.present.then(|| ("present".to_owned(), "1".to_owned())));
        pairs.extend(self.experiment.clone().map(|id| ("experiment".to_owned(), id)));
        let pairs: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        let question = if pairs.is_empty() { "" } else { "?" };
        format!("{}{question}{}", self.chapter.slug(), pairs.join("&"))
    }
}

/// Whether a key looks like the name of a setting; `settings` knows which names exist.
fn is_setting(key: &str) -> bool {
    !key.is_empty() && key.len() <= 40 && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether a text can be the id of an experiment.
fn is_id(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A number, true, false or null as JSON; anything else is a name.
fn setting(text: &str) -> Value {
    match json::parse(text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::Null)) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Percent-encodes all characters that are not plain in an address.
fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~+".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Undoes [`encode`]; a lone `%` stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        let pair = bytes.get(i + 1..i + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match pair.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[i] == b'%' => {
                out.push(byte);
                i += 3;
            }
            _ => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_link_reads_as_one_would_type_it() {
        let address = Address {
            chapter: Chapter::Ppo,
            seed: 7,
            preset: Some(Preset::Published),
            changes: [("kl_coef".to_owned(), 0.05.into()), ("kl_estimator".to_owned(), "k3".into())].into(),
            row: Some(3),
            show: Some("kl".into()),
            stage: Some(8),
            present: true,
            experiment: Some("lambda-0".into()),
        };
        let hash = "ppo?seed=7&preset=published&kl_coef=0.05&kl_estimator=k3&row=4&show=kl&stage=8&present=1&experiment=lambda-0";
        assert_eq!(address.format(), hash);
        assert_eq!(Address::parse(&format!("#{}", address.format())), address);
        assert_eq!(Address::default().format(), "set-up");
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        for hash in [
            "",
            "#",
            "#nowhere",
            "#?",
            "#set-up?&&=&row=0&stage=13&present=yes&experiment=%3Cb%3E&seed=x&preset=best&A B=1&%%=2",
        ] {
            assert_eq!(Address::parse(hash), Address::default(), "{hash}");
        }
        let null = Address::parse("#trainer?max_grad_norm=null&adaptive_kl=false");
        assert_eq!(null.changes["max_grad_norm"], Value::Null);
        assert_eq!(null.changes["adaptive_kl"], Value::Bool(false));
    }

    #[test]
    fn slugs_are_each_others() {
        for chapter in Chapter::ALL {
            assert_eq!(Chapter::from_slug(chapter.slug()), Some(chapter));
        }
    }

    proptest! {
        #[test]
        fn every_address_comes_back(
            chapter in 0usize..11,
            seed: u64,
            published: Option<bool>,
            number in -1e6..1e6f64,
            name in "[a-z_]{1,12}",
            word in "[^0-9-]{0,12}",
            row in proptest::option::of(0usize..1000),
        ) {
            let word = if serde_json::from_str::<Value>(&word).is_ok() { "word".to_owned() } else { word };
            let preset = published.map(|p| if p { Preset::Published } else { Preset::Corrected });
            let mut changes = BTreeMap::new();
            if !["seed", "preset", "row", "show", "stage", "present", "experiment"].contains(&name.as_str()) {
                changes.insert(name, Value::String(word));
            }
            changes.insert("kl_coef_".to_owned(), number.into());
            let address = Address { chapter: Chapter::ALL[chapter], seed, preset, changes, row, ..Address::default() };
            prop_assert_eq!(Address::parse(&address.format()), address);
        }

        #[test]
        fn no_text_breaks_it(hash: String) {
            let once = Address::parse(&hash);
            prop_assert_eq!(Address::parse(&once.format()), once);
        }
    }
}
