//! Will it fit? The forecasts of `lab::memory` for this door's commands, asked before anything large is loaded, against what
//! the machine has or what `--memory` says.

use super::machine;
use super::models::{find, policy_tokenizer};
use super::shipped::Part;
use super::terminal::Terminal;
use crate::encoding;
use crate::error::{Error, Result};
use crate::io::ByteSource;
use crate::io::adapter_config::{AdapterConfig, CONFIG_FILE};
use crate::io::weights::Described;
use crate::lab::head;
pub use crate::lab::memory::Tokens;
use crate::lab::memory::{
    Forecast, adapted, finetune, generation, longest_response, longest_scored, ppo, scoring, teacher_forced,
};
use crate::lab::models::{Precision, RobertaConfig, T5Config, policy_in_memory, reward_in_memory};
use crate::settings::PpoConfig;
use crate::text::dialogue::Dialogue;
use crate::text::prompt::prompt;
use crate::text::tokenizer::Tokenizer;
use std::borrow::Cow;
use std::sync::OnceLock;

/// `--memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Bytes(u64),
    Unlimited,
}

impl std::str::FromStr for Limit {
    type Err = String;

    /// `8GB`, `500MB`, `unlimited`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text[number.len()..].to_uppercase().as_str() {
            "GB" | "G" => 1e9,
            "MB" | "M" => 1e6,
            _ => return Err("give a size such as 8GB or 500MB, or unlimited".into()),
        };
        match number.parse::<f64>() {
            Ok(n) if n > 0.0 && n.is_finite() => Ok(Self::Bytes((n * unit) as u64)),
            _ => Err("give a size such as 8GB or 500MB, or unlimited".into()),
        }
    }
}

static GIVEN: OnceLock<Limit> = OnceLock::new();

/// Plans with this much instead of what the machine says; set once, from the command line.
pub fn plan_with(limit: Option<Limit>) {
    if let Some(limit) = limit {
        let _ = GIVEN.set(limit);
    }
}

/// What may be used; none where nothing is known or nothing shall be asked.
fn free() -> Option<u64> {
    match GIVEN.get() {
        Some(Limit::Bytes(bytes)) => Some(*bytes),
        Some(Limit::Unlimited) => None,
        None => machine::memory().map(|memory| memory.free),
    }
}

/// 1234567890 → 1.23 GB.
pub fn size(bytes: u64) -> String {
    if bytes >= 1_000_000_000 {
        format!("{:.2} GB", bytes as f64 / 1e9)
    } else {
        format!("{} MB", bytes.div_ceil(1_000_000))
    }
}

/// A policy's shape, and what its files hold.
type Base = (T5Config, Vec<Described>);

/// What a policy's folder says before it is loaded: of all its tensors where they are trained, else of those in memory.
fn policy(source: &dyn ByteSource, trained: bool) -> Result<Base> {
    let config = head::config(source)?;
    let tensors = if trained { head::describe(source, &config)? } else { policy_in_memory(source, &config)? };
    Ok((config, tensors))
}

fn reward(source: &dyn ByteSource) -> Result<(RobertaConfig, Vec<Described>)> {
    let bytes = source.read("config.json")?;
    let text = encoding::text(&source.path("config.json"), &bytes)?;
    let config = RobertaConfig::from_json(&text).map_err(|e| named(e, &source.name()))?;
    Ok((config, reward_in_memory(source)?))
}

/// What an adapter's folder says of it.
pub fn adapter_config(source: &dyn ByteSource) -> Result<AdapterConfig> {
    AdapterConfig::parse(&source.read(CONFIG_FILE)?, &source.path(CONFIG_FILE))
}

/// Texts that are scored at once.
const SCORED: usize = 16;

/// What a command gives the policy to read.
pub enum Prompts<'a> {
    /// Whole prompts.
    Texts(Vec<Cow<'a, str>>),
    /// Tokens of the longest.
    Tokens(usize),
}

/// Texts that are tokenized to find the longest in tokens: the longest in bytes.
const TOKENIZED: usize = 16;

impl<'a> Prompts<'a> {
    /// The prompts of dialogues.
    pub fn of(dialogues: impl IntoIterator<Item = &'a Dialogue>) -> Self {
        Self::Texts(dialogues.into_iter().map(|d| prompt(&d.dialogue).into()).collect())
    }

    /// A number of tokens that no prompt is above: a token has at least a byte, apart from a mark at the start and one at
    /// the end.
    fn bound(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.iter().map(|text| text.len()).max().unwrap_or(0) + 2,
            Self::Tokens(tokens) => *tokens,
        }
    }

    /// Tokens of the longest prompt.
    fn longest(&self, tokenizer: &Tokenizer) -> Result<usize> {
        let texts = match self {
            Self::Tokens(tokens) => return Ok(*tokens),
            Self::Texts(texts) => texts,
        };
        let mut longest: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        longest.sort_by_key(|text| std::cmp::Reverse(text.len()));
        longest.truncate(TOKENIZED);
        let tokens = longest.into_iter().map(|text| tokenizer.encode(text).map(|ids| ids.len()));
        Ok(tokens.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0))
    }
}

/// The models of a command by their arguments, before they are loaded. What the hub has to send comes now.
pub struct Models<'a> {
    pub policy: Option<&'a str>,
    pub reward: Option<&'a str>,
    pub precision: Precision,
}

impl Models<'_> {
    /// The models' weights (`trained`: every parameter of the policy), and what scoring texts of `tokens` tokens takes; the
    /// policy's shape and tensors.
    fn loaded(&self, tokens: usize, trained: bool, terminal: &mut Terminal) -> Result<(Forecast, Option<Base>)> {
        let mut forecast = Forecast::new();
        let base = match self.policy {
            Some(src) => Some(policy(&*find(src, Part::Policy, terminal)?, trained)?),
            None => None,
        };
        if let Some((_, tensors)) = &base {
            forecast.weights("the policy", tensors, self.precision);
        }
        if let Some(src) = self.reward {
            let (config, tensors) = reward(&*find(src, Part::Reward, terminal)?)?;
            forecast.weights("the reward model", &tensors, self.precision);
            forecast.phase(format!("scoring {SCORED} texts"), scoring(&config, SCORED, tokens));
        }
        Ok((forecast, base))
    }

    /// PPO steps with an adapter of this configuration over these prompts.
    ///
    /// # Errors
    /// More memory than there is, with the sum; files that cannot be read.
    pub fn ask_ppo(
        &self,
        adapter: &AdapterConfig,
        config: &PpoConfig,
        prompts: &Prompts<'_>,
        terminal: &mut Terminal,
    ) -> Result<()> {
        self.ask_about(prompts, terminal, |prompt, terminal| {
            self.ask_steps(adapter, config, Tokens { prompt, response: longest_response(config) }, terminal)
        })
    }

    /// PPO steps on rows of so many tokens.
    ///
    /// # Errors
    /// As [`Models::ask_ppo`].
    pub fn ask_steps(
        &self,
        adapter: &AdapterConfig,
        config: &PpoConfig,
        tokens: Tokens,
        terminal: &mut Terminal,
    ) -> Result<()> {
        let (mut forecast, base) = self.loaded(longest_scored(config, tokens), false, terminal)?;
        if let Some((c, tensors)) = base {
            ppo(&mut forecast, &c, &adapted(adapter, &tensors), config, tokens);
        }
        self.ask(
            &forecast,
            "lower mini_batch_size, batch_size or output_max_length in --config, or take shorter dialogues",
        )
    }

    /// Generation of up to `new` tokens for each of these prompts, `rows` of them at once.
    ///
    /// # Errors
    /// As [`Models::ask_ppo`].
    pub fn ask_generation(
        &self,
        rows: usize,
        prompts: &Prompts<'_>,
        new: usize,
        lower: &str,
        terminal: &mut Terminal,
    ) -> Result<()> {
        self.ask_about(prompts, terminal, |prompt, terminal| {
            let (mut forecast, base) = self.loaded(prompt.saturating_add(new), false, terminal)?;
            if let Some((c, _)) = base {
                generation(&mut forecast, &c, rows, Tokens { prompt, response: new });
            }
            self.ask(&forecast, lower)
        })
    }

    /// The numbers of given rows of up to so many tokens, one row at a time.
    ///
    /// # Errors
    /// As [`Models::ask_ppo`].
    pub fn ask_given(&self, tokens: Tokens, terminal: &mut Terminal) -> Result<()> {
        let (mut forecast, base) = self.loaded(0, false, terminal)?;
        if let Some((c, _)) = base {
            teacher_forced(&mut forecast, &c, tokens);
        }
        self.ask(&forecast, "take shorter rows")
    }

    /// Scoring of texts whose longest has so many tokens.
    ///
    /// # Errors
    /// As [`Models::ask_ppo`].
    pub fn ask_scoring(&self, tokens: usize, terminal: &mut Terminal) -> Result<()> {
        let (forecast, _) = self.loaded(tokens, false, terminal)?;
        self.ask(&forecast, "use a smaller model")
    }

    /// Asks with a bound of the longest prompt's tokens, which costs nothing; only if that does not fit, with the tokens
    /// themselves.
    fn ask_about(
        &self,
        prompts: &Prompts<'_>,
        terminal: &mut Terminal,
        ask: impl Fn(usize, &mut Terminal) -> Result<()>,
    ) -> Result<()> {
        let asked = ask(prompts.bound(), terminal);
        let (Err(_), Some(src), Prompts::Texts(_)) = (&asked, self.policy, prompts) else { return asked };
        let Some(tokenizer) = policy_tokenizer(src, terminal)? else { return asked };
        ask(prompts.longest(&tokenizer)?, terminal)
    }

    /// Fine-tuning: of an adapter, or (none) of every parameter, in batches of `rows` pairs of up to so many tokens.
    ///
    /// # Errors
    /// As [`Models::ask_ppo`].
    pub fn ask_finetune(
        &self,
        adapter: Option<&AdapterConfig>,
        rows: usize,
        tokens: Tokens,
        terminal: &mut Terminal,
    ) -> Result<()> {
        let (mut forecast, base) = self.loaded(0, adapter.is_none(), terminal)?;
        if let Some((c, tensors)) = base {
            finetune(&mut forecast, &c, &tensors, adapter, rows, tokens);
        }
        self.ask(&forecast, "lower --batch-size (and raise --accumulation), --max-source or --max-target")
    }

    /// Refuses what cannot fit, with the sum written out.
    fn ask(&self, forecast: &Forecast, lower: &str) -> Result<()> {
        let Some(free) = free() else { return Ok(()) };
        tracing::debug!("memory: about {} of {} needed", size(forecast.peak()), size(free));
        if forecast.peak() <= free {
            return Ok(());
        }
        let mut what = format!("this needs about {} of memory, and {} are free:", size(forecast.peak()), size(free));
        for part in forecast.held.iter().chain(forecast.largest()) {
            what += &format!("\n  {:>9}  {}", size(part.bytes), part.what);
        }
        let bits = if self.precision == Precision::F32 { "--weights q8_0 (where weights are frozen), or " } else { "" };
        Err(Error::input(what, format!("{bits}{lower}; or go on regardless with --memory unlimited")))
    }
}

/// The same error with the folder in front.
fn named(error: Error, path: &str) -> Error {
    match error {
        Error::Input { what, hint } => Error::file(path, what, hint),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!("8GB".parse(), Ok(Limit::Bytes(8_000_000_000)));
        assert_eq!("0.5g".parse(), Ok(Limit::Bytes(500_000_000)));
        assert_eq!("300MB".parse(), Ok(Limit::Bytes(300_000_000)));
        assert_eq!("unlimited".parse(), Ok(Limit::Unlimited));
        for wrong in ["", "8", "GB", "-1GB", "8 apples", "infGB"] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
        assert_eq!((size(2_345_678_901), size(999_999)), ("2.35 GB".into(), "1 MB".into()));
    }
}
