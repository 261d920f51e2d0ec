//! What is generated and scored in the published and in the corrected lab.

use crate::support::fixtures;
use detox_lab::io::disk::Folder;
use detox_lab::lab::models::{Actor, Judge};
use detox_lab::lab::rollout::{Draw, RolloutFor, Sample, rollout};
use detox_lab::model::generate::Sampling;
use detox_lab::nn::rng::{Purpose, Rng};
use detox_lab::pace::{NonStop, block_on};
use detox_lab::ppo::peers::Peers;
use detox_lab::settings::{PpoConfig, Preset};
use detox_lab::text::dialogue::parse;

/// One sample, cut at `limit` new tokens.
fn sample(stage: RolloutFor, preset: Preset, limit: usize) -> Sample {
    let folder = |name: &str| Folder::open(fixtures().join("tiny").join(name)).unwrap();
    let (actor, judge) = (Actor::load(&folder("policy"), 0).unwrap(), Judge::load(&folder("reward")).unwrap());
    let data = std::fs::read(fixtures().join("tiny/data/train.jsonl")).unwrap();
    let dialogue = &parse("train.jsonl", &data).unwrap()[0];
    let config = PpoConfig::preset(preset);
    let draws = vec![Draw { max_new_tokens: limit, rng: Rng::new(1, Purpose::Evaluation, 0, 0) }];
    // min_length above the limit: the row cannot end before its limit
    let sampling = Sampling { min_length: limit + 2, ..Sampling::default() };
    let (rows, peers, mut observer) = ([dialogue], Peers::alone(), NonStop);
    let work = rollout(stage, &actor, &judge, &rows, None, draws, &sampling, &config, &peers, &mut observer);
    block_on(work).unwrap().samples.pop().unwrap()
}

#[test]
fn the_published_lab_also_scores_the_query_and_differently_in_evaluation() {
    let trained = sample(RolloutFor::Training, Preset::Published, 5);
    assert!(trained.query.ends_with("</s>"), "{}", trained.query);
    assert!(trained.scored_text.starts_with(&trained.query));
    assert_eq!(trained.response_ids.len(), 5, "the slice of the last 5 ids lost the start token");
    assert_ne!(trained.response_ids[0], 0);
    assert_eq!(trained.reward, trained.scored.lab_reward());

    let evaluated = sample(RolloutFor::Evaluation, Preset::Published, 5);
    assert_eq!(evaluated.query_ids[evaluated.query_ids.len() - 2..], [1, 1], "the query was encoded again");
    assert_eq!(evaluated.scored_text, format!("{} {}", evaluated.query, evaluated.response));
}

#[test]
fn the_corrected_lab_scores_the_response_alone() {
    for stage in [RolloutFor::Training, RolloutFor::Evaluation] {
        let s = sample(stage, Preset::Corrected, 5);
        assert_eq!(s.scored_text, s.response);
        assert_eq!((s.response_ids.len(), s.response_ids[0]), (6, 0), "the start token is kept");
        assert_ne!(s.query_ids[s.query_ids.len() - 2], 1);
        assert_eq!(s.reward, s.scored.logits.nothate);
    }
}
