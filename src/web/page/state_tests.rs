//! How replies change the page's state.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::protocol::{Adapter, PolicyInfo, RewardInfo};
use crate::settings::{PpoConfig, Preset};
use serde_json::Map;

/// Models as they are told when loaded.
pub fn loaded() -> Loaded {
    Loaded {
        bytes: 7000,
        policy: PolicyInfo {
            base_parameters: 1000,
            adapter_parameters: 20,
            value_head_parameters: 9,
            encoder_blocks: 2,
            decoder_blocks: 2,
            width: 8,
            heads: 2,
            vocabulary: 50,
            lora_r: 4,
            lora_alpha: 8.0,
            lora_layers: vec![],
            bytes: 4000,
        },
        reward: RewardInfo { parameters: 500, bytes: 2000 },
        dialogues: vec![],
        corrected: Box::new(PpoConfig { kl_coef: 0.3, ..PpoConfig::preset(Preset::Corrected) }),
        published: Box::new(PpoConfig { kl_coef: 0.3, ..PpoConfig::preset(Preset::Published) }),
        steps: 80,
        seconds: 1.0,
        real: None,
        data: String::new(),
    }
}

fn run(step: u64) -> Answer {
    Answer::Run(Box::new(RunInfo {
        step,
        steps: 80,
        config: Box::new(PpoConfig::preset(Preset::Corrected)),
        metrics: vec![Statistics::default(); step as usize],
        command: String::new(),
        models: Default::default(),
        weights: String::new(),
        labels: String::new(),
        saved: 0.0,
    }))
}

fn step(number: u64) -> Event {
    let statistics = Statistics { kl: 0.5, ..Statistics::default() };
    Event::Step(Box::new(Step { step: number, statistics, ..Step::default() }))
}

fn queries() -> Event {
    Event::Stage(Box::new(Stage::Queries { rows: vec![] }))
}

const TRAIN: Ask = Ask::Train { steps: 1 };
const START: fn() -> Ask = || Ask::Start { config: Map::new(), preset: Preset::Corrected, steps: 80 };

fn with_state(test: impl FnOnce(State)) {
    let owner = Owner::new();
    owner.with(|| test(State::new(&Address::default())));
}

#[test]
fn a_step_adds_a_point_and_moves_the_run_on() {
    with_state(|state| {
        state.ended(&START(), &Ok((run(0), None)));
        state.event(2, &queries(), 0.0);
        state.event(2, &Event::Stage(Box::new(Stage::Responses { rows: vec![] })), 0.0);
        assert_eq!(state.stages.get_untracked().len(), 2);
        state.event(2, &step(1), 0.0);
        assert!(state.stages.get_untracked().is_empty(), "the step tells them all");
        assert_eq!(state.opened.get_untracked(), Some(4), "the last one looked at stays");
        assert_eq!(state.run.get_untracked().unwrap().step, 1);
        assert_eq!(state.metrics.get_untracked().len(), 1);
        assert_eq!(state.step.get_untracked().unwrap().step, 1);
        state.event(3, &Event::Reached(9), 0.0);
        assert_eq!(state.reached.get_untracked(), Some(9));
    });
}

#[test]
fn stage_by_stage_waits_until_the_step_is_done() {
    with_state(|state| {
        state.event(1, &Event::Reached(3), 0.0);
        assert!(!state.waiting.get_untracked());
        state.event(1, &queries(), 0.0);
        assert!(state.waiting.get_untracked());
        state.event(1, &Event::Reached(3), 0.0);
        assert!(state.stages.get_untracked().is_empty(), "another step's stages begin again");
        state.ended(&TRAIN, &Ok((run(1), None)));
        assert!(!state.waiting.get_untracked());
    });
}

#[test]
fn a_new_run_forgets_the_old_ones_numbers_and_training_on_does_not() {
    with_state(|state| {
        state.ended(&START(), &Ok((run(0), None)));
        state.event(2, &step(1), 0.0);
        state.ended(&TRAIN, &Ok((run(1), None)));
        assert!(state.step.get_untracked().is_some());
        state.ended(&START(), &Ok((run(0), None)));
        assert!(state.step.get_untracked().is_none());
        assert!(state.metrics.get_untracked().is_empty());
    });
}

#[test]
fn a_failure_is_told_once_and_pauses() {
    with_state(|state| {
        state.play.set(Play::Playing);
        let failure = || Err(Error::input("what", "hint"));
        state.ended(&TRAIN, &failure());
        state.ended(&TRAIN, &failure());
        assert_eq!(state.notices.get_untracked().len(), 1);
        assert_eq!(state.play.get_untracked(), Play::Paused);
        state.ended(&TRAIN, &Err(Error::Stopped));
        assert_eq!(state.notices.get_untracked().len(), 1, "stopping is no error");
    });
}

#[test]
fn a_lost_worker_leaves_nothing_live() {
    with_state(|state| {
        state.ended(&Ask::Load, &Ok((Answer::Loaded(loaded()), None)));
        state.ended(&START(), &Ok((run(0), None)));
        state.event(2, &step(1), 0.0);
        state.lost("out of memory", false);
        assert!(state.take_up.get_untracked());
        assert!(state.loaded.get_untracked().is_none() && state.step.get_untracked().is_none());
        assert_eq!(state.worker.get_untracked(), Worker::Restarting("out of memory".into()));
        let Answer::Run(kept) = run(1) else { unreachable!() };
        state.ready((1, String::new()), Some(*kept), Vec::new());
        assert_eq!(state.kept.get_untracked().unwrap().step, 1);
        state.ended(&Ask::Load, &Ok((Answer::Loaded(loaded()), None)));
        state.ended(&Ask::Restore, &Ok((run(1), None)));
        assert!(state.draft.get_untracked().changes.contains_key("kl_coef"), "the run's own, 0.2 and not 0.3");
        assert!(state.kept.get_untracked().is_none(), "taken up");
        assert_eq!(state.metrics.get_untracked().len(), 1);
    });
}

#[test]
fn one_side_is_toxicity_and_two_are_a_comparison() {
    with_state(|state| {
        let page = include_str!("../../../static/recorded/page.json");
        let evaluated = crate::web::page::recorded::recorded(page).unwrap().evaluated;
        let ask = |before, after| Ask::Evaluate { n: 1, seed: 0, greedy: false, before, after };
        let end = Ok((Answer::Evaluated(Box::new(evaluated)), None));
        state.ended(&ask(Adapter::Policy, Adapter::Policy), &end);
        assert!(state.toxicity.get_untracked().is_some() && state.evaluated.get_untracked().is_none());
        state.ended(&ask(Adapter::Initial, Adapter::Policy), &end);
        assert!(state.evaluated.get_untracked().is_some());
        state.ended(&TRAIN, &Ok((run(1), None)));
        assert!(state.evaluated.get_untracked().is_none(), "a later policy is another one");
    });
}

#[test]
fn another_phase_is_counted_from_its_start() {
    with_state(|state| {
        let progress = |phase, done| Event::Progress { phase, done, of: 4 };
        state.event(1, &progress(Phase::Generate, 1), 100.0);
        state.event(1, &progress(Phase::Generate, 2), 200.0);
        assert_eq!(state.counted.get_untracked().map(|c| (c.since, c.now)), Some((100.0, 200.0)));
        state.event(1, &progress(Phase::Train, 1), 300.0);
        assert_eq!(state.counted.get_untracked().map(|c| c.since), Some(300.0));
        state.event(1, &Event::Bytes { done: 5, of: 10 }, 400.0);
        assert_eq!(state.counted.get_untracked().and_then(|c| c.phase), None);
    });
}

#[test]
fn the_first_open_request_is_the_busy_one() {
    with_state(|state| {
        let mut requests = Requests::default();
        let (first, _) = requests.ask(Ask::Load, None, None, None);
        let (second, _) = requests.ask(START(), None, None, None);
        state.queue(&requests);
        assert_eq!(state.busy.get_untracked().map(|b| (b.id, b.behind.len())), Some((first, 1)));
        requests.end(first, Err(Error::Stopped));
        state.queue(&requests);
        assert_eq!(state.busy.get_untracked().map(|b| (b.id, b.behind.len())), Some((second, 0)));
        assert_eq!(state.said.get_untracked(), "Beginning a run");
        requests.end(second, Err(Error::Stopped));
        state.queue(&requests);
        assert_eq!(state.busy.get_untracked(), None);
    });
}

#[test]
fn the_address_comes_back_from_the_state() {
    with_state(|state| {
        let address = Address::parse("ppo?seed=3&preset=published&kl_coef=0.5&row=2&show=kl");
        state.go_to(&address);
        assert_eq!(state.draft.get_untracked().seed, 3);
        assert_eq!(untrack(|| state.address()), address);
    });
}
