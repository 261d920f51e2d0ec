//! The first experiment: one dialogue's summary while PPO trains with and without the KL penalty, from two recorded runs
//! (`recorded/leash.json`, by scripts/record.py). All sentences are made from the recorded numbers.

use super::browser;
use super::content::content;
use super::draft::Draft;
use super::engine::engine;
use super::lanes::{Lane, Leash, leash};
use super::parts::chart::{LineChart, Series};
use super::parts::format;
use super::parts::meaning::Meaning;
use crate::web::page::parts::memo::memo;
use core::time::Duration;
use leptos::prelude::*;
use std::sync::Arc;

/// How long each recorded text is shown; all of them take less than five seconds.
const SHOWN: Duration = Duration::from_millis(280);

impl Lane {
    /// What happened to it, in words.
    fn says(&self, measured: f64) -> String {
        let [before, after] = self.rouge1;
        let (first, last) = (self.score.first().copied().unwrap_or(0.0), self.score.last().copied().unwrap_or(0.0));
        let end = match (last - first > 0.2, after - before) {
            (false, _) => "The score did not rise",
            (true, change) if change < -0.15 => {
                "The score rose, and the summaries no longer say what happened: this is reward hacking"
            }
            (true, change) if change < -0.05 => "The score rose, and the summaries became worse",
            (true, _) => "The score rose, and the summaries are about as good as before",
        };
        format!(
            "{end}. Mean score {} → {}; KL at the end {} nats; overlap with the human summary (ROUGE-1, {measured} dialogues) {} → {}.",
            format::signed(first, 2),
            format::signed(last, 2),
            format::fixed(self.kl.last().copied().unwrap_or(0.0), 1),
            format::fixed(before, 2),
            format::fixed(after, 2),
        )
    }

    fn series(&self, i: usize, numbers: fn(&Lane) -> &[f64]) -> Series {
        let points = numbers(self).iter().enumerate().map(|(i, y)| ((i + 1) as f64, *y)).collect();
        Series { name: SHORT[i].into(), meaning: MEANINGS[i], points }
    }
}

const NAMES: [&str; 2] = ["With the KL penalty", "Without the KL penalty"];
const SHORT: [&str; 2] = ["with", "without"];
const MEANINGS: [Meaning; 2] = [Meaning::Policy, Meaning::Reward];

/// The experiment; nothing if its recording does not come.
#[component]
pub fn LeashView() -> impl IntoView {
    let leash_now = content().leash;
    leptos::task::spawn_local(async move {
        if let Some(read) = browser::fetch("recorded/leash.json").await.ok().and_then(|json| leash(&json)) {
            leash_now.set(Some(Arc::new(read)));
            super::scroll::settle();
        }
    });
    view! {
        <section class="leash" aria-labelledby="leash-heading">
            <h2 id="leash-heading">"Why PPO needs a leash"</h2>
            {move || leash_now.get().map(experiment)}
        </section>
    }
}

fn experiment(leash: Arc<Leash>) -> AnyView {
    // The step that is shown, also in the charts; none: the last one.
    let at = RwSignal::new(None::<f64>);
    let playing = RwSignal::new(false);
    let steps: Arc<Vec<f64>> = Arc::new(leash.lanes[0].texts.iter().map(|text| text.0).collect());
    let last = steps.len().saturating_sub(1);
    let place = {
        let steps = steps.clone();
        memo(move || at.get().map_or(last, |x| steps.iter().rposition(|step| *step <= x).unwrap_or(0)))
    };
    let show = {
        let steps = steps.clone();
        Callback::new(move |i: usize| at.set(steps.get(i).copied()))
    };
    let play = Callback::new(move |()| {
        playing.set(true);
        show.run(0);
        next(playing, place, show, last);
    });
    if browser::calm() {
        at.set(None);
    } else {
        play.run(());
    }
    let step = {
        let steps = steps.clone();
        move || format!("step {} of {}", steps[place.get()], steps[last])
    };
    let lane = |i: usize| {
        let (of, insults) = (leash.clone(), leash.clone());
        let text = move || of.lanes[i].texts.get(place.get()).cloned();
        let (written, score) = (text.clone(), text);
        view! {
            <div class=format!("lane {}", MEANINGS[i].class())>
                <h3 class=MEANINGS[i].class()>{NAMES[i]}</h3>
                <p class="lane-text">{move || written().map(|text| marked(&text.1, &insults.insults))}</p>
                <p class="lane-score num">"score " <b class="m-reward">{move || score().map(|text| format::signed(text.2, 2))}</b></p>
                <p class="note">{leash.lanes[i].says(leash.measured)}</p>
            </div>
        }
    };
    let lanes = (0..2).map(lane).collect_view();
    let chart = |numbers: fn(&Lane) -> &[f64]| -> Signal<Vec<Series>> {
        let series: Vec<Series> = leash.lanes.iter().enumerate().map(|(i, lane)| lane.series(i, numbers)).collect();
        Signal::derive(move || series.clone())
    };
    let (score, kl) = (chart(|lane| &lane.score), chart(|lane| &lane.kl));
    let spoken = step.clone();
    view! {
        <p>
            "One quarrel, and its summary while PPO trains for a higher score: with a penalty for moving away from the model that it was (the "
            "KL penalty, the leash), and without. Insulting words are " <mark>"marked"</mark> "."
        </p>
        <div class="lanes">{lanes}</div>
        <p class="row leash-bar">
            <button
                type="button"
                on:click=move |_| if playing.get_untracked() { playing.set(false) } else { play.run(()) }
            >
                {move || if playing.get() { "Pause" } else { "Watch again" }}
            </button>
            <input
                type="range"
                min="0"
                max=last.to_string()
                aria-label="Steps of PPO"
                aria-valuetext=spoken
                prop:value=move || place.get().to_string()
                on:input=move |event| {
                    playing.set(false);
                    show.run(event_target_value(&event).parse().unwrap_or(0));
                }
            />
            <span class="num">{step}</span>
        </p>
        <blockquote class="said">{leash.dialogue.clone()}</blockquote>
        <div class="charts">
            <LineChart title="Score of the batch" series=score at=at />
            <LineChart title="KL from where it started" series=kl unit="nats per response" at=at />
        </div>
        <DoIt draft=leash.lanes[1].draft.clone() label="Do it yourself, in this tab" />
    }
    .into_any()
}

/// Shows the next text after a while, until the last one, or until a person stops it.
fn next(playing: RwSignal<bool>, place: Memo<usize>, show: Callback<usize>, last: usize) {
    let then = move || {
        if playing.try_get_untracked() != Some(true) {
            return;
        }
        let now = place.get_untracked() + 1;
        show.run(now.min(last));
        if now < last {
            next(playing, place, show, last);
        } else {
            playing.set(false);
        }
    };
    set_timeout(then, SHOWN);
}

/// A text with its insulting words marked.
fn marked(text: &str, insults: &[String]) -> AnyView {
    let word = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
        let text = format!("{word} ");
        if insults.contains(&bare) { view! { <mark>{text}</mark> }.into_any() } else { text.into_any() }
    };
    if text.trim().is_empty() {
        return "(empty)".into_any();
    }
    text.split_whitespace().map(word).collect_view().into_any()
}

/// Begins the same training here.
#[component]
pub fn DoIt(draft: Draft, label: &'static str) -> impl IntoView {
    let e = engine();
    let s = e.state;
    let shown = content();
    let size = move || shown.loaded.with(|l| l.as_ref().map(|l| format::bytes(l.bytes))).unwrap_or_default();
    let begun = move || s.run.with(Option::is_some);
    let words = draft.words();
    let start = move |_| {
        s.draft.set(draft.clone());
        if !begun() {
            e.play();
        }
    };
    view! {
        <p class="row">
            <button type="button" class="primary" on:click=start>{move || format!("{label} ({})", size())}</button>
            <span class="note">
                {move || {
                    if begun() { "Your run keeps its settings until you start over (menu More)".to_owned() } else { format!("with {words}") }
                }}
            </span>
        </p>
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lane(score: [f64; 2], rouge1: [f64; 2]) -> Lane {
        Lane {
            draft: Draft::default(),
            texts: vec![],
            score: score.into(),
            kl: vec![0.0, 2.0],
            rouge1,
            distinct1: [0.3; 2],
            length: [20.0; 2],
        }
    }

    #[test]
    fn the_sentences_follow_the_numbers() {
        assert!(lane([0.0, 2.0], [0.4, 0.1]).says(100.0).contains("reward hacking"));
        assert!(lane([0.0, 2.0], [0.4, 0.3]).says(100.0).contains("became worse"));
        assert!(lane([0.0, 2.0], [0.4, 0.39]).says(100.0).contains("about as good"));
        assert!(lane([0.0, 0.1], [0.4, 0.1]).says(100.0).starts_with("The score did not rise"));
    }
}
