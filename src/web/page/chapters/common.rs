//! Components that the chapters share: the chapter's frame, formulas with their symbols and numbers, words that point to
//! a stage in the diagram, the mark "recorded" or "live", small form fields, and the line of an open request.

use super::super::address::Chapter;
use super::super::browser;
use super::super::engine::{engine, state};
use super::super::parts::meaning::Meaning;
use super::super::state::doing;
use super::super::working::Working;
use crate::protocol::Ask;
use crate::web::page::parts::memo::memo;
use core::time::Duration;
use leptos::prelude::*;

/// The label of greedy decoding.
pub const GREEDY: &str = "greedy: always the most probable token";

/// A chapter with its heading, which takes the focus when the chapter is chosen.
#[component]
pub fn ChapterFrame(chapter: Chapter, #[prop(into)] lead: String, children: Children) -> impl IntoView {
    let number = chapter.number();
    let id = chapter.slug();
    let heading = format!("{id}-heading");
    let labelled = heading.clone();
    view! {
        <section class="chapter" id=id aria-labelledby=labelled>
            <header class="chapter-head">
                <h2 id=heading tabindex="-1">
                    {(!number.is_empty()).then(|| view! { <span class="chapter-number num">{number}</span> " " })}
                    {chapter.title()}
                </h2>
                <p class="lead">{lead}</p>
            </header>
            {children()}
        </section>
    }
}

/// A box with something to do.
#[component]
pub fn Try(#[prop(into)] title: String, children: Children) -> impl IntoView {
    view! {
        <div class="try">
            <h3 class="try-title">{title}</h3>
            {children()}
        </div>
    }
}

/// A word that highlights its stage in the diagram, and is highlighted when the pointer is on that stage.
#[component]
pub fn Point(stage: u8, #[prop(optional)] meaning: Option<Meaning>, children: Children) -> impl IntoView {
    let s = state();
    let hue = meaning.unwrap_or(Meaning::Plain).class();
    let lit = move || s.pointed.get() == Some(stage);
    let point = move || s.pointed.set(Some(stage));
    let leave = move || s.pointed.set(None);
    view! {
        <button
            type="button"
            class=format!("point {hue}")
            class:lit=lit
            title=format!("Stage {stage} in the diagram")
            on:mouseenter=move |_| point()
            on:mouseleave=move |_| leave()
            on:focus=move |_| point()
            on:blur=move |_| leave()
            on:click=move |_| s.opened.set(Some(stage))
        >
            {children()}
        </button>
    }
}

/// A formula on its own line; a long one scrolls. It is MathML text, because the page would be larger with a view of each element.
#[component]
pub fn Formula(label: &'static str, math: &'static str) -> impl IntoView {
    view! { <figure class="formula" aria-label=label tabindex="0" role="group" inner_html=math></figure> }
}

/// The symbols of a formula, each with its meaning and current value.
#[component]
pub fn Symbols(children: Children) -> impl IntoView {
    view! { <dl class="terms">{children()}</dl> }
}

/// One symbol: how it is written, its meaning, its current value.
#[component]
pub fn Symbol(
    /// As written in the formula.
    is: &'static str,
    /// A subscript.
    #[prop(optional)]
    sub: &'static str,
    #[prop(optional)] stage: Option<u8>,
    #[prop(optional)] meaning: Option<Meaning>,
    #[prop(optional, into)] now: Option<Signal<String>>,
    children: Children,
) -> impl IntoView {
    let s = state();
    let hue = meaning.unwrap_or(Meaning::Plain).class();
    let lit = move || stage.is_some() && s.pointed.get() == stage;
    let symbol = match sub {
        "" => format!("<math><mi>{is}</mi></math>"),
        _ => format!("<math><msub><mi>{is}</mi><mi>{sub}</mi></msub></math>"),
    };
    view! {
        <div
            class=format!("term {hue}")
            class:lit=lit
            on:mouseenter=move |_| s.pointed.set(stage)
            on:mouseleave=move |_| s.pointed.set(None)
        >
            <dt inner_html=symbol></dt>
            <dd>
                <span>{children()}</span>
                {now.map(|now| view! { <span class="term-now num">{now}</span> })}
            </dd>
        </div>
    }
}

/// Says whether numbers are live or recorded.
#[component]
pub fn Source(#[prop(into)] live: Signal<bool>) -> impl IntoView {
    view! {
        <span class="source" class:live=live>
            {move || if live.get() { "live" } else { "recorded" }}
        </span>
    }
}

/// Shows a view as soon as there is a value, and keeps its elements while the value changes.
pub fn when_some<T: Clone + Send + Sync + 'static>(
    value: impl Fn() -> Option<T> + Copy + Send + Sync + 'static,
    view: impl Fn(Signal<T>) -> AnyView + Send + Sync + 'static,
) -> AnyView {
    let shown = move || {
        let first = untrack(value)?;
        Some(view(Signal::derive(move || value().unwrap_or_else(|| first.clone()))))
    };
    when(memo(move || value().is_some()), Box::new(shown))
}

/// Apart from [`when_some`], so that it is compiled once.
fn when(any: Memo<bool>, view: Box<dyn Fn() -> Option<AnyView> + Send + Sync>) -> AnyView {
    (move || any.get().then(&view).flatten()).into_any()
}

/// A box to tick.
pub fn tick(label: &'static str, on: RwSignal<bool>) -> impl IntoView {
    view! {
        <label class="tick">
            <input type="checkbox" prop:checked=move || on.get() on:change=move |event| on.set(event_target_checked(&event)) />
            <span>{label}</span>
        </label>
    }
}

/// A field for a text of at most `longest` characters.
pub fn text_field(label: &'static str, rows: &'static str, longest: usize, text: RwSignal<String>) -> impl IntoView {
    view! {
        <label class="field wide">
            <span>{label}</span>
            <textarea
                rows=rows
                maxlength=longest.to_string()
                prop:value=move || text.get()
                on:input=move |event| text.set(event_target_value(&event))
            ></textarea>
        </label>
    }
}

/// A button that copies a text and says so.
pub fn copy_button(label: &'static str, text: Box<dyn Fn() -> String>) -> AnyView {
    let done = browser::Flag::new(Duration::from_secs(2));
    let copy = move |_| {
        browser::copy(&text());
        done.raise();
    };
    view! { <button type="button" on:click=copy>{move || if done.get() { "Copied" } else { label }}</button> }
        .into_any()
}

/// Whether a request of a kind is open.
pub fn asked(kind: fn(&Ask) -> bool) -> Signal<bool> {
    let s = state();
    Signal::derive(move || s.busy.with(|b| b.as_ref().is_some_and(|b| b.has(kind))))
}

/// Number of held-out dialogues to use.
#[component]
pub fn DialogueCount(n: RwSignal<usize>) -> impl IntoView {
    let s = state();
    let most = move || s.dialogues.with(|all| all.iter().filter(|d| d.held_out).count()).max(1);
    view! {
        <label class="field">
            <span>"Dialogues"</span>
            <input
                type="number" min="1" max=move || most().to_string() step="1" class="num"
                prop:value=move || n.get().to_string()
                on:change=move |event| {
                    if let Ok(value) = event_target_value(&event).parse::<usize>() {
                        n.set(value.clamp(1, most()));
                    }
                }
            />
        </label>
    }
}

/// The line below a button that sent a request: its progress, or what it waits for.
#[component]
pub fn Pending(kind: fn(&Ask) -> bool) -> AnyView {
    let e = engine();
    let s = e.state;
    let open = asked(kind);
    let mine = move || s.busy.with(|b| b.as_ref().is_some_and(|b| kind(&b.ask) || b.ask == Ask::Load));
    let failed = move || s.failed.with(|f| f.as_ref().filter(|(ask, _)| kind(ask)).map(|(_, what)| what.clone()));
    let line = move || {
        if !open.get() {
            failed().map(|what| view! { <p class="setting-error">{what}</p> }).into_any()
        } else if mine() {
            view! { <Working /> }.into_any()
        } else if s.waiting.get() {
            view! {
                <p class="note">
                    "A PPO step is paused at a stage; this starts when the step is done. "
                    <button type="button" class="link" on:click=move |_| e.one_step()>"Finish the step"</button>
                </p>
            }
            .into_any()
        } else {
            let first = s.busy.with(|b| b.as_ref().map(|b| doing(&b.ask))).unwrap_or_default();
            view! { <p class="note">{format!("{first} first…")}</p> }.into_any()
        }
    };
    line.into_any()
}
