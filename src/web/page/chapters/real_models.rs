//! The lab's real models: choosing their files, what they will need, keeping them in this browser, and loading them.

use super::common::{Pending, Try, tick};
use super::real_models_kept::{InUse, Kept};
use crate::protocol::{Answer, Ask, Event, Incoming, Needs, NumberType, Role};
use crate::web::page::browser;
use crate::web::page::client::now;
use crate::web::page::engine::{Engine, engine};
use crate::web::page::importer::{Chosen, End, Job};
use crate::web::page::parts::format;
use crate::web::page::parts::progress::Progress;
use crate::web::page::parts::table::scrolling_table;
use crate::web::page::state::Counted;
use leptos::prelude::*;
use std::sync::Arc;
use wasm_bindgen::JsCast;
use web_sys::{File, HtmlInputElement};

/// The id of this part, for links.
pub const ID: &str = "real-models";

/// The files chosen so far, and the second worker's job with them.
#[derive(Clone, Copy)]
struct Choice {
    engine: Engine,
    inside: StoredValue<Inside, LocalStorage>,
    /// What is chosen, in words: of the policy, of the reward model.
    said: [RwSignal<String>; 2],
    needs: RwSignal<Option<Arc<Needs>>>,
    /// The chosen number type, by its place in `NumberType::ALL`.
    weights: RwSignal<usize>,
    /// The reward model's harmless label, if it had to be chosen.
    harmless: RwSignal<String>,
    /// What the job does; empty: there is none.
    doing: RwSignal<String>,
    /// Its progress.
    counted: RwSignal<Option<Counted>>,
}

#[derive(Default)]
struct Inside {
    files: Vec<Chosen>,
    job: Option<Job>,
}

impl Choice {
    fn new() -> Self {
        Self {
            engine: engine(),
            inside: StoredValue::new_local(Inside::default()),
            said: [RwSignal::default(), RwSignal::default()],
            needs: RwSignal::default(),
            weights: RwSignal::default(),
            harmless: RwSignal::default(),
            doing: RwSignal::default(),
            counted: RwSignal::default(),
        }
    }

    /// Takes the files of one model. When both models are chosen, their headers are read.
    fn choose(self, role: Role, files: Vec<File>) {
        let size: f64 = files.iter().map(|file| file.size()).sum();
        let words = format!("{} files, {}", files.len(), format::bytes(size as u64));
        self.said[role.index()].set(words);
        self.needs.set(None);
        let mut both = false;
        self.inside.update_value(|Inside { files: all, .. }| {
            all.retain(|(of, _)| *of != role);
            both = !all.is_empty();
            all.extend(files.into_iter().map(|file| (role, file)));
        });
        if both {
            self.start("Reading the files' headers", Ask::Needs { models: self.models() }, move |answer| {
                if let Answer::Needs(needs) = answer {
                    self.weights.set(needs.types.iter().position(|needs| needs.fits).unwrap_or(0));
                    self.harmless.set(needs.labels.first().cloned().unwrap_or_default());
                    self.needs.set(Some(Arc::new(needs)));
                }
            });
        }
    }

    /// The reward model's labels, the harmless one first; none if their names say it.
    fn labels(self) -> Option<String> {
        let harmless = self.harmless.get_untracked();
        let other = self.needs.get_untracked()?.labels.iter().find(|label| **label != harmless)?.clone();
        Some(format!("{harmless},{other}"))
    }

    fn models(self) -> [Incoming; 2] {
        self.inside.with_value(|Inside { files: all, .. }| {
            [Role::Policy, Role::Reward].map(|role| {
                let files: Vec<&File> = all.iter().filter(|(of, _)| *of == role).map(|(_, file)| file).collect();
                Incoming {
                    role,
                    name: name(role, &files),
                    source: source(&files),
                    labels: if role == Role::Reward { self.labels() } else { None },
                }
            })
        })
    }

    /// Starts the second worker on the chosen files; an error is shown as a notice.
    fn start(self, doing: &'static str, ask: Ask, on_answer: impl FnOnce(Answer) + 'static) {
        let s = self.engine.state;
        self.cancel();
        let (since, keeping) = (now(), matches!(ask, Ask::Keep { .. }));
        self.counted.set(None);
        self.doing.set(doing.into());
        let on_event = move |event| {
            if let Event::Bytes { done, of } = event {
                let (done, of) = (done as f64, of as f64);
                self.counted.set(Some(Counted { id: 0, phase: None, done, of, since, now: now() }));
            }
        };
        let on_end = move |end: End| {
            self.doing.set(String::new());
            match end {
                Ok(answer) => on_answer(answer),
                Err(crate::error::Error::Stopped) => s.say("Stopped".into()),
                Err(error) => {
                    s.tell(true, error.what(), error.hint().into());
                    if keeping {
                        // A model may be whole already: this answers with the list.
                        self.engine.ask(Ask::Remove { keys: Vec::new() });
                    }
                }
            }
        };
        let files = self.inside.with_value(|inside| inside.files.clone());
        let job = Job::start(ask, files, Box::new(on_event), Box::new(on_end));
        self.inside.update_value(|inside| inside.job = Some(job));
    }

    fn cancel(self) {
        if let Some(job) = self.inside.with_value(|inside| inside.job.clone()) {
            job.cancel();
        }
    }

    /// Keeps the chosen models in this browser, and loads them.
    fn keep(self) {
        let e = self.engine;
        browser::ask_to_persist();
        let weights = NumberType::ALL[self.weights.get_untracked()];
        let ask = Ask::Keep { models: self.models(), weights };
        self.start("Converting the models", ask, move |answer| {
            let Answer::Kept(models) = answer else { return };
            let keys = [Role::Policy, Role::Reward].map(|role| {
                models.iter().find(|model| model.role == role).map(|model| model.key.clone()).unwrap_or_default()
            });
            e.state.models.set(models);
            e.use_models(keys);
        });
    }
}

/// A model's name: its folder's, or that of its GGUF file.
fn name(role: Role, files: &[&File]) -> String {
    let folder = files.first().and_then(|file| path(file)).and_then(|path| Some(path.split_once('/')?.0.to_owned()));
    let gguf = files.iter().find_map(|file| Some(file.name().strip_suffix(".gguf")?.to_owned()));
    let other = if role == Role::Policy { "policy from files" } else { "reward model from files" };
    gguf.or(folder).unwrap_or_else(|| other.into())
}

/// What distinguishes these files from others.
fn source(files: &[&File]) -> String {
    let one = |file: &&File| format!("{} ({} bytes, {})", file.name(), file.size(), file.last_modified());
    files.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A file's path below the chosen folder; none where single files were chosen.
fn path(file: &File) -> Option<String> {
    js_sys::Reflect::get(file, &"webkitRelativePath".into()).ok()?.as_string().filter(|path| !path.is_empty())
}

#[component]
pub fn RealModels() -> impl IntoView {
    let choice = Choice::new();
    let folders = RwSignal::new(false);
    let bar = move |f: fn(Counted) -> f64| Signal::derive(move || choice.counted.get().map_or(0.0, f));
    let seconds = Signal::derive(move || choice.counted.get().map(seconds).filter(|seconds| *seconds > 0.5));
    let working = Memo::new(move |_| !choice.doing.with(String::is_empty));
    view! {
        <div id=ID>
            <Try title="The lab's own models">
                <p>
                    "This page can also run the models of the lab: a " <b class="m-policy">"FLAN-T5"</b> " such as google/flan-t5-small, with a "
                    "new LoRA adapter, and the " <b class="m-reward">"RoBERTa"</b> " facebook/roberta-hate-speech-dynabench-r4-target. "
                    "Download their files once (config.json, tokenizer.json, and the weights as safetensors or GGUF) and choose them here. "
                    "They are read on this machine, converted, and kept in this browser; nothing is sent anywhere."
                </p>
                {tick("choose whole folders", folders)}
                <Files choice=choice role=Role::Policy label="Files of the policy (T5)" folders=folders />
                <Files choice=choice role=Role::Reward label="Files of the reward model (RoBERTa)" folders=folders />
                <WhatItNeeds choice=choice />
                {move || {
                    working.get().then(|| {
                        view! {
                            <Progress
                                label=Signal::derive(move || speed(&choice.doing.get(), choice.counted.get()))
                                done=bar(|counted| counted.done)
                                of=bar(|counted| counted.of)
                                bytes=true
                                seconds=seconds
                                on_cancel=Callback::new(move |()| choice.cancel())
                            />
                        }
                    })
                }}
                <Kept />
                <Pending kind=|ask: &Ask| matches!(ask, Ask::Use { .. } | Ask::Remove { .. }) />
                <InUse />
            </Try>
        </div>
    }
}

/// What is done, with its speed.
fn speed(doing: &str, counted: Option<Counted>) -> String {
    match counted {
        Some(counted) if seconds(counted) > 0.5 => {
            format!("{doing}: {} per second", format::bytes((counted.done / seconds(counted)) as u64))
        }
        _ => doing.to_owned(),
    }
}

fn seconds(counted: Counted) -> f64 {
    (counted.now - counted.since) / 1000.0
}

/// A field for the files of one model; files can be dropped on it.
#[component]
fn Files(choice: Choice, role: Role, label: &'static str, folders: RwSignal<bool>) -> impl IntoView {
    let choose = move |event: web_sys::Event| {
        let input = event.target().and_then(|t| t.dyn_into::<HtmlInputElement>().ok());
        let Some(list) = input.as_ref().and_then(HtmlInputElement::files) else { return };
        // Only files directly in the folder belong to the model.
        let direct = |file: &File| path(file).is_none_or(|path| path.matches('/').count() == 1);
        let files: Vec<File> = (0..list.length()).filter_map(|i| list.get(i)).filter(direct).collect();
        if !files.is_empty() {
            choice.choose(role, files);
        }
    };
    view! {
        <label class="field wide">
            <span>{label}</span>
            <input type="file" multiple=true prop:webkitdirectory=move || folders.get() on:change=choose />
        </label>
        <p class="note">{choice.said[role.index()]}</p>
    }
}

/// What the chosen models will need in each number type, and the button that keeps and loads them.
#[component]
fn WhatItNeeds(choice: Choice) -> impl IntoView {
    let rows = move |needs: &Needs| {
        let row = |needs: &crate::protocol::TypeNeeds| {
            let (at, fits) =
                (NumberType::ALL.iter().position(|weights| *weights == needs.weights).unwrap_or(0), needs.fits);
            view! {
                <tr>
                    <th scope="row">
                        <label class="tick">
                            <input
                                type="radio"
                                name="number-type"
                                disabled=!fits
                                prop:checked=move || choice.weights.get() == at
                                on:change=move |_| choice.weights.set(at)
                            />
                            <span>{needs.weights.name()}</span>
                        </label>
                    </th>
                    <td class="num">{format::bytes(needs.storage)}</td>
                    <td class="num">{format::bytes(needs.loading)}</td>
                    <td class="num">{format::bytes(needs.training)}</td>
                    <td>{if fits { "yes" } else { "no: a tab can have 4 GB" }}</td>
                </tr>
            }
        };
        needs.types.iter().map(row).collect_view()
    };
    move || {
        let needs = choice.needs.get()?;
        let fits = needs.types.iter().any(|needs| needs.fits);
        let heads = ["number type", "storage", "memory while loading", "memory in a PPO step", "fits"];
        Some(view! {
            <h4>"What they need"</h4>
            <p>{needs.words.clone()}</p>
            {scrolling_table("What the models need", "", &heads, rows(&needs))}
            {(!needs.labels.is_empty())
                .then(|| {
                    let options = needs.labels.iter().map(|label| view! { <option>{label.clone()}</option> }).collect_view();
                    view! {
                        <label class="field">
                            <span>"The reward model's harmless label"</span>
                            <select on:change=move |event| choice.harmless.set(event_target_value(&event))>{options}</select>
                        </label>
                    }
                })}
            <p class="note">{browser::memory_note()}</p>
            <p class="row">
                <button
                    type="button"
                    class="primary"
                    disabled=move || !fits || !choice.doing.with(String::is_empty)
                    on:click=move |_| choice.keep()
                >
                    "Keep them in this browser and load them"
                </button>
                {(!fits).then(|| view! { <span class="note">"These models are too large for a tab, even in q8_0: choose flan-t5-small or -base"</span> })}
            </p>
        })
    }
}
