//! The diagram of a PPO step: the twelve stages from top to bottom, and lines that show which numbers go from stage to
//! stage. The active stage is highlighted; finished stages show one of their numbers. Names are in `stages`.

use super::keys::{Direction, follow, tab_index};
use super::meaning::Meaning;
use super::stages::{Headlines, STAGES, StageInfo};
use leptos::prelude::*;

/// A line from one stage to another, in the colour of the numbers that it stands for.
struct Wire {
    from: u8,
    to: u8,
    meaning: Meaning,
    /// Its lane in the gutter, counted from the stages.
    lane: u8,
}

const WIRES: [Wire; 10] = [
    wire(1, 4, Meaning::Plain, 0),
    wire(4, 5, Meaning::Policy, 0),
    wire(4, 6, Meaning::Policy, 1),
    wire(5, 7, Meaning::Reward, 2),
    wire(6, 7, Meaning::Reference, 0),
    wire(6, 8, Meaning::Value, 1),
    wire(7, 8, Meaning::Reward, 0),
    wire(8, 9, Meaning::Plain, 0),
    wire(9, 10, Meaning::Policy, 0),
    wire(10, 4, Meaning::Policy, 3),
];

const fn wire(from: u8, to: u8, meaning: Meaning, lane: u8) -> Wire {
    Wire { from, to, meaning, lane }
}

/// A stage's height and the gutter's width in the drawing, in px.
const HEIGHT: f64 = 44.0;
const GUTTER: f64 = 56.0;

/// The stages. A click opens a stage's chapter; pointing at a stage highlights its words in the text.
#[component]
pub fn Machine(
    /// The stage being computed.
    #[prop(into)]
    active: Signal<Option<u8>>,
    #[prop(into)] headlines: Signal<Headlines>,
    /// The stage pointed at, here or in the text.
    pointed: RwSignal<Option<u8>>,
    #[prop(into)] on_open: Callback<u8>,
    /// The last stage finished in this step.
    #[prop(into)]
    done: Signal<u8>,
) -> impl IntoView {
    // the stage in the tab order: the one focused last, otherwise the active one
    let current = RwSignal::new(None::<usize>);
    let here = move || current.get().unwrap_or_else(|| usize::from(active.get().unwrap_or(1)) - 1);
    let keys = move |event| {
        if let Some(next) = follow(&event, untrack(here), STAGES.len(), Direction::Down) {
            current.set(Some(next));
        }
    };
    let stages = STAGES.map(|stage| {
        let i = usize::from(stage.number) - 1;
        let headline = move || headlines.read()[i].clone();
        let state = move || match active.get() {
            Some(active) if active == stage.number => "is-active",
            _ if done.get() >= stage.number => "is-done",
            _ => "is-waiting",
        };
        let class = move || {
            let lit = if pointed.get() == Some(stage.number) { " is-pointed" } else { "" };
            format!("stage {} {}{lit}", stage.meaning.class(), state())
        };
        let spoken = move || match state() {
            "is-active" => ", being worked on",
            "is-done" => ", done",
            _ => ", not reached",
        };
        view! {
            <li class="stage-item">
                <button
                    type="button"
                    class=class
                    data-item=i.to_string()
                    tabindex=move || tab_index(here() == i)
                    aria-current=move || (active.get() == Some(stage.number)).then_some("step")
                    title=stage.does
                    on:click=move |_| on_open.run(stage.number)
                    on:focus=move |_| { current.set(Some(i)); pointed.set(Some(stage.number)); }
                    on:blur=move |_| pointed.set(None)
                    on:pointerenter=move |_| pointed.set(Some(stage.number))
                    on:pointerleave=move |_| pointed.set(None)
                >
                    <span class="stage-number num">{stage.number}</span>
                    <span class="stage-name">{stage.name}</span>
                    <span class="stage-headline num">
                        {move || headline().unwrap_or_else(|| stage.gives.to_string())}
                    </span>
                    <span class="sr-only">{spoken}</span>
                </button>
            </li>
        }
    });
    view! {
        <nav class="machine" aria-label="The stages of one PPO step">
            <Wires active pointed />
            <ol class="stages" on:keydown=keys>{stages.into_iter().collect_view()}</ol>
            <p class="stage-says">{move || says(pointed.get().or(active.get()))}</p>
        </nav>
    }
}

/// What a stage does, for the line below the stages.
fn says(number: Option<u8>) -> String {
    let stage: Option<&StageInfo> = number.and_then(|number| STAGES.get(usize::from(number).wrapping_sub(1)));
    stage.map_or_else(|| "Point at a stage or select it to read what it does".into(), |stage| stage.does.to_string())
}

/// The lines in the gutter to the left of the stages; those of the active or pointed stage are highlighted.
#[component]
fn Wires(active: Signal<Option<u8>>, pointed: RwSignal<Option<u8>>) -> impl IntoView {
    let paths = WIRES.iter().map(|wire| {
        let class = move || {
            let at = pointed.get().or(active.get());
            let lit = at.is_some_and(|stage| stage == wire.from || stage == wire.to);
            let runs = active.get() == Some(wire.to);
            format!(
                "wire {}{}{}",
                wire.meaning.class(),
                if lit { " is-lit" } else { "" },
                if runs { " is-running" } else { "" }
            )
        };
        view! { <path class=class d=bend(wire) /> }
    });
    let height = HEIGHT * STAGES.len() as f64;
    view! {
        <svg class="wires" viewBox=format!("0 0 {GUTTER} {height}") width=GUTTER height=height aria-hidden="true">
            {paths.collect_view()}
        </svg>
    }
}

/// The path of a line: out of a stage, along its lane, into the other stage.
fn bend(wire: &Wire) -> String {
    // Lines that leave a stage are a little below those that enter it.
    let side = |stage: u8, out: bool| {
        let shift = if out { 5.0 } else { -5.0 };
        HEIGHT * (f64::from(stage) - 0.5) + if wire.from < wire.to { shift } else { 0.0 }
    };
    let (from, to) = (side(wire.from, true), side(wire.to, false));
    let lane = GUTTER - 10.0 - 12.0 * f64::from(wire.lane);
    let round = if from < to { 6.0 } else { -6.0 };
    format!(
        "M{GUTTER} {from}H{} Q{lane} {from} {lane} {}V{} Q{lane} {to} {} {to}H{GUTTER}",
        lane + 6.0,
        from + round,
        to - round,
        lane + 6.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_join_stages_and_stay_in_the_gutter() {
        for wire in &WIRES {
            assert!((1..=12).contains(&wire.from) && (1..=12).contains(&wire.to) && wire.from != wire.to);
            assert!(GUTTER - 10.0 - 12.0 * f64::from(wire.lane) > 0.0);
        }
        assert_eq!(bend(&WIRES[1]), "M56 159H52 Q46 159 46 165V187 Q46 193 52 193H56");
    }

    #[test]
    fn every_stage_says_what_it_does() {
        assert_eq!(says(Some(12)), STAGES[11].does);
        assert!(
            says(None).starts_with("Point")
                && says(Some(0)).starts_with("Point")
                && says(Some(13)).starts_with("Point")
        );
    }
}
