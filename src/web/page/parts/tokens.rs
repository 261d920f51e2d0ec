//! The tokens of a text with their ids, and the most probable tokens at a position.

use super::format;
use super::keys::{Direction, follow, moved, tab_index};
use crate::protocol::{Piece, Token};
use leptos::prelude::*;
use std::sync::Arc;

/// A token's text made visible: without the leading space; line breaks and an empty text as signs.
pub fn shown(text: &str) -> String {
    match text.trim_start_matches(' ') {
        "" if text.is_empty() => "∅".into(),
        "" => "␣".into(),
        visible => visible.replace('\n', "⏎").replace('\t', "⇥"),
    }
}

/// A token of a list: its text, and what is said when the pointer rests on it.
pub type Chip = (String, Option<String>);

/// Tokens in order; one can be chosen, and the arrow keys move along them.
#[component]
pub fn Chips(
    #[prop(into)] tokens: Signal<Vec<Chip>>,
    chosen: RwSignal<Option<usize>>,
    label: &'static str,
) -> impl IntoView {
    let current = move || chosen.get().unwrap_or(0);
    let keys = move |event| {
        if let Some(next) = follow(&event, untrack(current), tokens.read_untracked().len(), Direction::Across) {
            chosen.set(Some(next));
        }
    };
    let chip = move |(k, (text, title)): (usize, &Chip)| {
        let class = if text.starts_with(' ') { "chip is-word" } else { "chip" };
        let point = move |event| {
            if moved(&event) {
                chosen.set(Some(k));
            }
        };
        view! {
            <span
                role="option"
                class=class
                data-item=k.to_string()
                title=title.clone()
                tabindex=move || tab_index(current() == k)
                aria-selected=move || (chosen.get() == Some(k)).to_string()
                on:click=move |_| chosen.set(Some(k))
                on:focus=move |_| chosen.set(Some(k))
                on:pointermove=point
            >
                {shown(text)}
            </span>
        }
    };
    view! {
        <div
            class="chips"
            role="listbox"
            aria-orientation="horizontal"
            aria-label=label
            hidden=move || tokens.read().is_empty()
            on:keydown=keys
        >
            {move || tokens.read().iter().enumerate().map(chip).collect_view()}
        </div>
    }
}

/// The tokens of the prompt, and the id of the chosen one.
#[component]
pub fn PromptTokens(#[prop(into)] pieces: Signal<Arc<Vec<Piece>>>) -> impl IntoView {
    let chosen = RwSignal::new(None::<usize>);
    let tokens =
        Signal::derive(move || pieces.read().iter().map(|piece| (piece.text.clone(), None)).collect::<Vec<_>>());
    let read = move || {
        let pieces = pieces.read();
        match chosen.get().and_then(|k| pieces.get(k).map(|piece| (k, piece))) {
            Some((k, piece)) => {
                format!("“{}” is id {}, token {} of {}", shown(&piece.text), piece.id, k + 1, pieces.len())
            }
            None => format!("{} tokens; select one to see its id", pieces.len()),
        }
    };
    view! {
        <div class="tokens">
            <Chips tokens chosen label="Tokens of the prompt" />
            <p class="tokens-read num" aria-live="polite">
                {read}
            </p>
        </div>
    }
}

/// The most probable tokens at a position; the sampled one is marked.
#[component]
pub fn NextTokens(#[prop(into)] token: Signal<Token>) -> impl IntoView {
    let rows = move || {
        let token = token.get();
        let among = token.top.iter().any(|candidate| candidate.id == token.id);
        let mut rows: Vec<(u32, String, f32)> =
            token.top.iter().map(|candidate| (candidate.id, candidate.text.clone(), candidate.probability)).collect();
        if !among {
            rows.push((token.id, token.text.clone(), token.logprob.exp()));
        }
        let largest = rows.iter().map(|row| row.2).fold(f32::MIN_POSITIVE, f32::max);
        let row = |(id, text, probability): (u32, String, f32)| {
            let chosen = id == token.id;
            let width = format!("{:.2}%", 100.0 * probability / largest);
            view! {
                <tr class=if chosen { "is-chosen" } else { "" }>
                    <th scope="row">
                        <span class="chip">{shown(&text)}</span>
                        {chosen.then(|| view! { <span class="chosen-mark">"chosen"</span> })}
                    </th>
                    <td class="num">{format::probability(f64::from(probability))}</td>
                    <td class="bar-cell" aria-hidden="true">
                        <span class="bar m-policy" style:width=width></span>
                    </td>
                </tr>
            }
        };
        rows.into_iter().map(row).collect_view()
    };
    view! {
        <table class="next">
            <caption>"The most probable tokens here, before top-k and top-p, the most probable first"</caption>
            <thead class="sr-only">
                <tr>
                    <th scope="col">"token"</th>
                    <th scope="col">"probability"</th>
                    <td></td>
                </tr>
            </thead>
            <tbody>{rows}</tbody>
        </table>
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn every_token_can_be_seen() {
        assert_eq!(["", " ", " the", "s", "\n", "</s>"].map(shown), ["∅", "␣", "the", "s", "⏎", "</s>"]);
    }
}
