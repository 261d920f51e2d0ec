//! PPO on a policy with eight tokens: after 20 steps, the rewarded token is more probable: cargo run --example ppo_step
//! The policy is a table: row i contains the logits of the token after token i, and the value of token i.
#![allow(clippy::print_stdout)]

use candle_core::{DType, Device, Tensor, Var};
use detox_lab::model::policy::{Backward, Given, POLICY, TokenScores, TrainablePolicy};
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::pace::{NonStop, block_on};
use detox_lab::ppo::peers::Peers;
use detox_lab::ppo::step::{PpoState, ppo_step};
use detox_lab::{Result, nn::tape::VarGradients, ppo::batch::Row, settings::PpoConfig};

const V: usize = 8;
const REWARDED: u32 = 5;
struct Table(Var); // (V, V + 1)

impl TrainablePolicy for Table {
    fn evaluate(&self, given: &Given<'_>, _dropout: Option<&mut Rng>) -> Result<TokenScores> {
        let shape @ (_, n) = (given.rows.len(), given.width - 1); // (M, R)
        let ids =
            |at: usize| Tensor::from_iter(given.rows.iter().flat_map(|row| row.1[at..at + n].to_vec()), &Device::Cpu);
        let table = if given.adapter == Some(POLICY) { self.0.as_tensor().clone() } else { self.0.zeros_like()? };
        let rows = table.index_select(&ids(0)?, 0)?; // (M·R, V + 1)
        let (logits, values) = (rows.narrow(1, 0, V)?, rows.narrow(1, V, 1)?.reshape(shape)?);
        let all = logits.broadcast_sub(&logits.exp()?.sum_keepdim(1)?.log()?)?; // log-softmax
        let entropy = (all.exp()? * &all)?.sum(1)?.neg()?.reshape(shape)?;
        let logprobs = all.gather(&ids(1)?.unsqueeze(1)?, 1)?.reshape(shape)?;
        let (lp, v, var) = (logprobs.clone(), values.clone(), self.0.clone());
        let backward: Backward = Box::new(move |by_logprobs, by_values| {
            let (sum, mut found) = (((lp * by_logprobs)? + (v * by_values)?)?.sum_all()?, VarGradients::default());
            sum.backward()?.get(&var).into_iter().for_each(|gradient| found.insert(&var, gradient.clone()));
            Ok(found)
        });
        Ok(TokenScores { logprobs, values, entropy, backward: given.grad.then_some(backward) })
    }
    fn trainable(&self) -> Vec<(String, Var)> {
        vec![("table".into(), self.0.clone())]
    }
}

fn main() -> Result<()> {
    let table = Table(Var::zeros((V, V + 1), DType::F32, &Device::Cpu)?);
    let config = PpoConfig { batch_size: 8, mini_batch_size: 4, learning_rate: 0.05, ..PpoConfig::default() };
    let mut state = PpoState::new(&config);
    for step in 0..20 {
        // a response: start token 0, six random tokens, end token 1; its score is the share of REWARDED among the six
        let rows: [Row; 8] = std::array::from_fn(|i| {
            let mut rng = Rng::new(7, Purpose::Sampling, step, i as u64);
            let body: Vec<u32> = (0..6).map(|_| rng.below(2, V as u64) as u32).collect();
            let score = body.iter().filter(|id| **id == REWARDED).count() as f32 / 6.0;
            Row { query_ids: vec![1], decoder_ids: [vec![0], body, vec![1]].concat(), score, generated: None }
        });
        let line =
            block_on(ppo_step(&table, &mut state, &config, &rows, None, &Peers::alone(), &mut NonStop))?.stats.line;
        println!("step {:2}: KL {:7.4}, loss {:+.4}", step + 1, line.kl, line.total_loss);
    }
    let after_2 = table.0.get(2)?.narrow(0, 0, V)?.exp()?.to_vec1::<f32>()?;
    let share = after_2[REWARDED as usize] / after_2.iter().sum::<f32>();
    println!("probability of token {REWARDED} after token 2: 0.125 before, {share:.3} now");
    assert!(share > 0.125);
    Ok(())
}
