//! Tokens of a text as chips with their ids, and what could have come next at a place. Who makes them is the worker's.

use super::format;
use super::keys::{Runs, follow, moved, tab_index};
use crate::protocol::{Piece, Token};
use leptos::prelude::*;
use std::sync::Arc;

/// A token's text as it can be seen: without the space in front, line breaks and emptiness as signs.
pub fn shown(text: &str) -> String {
    match text.trim_start_matches(' ') {
        "" if text.is_empty() => "∅".into(),
        "" => "␣".into(),
        visible => visible.replace('\n', "⏎").replace('\t', "⇥"),
    }
}

/// A text's tokens in order; the id of the chosen one is written out, and arrow keys lead along.
#[component]
pub fn PromptTokens(
    #[prop(into)] pieces: Signal<Arc<Vec<Piece>>>,
    #[prop(optional, into)] label: String,
) -> impl IntoView {
    let chosen = RwSignal::new(None::<usize>);
    let current = move || chosen.get().unwrap_or(0);
    let label = if label.is_empty() { "Tokens of the prompt".to_string() } else { label };
    let keys = move |event| {
        if let Some(next) = follow(&event, untrack(current), pieces.read_untracked().len(), Runs::Across) {
            chosen.set(Some(next));
        }
    };
    let chips = move || {
        let chip = |(k, piece): (usize, &Piece)| {
            let class = if piece.text.starts_with(' ') { "chip is-word" } else { "chip" };
            view! {
                <span
                    role="option"
                    class=class
                    data-item=k.to_string()
                    tabindex=move || tab_index(current() == k)
                    aria-selected=move || (chosen.get() == Some(k)).to_string()
                    on:click=move |_| chosen.set(Some(k))
                    on:focus=move |_| chosen.set(Some(k))
                    on:pointermove=move |event| {
                    if moved(&event) {
                        chosen.set(Some(k));
                    }
                }
                >
                    {shown(&piece.text)}
                </span>
            }
        };
        pieces.read().iter().enumerate().map(chip).collect_view()
    };
    let read = move || {
        let pieces = pieces.read();
        match chosen.get().and_then(|k| pieces.get(k).map(|piece| (k, piece))) {
            Some((k, piece)) => {
                format!("“{}” is id {}, token {} of {}", shown(&piece.text), piece.id, k + 1, pieces.len())
            }
            None => format!("{} tokens; point at one for its id", pieces.len()),
        }
    };
    view! {
        <div class="tokens">
            <div class="chips" role="listbox" aria-orientation="horizontal" aria-label=label on:keydown=keys>
                {chips}
            </div>
            <p class="tokens-read num" aria-live="polite">
                {read}
            </p>
        </div>
    }
}

/// The most probable tokens at a place, the chosen one marked.
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
            <caption>"What could come here, before any filter"</caption>
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
