//! Checks settings: the range of each number, and whether settings fit each other.

use super::choices::{Schedule, WhitenOver};
use super::table::{PpoConfig, SETTINGS};
use crate::error::{Error, Result};

impl PpoConfig {
    /// Rows whose gradients are averaged into one update.
    pub fn rows_per_update(&self) -> usize {
        self.mini_batch_size.saturating_mul(self.gradient_accumulation_steps)
    }

    /// Checks the range of every setting, and whether settings fit each other.
    ///
    /// # Errors
    /// The first invalid setting, with the values that are allowed.
    pub fn validate(&self) -> Result<()> {
        for (setting, value) in SETTINGS.iter().zip(self.numbers()) {
            let (Some(range), Some(value)) = (setting.range, value) else { continue };
            if !range.allows(value) {
                let name = setting.name;
                return Err(Error::input(
                    format!("setting {name} = {value} is out of range"),
                    format!("give {name} {range}"),
                ));
            }
        }
        self.validate_pairs()
    }

    /// As [`validate`](Self::validate), and also refuses a run in which every step would fail.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and advantages or scores that would be scaled by the standard deviation of one number.
    pub fn validate_run(&self) -> Result<()> {
        self.validate()?;
        let (set, rows) = match self.whiten_over {
            WhitenOver::Batch => ("batch_size", self.batch_size),
            WhitenOver::MiniBatch => ("mini_batch_size", self.mini_batch_size),
            WhitenOver::Nothing => ("batch_size", usize::MAX), // needs no second token
        };
        let untrained = usize::from(!self.train_first_token) + usize::from(!self.keep_start_token);
        let longest = (self.output_max_length - 1).saturating_sub(untrained);
        if rows.saturating_mul(longest) < 2 {
            return Err(Error::input(
                format!(
                    "{set} = {rows} with output_max_length = {}: advantages are whitened over at least two response tokens, \
                                     but there would be at most {}",
                    self.output_max_length,
                    rows * longest
                ),
                format!("raise {set}, or output_min_length and output_max_length"),
            ));
        }
        if self.score_scaling && self.batch_size == 1 {
            let what = "score_scaling with batch_size = 1: a single score has no standard deviation";
            return Err(Error::input(what, "raise batch_size, or set score_scaling to false"));
        }
        Ok(())
    }

    /// Checks that settings fit each other.
    fn validate_pairs(&self) -> Result<()> {
        if !self.batch_size.is_multiple_of(self.rows_per_update()) {
            return Err(Error::input(
                format!(
                    "batch_size = {} is not a multiple of mini_batch_size · gradient_accumulation_steps = {} · {}",
                    self.batch_size, self.mini_batch_size, self.gradient_accumulation_steps
                ),
                "change one of the three",
            ));
        }
        if matches!(self.lr_schedule, Schedule::Linear | Schedule::Cosine) && self.total_steps.is_none() {
            return Err(Error::input(
                "a linear or cosine lr_schedule needs total_steps",
                "set total_steps to the number of steps in the run",
            ));
        }
        if self.output_min_length >= self.output_max_length {
            return Err(Error::input(
                "output_min_length must be below output_max_length (a row's limit is sampled between them, output_max_length excluded)",
                "for a fixed limit of N tokens, set them to N and N + 1",
            ));
        }
        if self.score_norm && !self.score_scaling {
            return Err(Error::input("score_norm is set without score_scaling", "set score_scaling to true too"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn invalid_settings_are_refused_by_name() {
        let refuse = |change: &dyn Fn(&mut PpoConfig), name: &str| {
            let mut config = PpoConfig::default();
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        };
        refuse(&|c| c.gamma = 1.5, "gamma");
        refuse(&|c| c.learning_rate = f64::NAN, "learning_rate");
        refuse(&|c| c.batch_size = 0, "batch_size");
        refuse(&|c| c.mini_batch_size = 3, "mini_batch_size");
        refuse(&|c| c.adam_beta2 = 1.0, "adam_beta2");
        refuse(&|c| c.max_grad_norm = Some(0.0), "max_grad_norm");
        refuse(&|c| c.lr_schedule = Schedule::Cosine, "total_steps");
        refuse(&|c| c.score_norm = true, "score_scaling");
        refuse(&|c| c.output_max_length = 100, "output_min_length");
        refuse(&|c| c.top_p = 0.0, "top_p");
    }

    #[test]
    fn a_run_in_which_every_step_would_fail_is_refused() {
        let run = |rows: usize, tokens: usize, change: &dyn Fn(&mut PpoConfig)| {
            let mut config = PpoConfig { batch_size: rows, mini_batch_size: 1, ..PpoConfig::default() };
            (config.output_min_length, config.output_max_length) = (tokens, tokens + 1);
            change(&mut config);
            config.validate_run().map_err(|e| e.to_string())
        };
        assert!(run(1, 1, &|_| ()).unwrap_err().contains("batch_size = 1"));
        assert!(run(1, 2, &|_| ()).is_ok() && run(2, 1, &|_| ()).is_ok());
        assert!(run(2, 1, &|c| c.whiten_over = WhitenOver::MiniBatch).unwrap_err().contains("mini_batch_size = 1"));
        assert!(run(2, 1, &|c| c.train_first_token = false).is_err());
        assert!(run(1, 9, &|c| c.score_scaling = true).unwrap_err().contains("score_scaling"));
    }
}
