//! The chapter with experiments: what happens with other settings. Each has a question, a recorded run with the answer
//! (`recorded/experiments.json`, by scripts/record.py), and a button that trains the same here.

use super::common::ChapterFrame;
use crate::web::page::address::{Address, Chapter};
use crate::web::page::browser;
use crate::web::page::content::content;
use crate::web::page::engine::state;
use crate::web::page::lanes::{Experiment, Lane, experiments};
use crate::web::page::leash::DoIt;
use crate::web::page::parts::chart::{LineChart, Series};
use crate::web::page::parts::format;
use crate::web::page::parts::meaning::Meaning;
use crate::web::page::parts::memo::memo;
use crate::web::page::scroll;
use leptos::prelude::*;

#[component]
pub fn Experiments() -> impl IntoView {
    let s = state();
    let all = RwSignal::new(Vec::<Experiment>::new());
    // After the recorded run, which fills the chapters above.
    let ready = memo(move || s.recorded.with(Option::is_some));
    Effect::new(move |_| {
        if ready.get() && all.with_untracked(Vec::is_empty) {
            leptos::task::spawn_local(async move {
                if let Ok(json) = browser::fetch("recorded/experiments.json").await {
                    all.set(experiments(&json));
                }
            });
        }
    });
    view! {
        <ChapterFrame chapter=Chapter::Experiments lead="What does each part of PPO do? Take it away, and see.">
            <p>
                "Each experiment changes one part; its settings stand beside its button. Decide what will happen before you open the answer: it shows a recorded run of 80 steps beside the "
                "run with the page's own settings. Then train the same here; the first experiment of this page is one more of them."
            </p>
            {move || all.get().into_iter().map(experiment).collect_view()}
            <p>
                "For teachers: " <a class="link" href="lesson.md">"notes for a lesson of 45 minutes"</a>
                ", and presenter mode in the menu More. The address of this page holds chapter, stage, seed and settings, so a link opens the same view."
            </p>
        </ChapterFrame>
    }
}

fn experiment(one: Experiment) -> AnyView {
    let s = state();
    let wanted = s.experiment.with_untracked(|id| id.as_ref() == Some(&one.id));
    let open = RwSignal::new(false);
    let toggle = move |event: leptos::ev::Event| open.set(event_target::<web_sys::HtmlDetailsElement>(&event).open());
    let (title, question, draft) = (one.title.clone(), one.question.clone(), one.lane.draft.clone());
    let place = format!("experiment-{}", one.id);
    let id = one.id.clone();
    let link = move || {
        let (chapter, experiment) = (Chapter::Experiments, Some(id.clone()));
        format!("#{}", Address { chapter, experiment, ..s.address() }.format())
    };
    if wanted {
        let place = place.clone();
        request_animation_frame(move || scroll::show(&place, false));
    }
    let one = StoredValue::new(one);
    view! {
        <section class="experiment" id=place>
            <h3>{title}</h3>
            <p>{question}</p>
            <details class="fold" on:toggle=toggle>
                <summary>"The answer"</summary>
                {move || open.get().then(|| one.with_value(answer))}
            </details>
            <DoIt draft=draft label="Train this in the tab" />
            <p class="note"><a class="link" href=link>"Link to this experiment"</a></p>
        </section>
    }
    .into_any()
}

fn answer(one: &Experiment) -> AnyView {
    let shown = content();
    let at = RwSignal::new(None::<f64>);
    let (mine, beside) = (one.lane.clone(), one.beside.clone());
    let chart = move |numbers: fn(&Lane) -> &[f64]| {
        let (mine, beside) = (mine.clone(), beside.clone());
        memo(move || {
            let other = match &beside {
                Some((name, lane)) => Some(series(name, Meaning::Policy, numbers(lane))),
                None => {
                    shown.leash.with(|l| l.as_ref().map(|l| series("usual", Meaning::Policy, numbers(&l.lanes[0]))))
                }
            };
            [Some(series("experiment", Meaning::Reward, numbers(&mine))), other]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        })
    };
    let (score, kl) = (chart(|lane| &lane.score), chart(|lane| &lane.kl));
    let last = |all: &[f64]| all.last().copied().unwrap_or(f64::NAN);
    let [before, after] = one.lane.rouge1.map(|x| format::fixed(x, 2));
    let numbers = format!(
        "After {} steps: mean score {}, KL {} nats, tokens per response {}, ROUGE-1 {before} → {after}. The first experiment's quarrel is now summarised as:",
        one.lane.score.len(),
        format::signed(last(&one.lane.score), 2),
        format::fixed(last(&one.lane.kl), 1),
        format::fixed(one.lane.length[1], 0),
    );
    view! {
        <div class="charts">
            <LineChart title="Score of the batch" series=score at=at />
            <LineChart title="KL from where it started" series=kl unit="nats per response" at=at />
        </div>
        <p class="num">{numbers}</p>
        <blockquote class="said">{format::or_empty(&one.text)}</blockquote>
        <p>{one.answer.clone()}</p>
    }
    .into_any()
}

fn series(name: &str, meaning: Meaning, numbers: &[f64]) -> Series {
    Series {
        name: name.into(),
        meaning,
        points: numbers.iter().enumerate().map(|(i, y)| ((i + 1) as f64, *y)).collect(),
    }
}
