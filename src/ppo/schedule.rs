//! The learning rate of each step.

use crate::settings::{PpoConfig, Schedule};

impl PpoConfig {
    /// The learning rate of step `step` (counted from 0). Source: transformers optimization.py, `get_scheduler`.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let (step, warmup) = (step as f64, self.warmup_steps as f64);
        if self.lr_schedule != Schedule::Constant && step < warmup {
            return self.learning_rate * step / warmup.max(1.0);
        }
        let total = self.total_steps.unwrap_or(0) as f64;
        let length = (total - warmup).max(1.0);
        self.learning_rate
            * match self.lr_schedule {
                Schedule::Constant | Schedule::ConstantWithWarmup => 1.0,
                Schedule::Linear => ((total - step) / length).max(0.0),
                Schedule::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * (step - warmup) / length).cos())).max(0.0),
            }
    }

    /// A warning for a run with more steps than its schedule: in the later ones nothing would be trained.
    pub fn schedule_warning(&self, steps: u64) -> Option<String> {
        let first = self.total_steps.filter(|total| *total < steps && self.learning_rate_at(*total) == 0.0)?;
        Some(format!(
            "the learning rate is 0 from step {} on (lr_schedule, total_steps = {first}), and the run has {steps} steps: \
             give total_steps = {steps} with --config for a new run",
            first + 1
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_longer_than_its_schedule_is_warned_of() {
        let config = PpoConfig { lr_schedule: Schedule::Linear, total_steps: Some(90), ..PpoConfig::default() };
        assert_eq!(config.schedule_warning(90), None);
        assert!(config.schedule_warning(91).is_some_and(|what| what.contains("from step 91 on")));
        assert_eq!(PpoConfig { lr_schedule: Schedule::Constant, ..config }.schedule_warning(200), None);
    }
}
