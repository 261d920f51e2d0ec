//! PPO on a policy with eight tokens: after 20 steps, the rewarded token is more probable: cargo run --example ppo_step
//! The policy is a table: row i contains the logits of the token after token i, and the value of token i.
#![allow(clippy::print_stdout)]

use candle_core::{D, Device, Tensor, Var};
use detox_lab::Result;
use detox_lab::model::policy::{AdapterName, Backward, POLICY, TokenScores, TrainablePolicy};
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::nn::tape::VarGradients;
use detox_lab::pace::{NonStop, block_on};
use detox_lab::ppo::batch::Row;
use detox_lab::ppo::step::{PpoState, ppo_step};
use detox_lab::settings::PpoConfig;

const V: usize = 8;
const END: u32 = 1;
const REWARDED: u32 = 5;

struct Table {
    logits: Var, // (V, V)
    values: Var, // (V, 1)
}

/// A step needs this from a policy: log-probs, values and entropy of given responses, of the policy or its reference.
impl TrainablePolicy for Table {
    fn evaluate(
        &self,
        rows: &[(&[u32], &[u32])], // M of (query, response)
        width: usize,              // R
        _full: bool,
        adapter: AdapterName<'_>,
        grad: bool,
        _dropout: Option<&mut Rng>,
    ) -> Result<TokenScores> {
        let shape = (rows.len(), width - 1);
        let padded = |shift: usize| -> Result<Tensor> {
            let ids = rows.iter().flat_map(|(_, r)| (shift..shift + width - 1).map(|k| r.get(k).copied().unwrap_or(0)));
            Ok(Tensor::from_vec(ids.collect::<Vec<u32>>(), shape.0 * shape.1, &Device::Cpu)?) // (M·(R−1))
        };
        let logits =
            if adapter == Some(POLICY) { self.logits.as_tensor().clone() } else { self.logits.zeros_like()? };
        let logits = logits.index_select(&padded(0)?, 0)?; // (M·(R−1), V)
        let all = logits.broadcast_sub(&logits.exp()?.sum_keepdim(D::Minus1)?.log()?)?; // log-softmax
        let entropy = (all.exp()? * &all)?.sum(1)?.neg()?.reshape(shape)?; // (M, R−1)
        let logprobs = all.gather(&padded(1)?.unsqueeze(1)?, 1)?.reshape(shape)?; // (M, R−1)
        let values = self.values.as_tensor().index_select(&padded(0)?, 0)?.reshape(shape)?; // (M, R−1)
        // Computes the gradients of the two tables from those of log-probs and values, here with candle's autograd.
        let (outputs, vars) = ((logprobs.clone(), values.clone()), self.trainable());
        let backward: Backward = Box::new(move |by_logprobs, by_values| {
            let sum = ((outputs.0 * by_logprobs)? + (outputs.1 * by_values)?)?.sum_all()?;
            let (gradients, mut found) = (sum.backward()?, VarGradients::default());
            vars.iter().for_each(|(_, var)| gradients.get(var).into_iter().for_each(|g| found.insert(var, g.clone())));
            Ok(found)
        });
        let (logprobs, values, entropy) = (logprobs.detach(), values.detach(), entropy.detach());
        Ok(TokenScores { logprobs, values, entropy, backward: grad.then_some(backward) })
    }

    fn trainable(&self) -> Vec<(String, Var)> {
        vec![("logits".into(), self.logits.clone()), ("values".into(), self.values.clone())]
    }
}

fn main() -> Result<()> {
    let zeros = |shape| {
        Ok::<Var, detox_lab::Error>(Var::from_tensor(&Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu)?)?)
    };
    let table = Table { logits: zeros((V, V))?, values: zeros((V, 1))? };
    let config = PpoConfig { batch_size: 8, mini_batch_size: 4, learning_rate: 0.05, ..PpoConfig::default() };
    let mut state = PpoState::new(&config);
    // The responses are uniformly random, not sampled from the policy, so the KL that is estimated from them can be negative.
    for step in 0..20 {
        // the responses: start token, six random tokens, end token; the score is the fraction of REWARDED among the six
        let row = |i| {
            let mut rng = Rng::new(7, Purpose::Sampling, step, i);
            let body: Vec<u32> = (0..6).map(|_| rng.below(2, V as u64) as u32).collect();
            let score = body.iter().filter(|id| **id == REWARDED).count() as f32 / 6.0;
            Row { query_ids: vec![END], decoder_ids: [vec![0], body, vec![END]].concat(), score, generated: None }
        };
        let rows: Vec<Row> = (0..8).map(row).collect();
        let outcome = block_on(ppo_step(&table, &mut state, &config, &rows, None, &mut NonStop))?;
        println!("step {:2}: KL {:7.4}, loss {:+.4}", step + 1, outcome.stats.line.kl, outcome.stats.line.total_loss);
    }
    let after_2 = table.logits.get(2)?.exp()?;
    let share = (after_2.get(REWARDED as usize)? / after_2.sum_all()?)?.to_scalar::<f32>()?;
    println!("probability of token {REWARDED} after token 2: 0.125 before, {share:.3} now");
    assert!(share > 0.125);
    Ok(())
}
