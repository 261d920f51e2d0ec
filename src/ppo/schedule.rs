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
}
