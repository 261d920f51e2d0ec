//! Chapter 3.2: the pictures of the step shown, each with what to look at.

use super::common::Source;
use crate::protocol::Step;
use crate::settings::PpoConfig;
use crate::web::page::browser::later;
use crate::web::page::content::content;
use crate::web::page::engine::state;
use crate::web::page::parts::memo::memo;
use crate::web::page::parts::pictures;
use leptos::prelude::*;

/// A picture of the step, its settings and the chosen row, as SVG text; with what it shows, in words.
fn picture(
    label: &'static str,
    draw: fn(&Step, &PpoConfig, usize) -> (String, String),
    about: &'static str,
) -> AnyView {
    let (s, shown) = (state(), content());
    let step = later(shown.step);
    let drawn = memo(move || {
        let row = step.with(|step| s.row.get().min(step.responses.len().saturating_sub(1)));
        if shown.whole.get() {
            step.with(|step| shown.config.with(|config| draw(step, config, row)))
        } else {
            (String::new(), "This needs the tokens of a step: they come with the next one.".to_owned())
        }
    });
    let svg = Signal::derive(move || drawn.with(|d| d.0.clone()));
    let says = move || format!(" {about} {}", drawn.with(|d| d.1.clone()));
    view! {
        <figure class="picture scroller" role="region" tabindex="0" aria-label=label inner_html=svg></figure>
        <p class="caption"><Source live=shown.live /> {says}</p>
    }
    .into_any()
}

/// The response that is chosen, in words.
fn of_row(row: usize) -> String {
    format!("Response {} of the batch; choose another one below.", row + 1)
}

/// The value predictions along a response.
#[component]
pub fn ValuePicture() -> AnyView {
    let draw = |step: &Step, config: &PpoConfig, row: usize| (pictures::values(step, row, config.gamma), of_row(row));
    let about = "The line is the value head's prediction at each token. The bar is δ: it goes up if the reward and the next prediction are higher \
                 than this prediction. It can go down in a good summary too: the prediction was already high, and after this token it is lower.";
    picture("Value predictions along one summary", draw, about)
}

/// The clipped objective.
#[component]
pub fn ClipPicture() -> AnyView {
    let draw = |step: &Step, config: &PpoConfig, _: usize| pictures::clip(step, config.clip_range);
    let about = "Each dot is a token of this batch. The lines are the objective for an advantage of +1 (solid) and −1 (dashed); PPO moves each token \
                 upwards on its line. Where a line is flat, its gradient is 0.";
    picture("The clipped objective over the ratio", draw, about)
}

/// The tokens' probabilities before and after.
#[component]
pub fn ProbabilityPicture() -> AnyView {
    let draw = |step: &Step, _: &PpoConfig, row: usize| (pictures::probabilities(step, row), of_row(row));
    let about = "Grey: the probability of each token when it was written. Blue: before the last update of this step, so after all earlier ones. The arrow \
                 shows where the advantage pushes it.";
    picture("Token probabilities before and after", draw, about)
}
