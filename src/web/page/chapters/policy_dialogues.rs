//! Browsing the shipped dialogues, or typing one.

use super::common::{text_field, tick};
use crate::protocol::Dialogue;
use crate::web::page::engine::state;
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;

/// Dialogues on a page of the list.
const PAGE: usize = 5;

/// Maximum number of characters of a dialogue; the lab keeps dialogues of 200 to 1000.
const LONGEST: usize = 1000;

/// Search, list and text field; `chosen` is the dialogue that the chapter works on.
#[component]
pub fn Dialogues(chosen: RwSignal<String>) -> impl IntoView {
    let s = state();
    let words = RwSignal::new(String::new());
    let held_out = RwSignal::new(true);
    let page = RwSignal::new(0_usize);
    let found = memo(move || s.dialogues.with(|d| matching(d, &words.get(), held_out.get())));
    let pages = move || found.with(|f| f.len().div_ceil(PAGE).max(1));
    let item = move |dialogue: Dialogue| {
        let (text, here) = (dialogue.dialogue.clone(), dialogue.dialogue.clone());
        view! {
            <li>
                <button
                    type="button"
                    class="dialogue"
                    aria-pressed=move || (chosen.get() == here).to_string()
                    on:click=move |_| chosen.set(text.clone())
                >
                    <span class="num note">{dialogue.id.clone()}</span>
                    <span>{first_line(&dialogue.dialogue)}</span>
                </button>
            </li>
        }
    };
    let list = move || {
        let from = page.get().min(pages() - 1) * PAGE;
        let here: Vec<usize> = found.with(|f| f.iter().skip(from).take(PAGE).copied().collect());
        s.dialogues.with(|d| here.into_iter().filter_map(|i| d.get(i).cloned()).map(item).collect_view())
    };
    Effect::new(move |_| {
        words.track();
        held_out.track();
        page.set(0);
    });
    view! {
        <div class="fields">
            <label class="field">
                <span>"Find words"</span>
                <input type="search" prop:value=move || words.get() on:input=move |event| words.set(event_target_value(&event)) />
            </label>
            {tick("only those held out from training", held_out)}
        </div>
        <ul class="dialogues" aria-label="Dialogues">{list}</ul>
        <p class="row">
            <button type="button" disabled=move || page.get() == 0 on:click=move |_| page.update(|p| *p -= 1)>"Previous"</button>
            <span class="num" role="status">
                {move || {
                    let n = found.with(Vec::len);
                    if n == 0 {
                        "No dialogue has these words".to_owned()
                    } else {
                        format!("page {} of {}, {n} dialogues", page.get().min(pages() - 1) + 1, pages())
                    }
                }}
            </span>
            <button type="button" disabled=move || { page.get() + 1 >= pages() } on:click=move |_| page.update(|p| *p += 1)>"Next"</button>
        </p>
        {text_field("The dialogue, or one of your own", "6", LONGEST, chosen)}
        <p class="note num" role="status">
            {move || {
                let n = chosen.with(|c| c.chars().count());
                match n {
                    0 => "Nothing typed yet".to_owned(),
                    n if n >= LONGEST => format!("{n} characters, the maximum"),
                    n => format!("{n} of {LONGEST} characters"),
                }
            }}
        </p>
    }
}

/// Indices of the dialogues that contain every word asked for.
fn matching(dialogues: &[Dialogue], words: &str, held_out: bool) -> Vec<usize> {
    // The shipped dialogues are ASCII, and Unicode's table of lower-case letters is 11 kB.
    let words: Vec<String> = words.split_whitespace().map(str::to_ascii_lowercase).collect();
    let holds = |d: &Dialogue| {
        let text = format!("{} {}", d.id, d.dialogue).to_ascii_lowercase();
        (!held_out || d.held_out) && words.iter().all(|w| text.contains(w))
    };
    dialogues.iter().enumerate().filter(|(_, d)| holds(d)).map(|(i, _)| i).collect()
}

/// The first line, shortened.
fn first_line(dialogue: &str) -> String {
    let line = dialogue.lines().next().unwrap_or_default();
    let short: String = line.chars().take(90).collect();
    if short.len() < line.len() { format!("{}…", short.trim_end()) } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue(id: &str, text: &str, held_out: bool) -> Dialogue {
        Dialogue { id: id.into(), dialogue: text.into(), summary: String::new(), held_out }
    }

    #[test]
    fn every_word_must_be_there() {
        let all =
            [dialogue("heated-1", "You fool! The Rings?", true), dialogue("calm-1", "The weather is fine.", false)];
        assert_eq!(matching(&all, "", false), [0, 1]);
        assert_eq!(matching(&all, "", true), [0]);
        assert_eq!(matching(&all, "rings THE", false), [0]);
        assert_eq!(matching(&all, "calm", false), [1]);
        assert!(matching(&all, "the sea", false).is_empty());
    }

    #[test]
    fn a_long_line_is_cut_at_a_letter() {
        assert_eq!(first_line("short\nsecond"), "short");
        let long = "ä".repeat(100);
        assert_eq!(first_line(&long).chars().count(), 91);
    }
}
