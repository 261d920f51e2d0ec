//! The lab's real models: choosing their files, what they will need, keeping them in this browser, and loading them.

use super::common::{Pending, Try, tick};
use crate::protocol::{Answer, Ask, Event, Incoming, KeptModel, Needs, NumberType, Role};
use crate::settings::{PpoConfig, Preset};
use crate::web::page::browser;
use crate::web::page::client::now;
use crate::web::page::engine::{Engine, engine};
use crate::web::page::importer::{Chosen, Job};
use crate::web::page::parts::format;
use crate::web::page::parts::progress::Progress;
use crate::web::page::parts::settings_edit::{spoken, values};
use crate::web::page::parts::table::scrolling_table;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{File, HtmlInputElement};

/// The id of this part, for links.
pub const ID: &str = "real-models";

/// The files chosen so far, and the second worker's job with them.
#[derive(Clone, Copy)]
struct Choice {
    engine: Engine,
    files: StoredValue<Vec<Chosen>, LocalStorage>,
    /// What is chosen, in words: of the policy, of the reward model.
    said: RwSignal<[String; 2]>,
    needs: RwSignal<Option<Needs>>,
    weights: RwSignal<NumberType>,
    job: StoredValue<Option<Job>, LocalStorage>,
    /// What the job does; none: there is none.
    doing: RwSignal<Option<&'static str>>,
    /// Bytes done, bytes in all, seconds since it began.
    progress: RwSignal<(f64, f64, f64)>,
}

impl Choice {
    fn new() -> Self {
        Self {
            engine: engine(),
            files: StoredValue::new_local(Vec::new()),
            said: RwSignal::default(),
            needs: RwSignal::default(),
            weights: RwSignal::default(),
            job: StoredValue::new_local(None),
            doing: RwSignal::default(),
            progress: RwSignal::default(),
        }
    }

    /// Takes the files of one model. When both models are chosen, their headers are read.
    fn choose(self, role: Role, files: Vec<File>) {
        let size: f64 = files.iter().map(|file| file.size()).sum();
        let words = format!("{} files, {}", files.len(), format::bytes(size as u64));
        self.said.update(|said| said[usize::from(role == Role::Reward)] = words);
        self.needs.set(None);
        self.files.update_value(|all| {
            all.retain(|(of, _)| *of != role);
            all.extend(files.into_iter().map(|file| (role, file)));
        });
        let both = [Role::Policy, Role::Reward];
        if both.iter().all(|role| self.files.with_value(|all| all.iter().any(|(of, _)| of == role))) {
            self.start("Reading the files' headers", Ask::Needs { models: self.models() }, move |answer| {
                if let Answer::Needs(needs) = answer {
                    let fits = needs.types.iter().find(|needs| needs.fits).map(|needs| needs.weights);
                    self.weights.set(fits.unwrap_or_default());
                    self.needs.set(Some(needs));
                }
            });
        }
    }

    fn models(self) -> [Incoming; 2] {
        self.files.with_value(|all| {
            [Role::Policy, Role::Reward].map(|role| {
                let files: Vec<&File> = all.iter().filter(|(of, _)| *of == role).map(|(_, file)| file).collect();
                Incoming { role, name: name(role, &files), source: source(&files) }
            })
        })
    }

    /// Starts the second worker on the chosen files; an error is shown as a notice.
    fn start(self, doing: &'static str, ask: Ask, on_answer: impl FnOnce(Answer) + 'static) {
        let s = self.engine.state;
        if let Some(job) = self.job.get_value() {
            job.cancel();
        }
        let since = now();
        self.progress.set((0.0, 0.0, 0.0));
        self.doing.set(Some(doing));
        let on_event = move |event| {
            if let Event::Bytes { done, of } = event {
                self.progress.set((done as f64, of as f64, (now() - since) / 1000.0));
            }
        };
        let on_end = move |end| {
            self.doing.set(None);
            match end {
                Ok(answer) => on_answer(answer),
                Err(crate::error::Error::Stopped) => s.say("Stopped".into()),
                Err(error) => s.tell(true, error.what(), error.hint().into()),
            }
        };
        self.job.set_value(Some(Job::start(ask, self.files.get_value(), on_event, on_end)));
    }

    /// Keeps the chosen models in this browser, and loads them.
    fn keep(self) {
        let e = self.engine;
        browser::ask_to_persist();
        let ask = Ask::Keep { models: self.models(), weights: self.weights.get_untracked() };
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
    let bar = move |f: fn((f64, f64, f64)) -> f64| Signal::derive(move || f(choice.progress.get()));
    let seconds = Signal::derive(move || Some(choice.progress.get().2).filter(|seconds| *seconds > 0.5));
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
                    choice.doing.get().map(|doing| {
                        let cancel = Callback::new(move |()| {
                            if let Some(job) = choice.job.get_value() {
                                job.cancel();
                            }
                        });
                        view! {
                            <Progress
                                label=Signal::derive(move || speed(doing, choice.progress.get()))
                                done=bar(|p| p.0)
                                of=bar(|p| p.1)
                                bytes=true
                                seconds=seconds
                                on_cancel=cancel
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
fn speed(doing: &str, (done, _, seconds): (f64, f64, f64)) -> String {
    match done / seconds {
        speed if seconds > 0.5 && done > 0.0 => format!("{doing}: {} per second", format::bytes(speed as u64)),
        _ => doing.to_owned(),
    }
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
        <p class="note">{move || choice.said.with(|said| said[usize::from(role == Role::Reward)].clone())}</p>
    }
}

/// What the chosen models will need in each number type, and the button that keeps and loads them.
#[component]
fn WhatItNeeds(choice: Choice) -> impl IntoView {
    let rows = move |needs: &Needs| {
        let row = |needs: &crate::protocol::TypeNeeds| {
            let (weights, fits) = (needs.weights, needs.fits);
            view! {
                <tr>
                    <th scope="row">
                        <label class="tick">
                            <input
                                type="radio"
                                name="number-type"
                                disabled=!fits
                                prop:checked=move || choice.weights.get() == weights
                                on:change=move |_| choice.weights.set(weights)
                            />
                            <span>{weights.name()}</span>
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
        let [policy, reward] = needs.parameters.map(format::count);
        let step = format!(
            "Policy: {policy} parameters; reward model: {reward}. A PPO step has {} rows, {} in a mini-batch, with prompts of up to {} and \
             responses of {} tokens. In 8 bits (q8_0) numbers differ slightly from the original ones.",
            needs.batch, needs.mini_batch, needs.prompt, needs.response,
        );
        let heads = ["number type", "storage", "memory while loading", "memory in a PPO step", "fits"];
        Some(view! {
            <h4>"What they need"</h4>
            <p>{step}</p>
            {scrolling_table("What the models need", "", &heads, rows(&needs))}
            <p class="note">{browser::memory_note()}</p>
            <p class="row">
                <button
                    type="button"
                    class="primary"
                    disabled=move || !fits || choice.doing.get().is_some()
                    on:click=move |_| choice.keep()
                >
                    "Keep them in this browser and load them"
                </button>
                {(!fits).then(|| view! { <span class="note">"These models are too large for a tab: choose flan-t5-small"</span> })}
            </p>
        })
    }
}

/// The models that this browser keeps.
#[component]
fn Kept() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let chosen = RwSignal::new([String::new(), String::new()]);
    let place = |role| usize::from(role == Role::Reward);
    // The first two of the list, until others are chosen or after these were removed.
    Effect::new(move |_| {
        let models = s.models.get();
        let is = |role, key: &str| models.iter().any(|model| model.role == role && model.key == key);
        chosen.update(|chosen| {
            for role in [Role::Policy, Role::Reward] {
                if !is(role, &chosen[place(role)]) {
                    let first = models.iter().find(|model| model.role == role);
                    chosen[place(role)] = first.map(|model| model.key.clone()).unwrap_or_default();
                }
            }
        });
    });
    let remove = move |keys: Vec<String>| {
        e.ask(Ask::Remove { keys });
    };
    let row = move |model: KeptModel| {
        let role = model.role;
        let (key, choose) = (StoredValue::new(model.key.clone()), model.key.clone());
        let kind = if role == Role::Policy { "policy" } else { "reward model" };
        let checked = move || chosen.with(|chosen| key.with_value(|key| *key == chosen[place(role)]));
        let label = format!("Remove {} ({kind}, {})", model.name, model.weights.name());
        view! {
            <tr>
                <th scope="row">
                    <label class="tick">
                        <input
                            type="radio"
                            name=if role == Role::Policy { "kept-policy" } else { "kept-reward" }
                            prop:checked=checked
                            on:change=move |_| chosen.update(|chosen| chosen[place(role)].clone_from(&choose))
                        />
                        <span>{model.name}</span>
                    </label>
                </th>
                <td>{kind}</td>
                <td>{model.weights.name()}</td>
                <td class="num">{format::bytes(model.bytes)}</td>
                <td class="num">{browser::date(model.used)}</td>
                <td>
                    <button type="button" aria-label=label on:click=move |_| remove(vec![key.get_value()])>"Remove"</button>
                </td>
            </tr>
        }
    };
    let pair = Memo::new(move |_| {
        let (models, chosen) = (s.models.get(), chosen.get());
        let of = |key: &String| models.iter().find(|model| model.key == *key).cloned();
        Some([of(&chosen[0])?, of(&chosen[1])?])
    });
    let same = move || pair.with(|pair| pair.as_ref().is_some_and(|[a, b]| a.weights == b.weights));
    let load = move |_| {
        if let Some(pair) = pair.get_untracked() {
            e.use_models(pair.map(|model| model.key));
        }
    };
    let some = Memo::new(move |_| s.models.with(|models| !models.is_empty()));
    let storage = RwSignal::new(String::new());
    Effect::new(move |_| {
        if s.models.with(|models| !models.is_empty()) {
            leptos::task::spawn_local(async move { storage.set(browser::storage_note().await) });
        }
    });
    move || {
        some.get().then(|| {
            let heads = ["model", "role", "number type", "size", "last used", ""];
            let rows = move || s.models.get().into_iter().map(row).collect_view();
            view! {
                <h4>"Kept in this browser"</h4>
                {scrolling_table("Models kept in this browser", "", &heads, rows)}
                <p class="note">{storage}</p>
                <p class="row">
                    <button type="button" class="primary" disabled=move || !same() on:click=load>"Load these two"</button>
                    <button
                        type="button"
                        on:click=move |_| remove(s.models.get_untracked().into_iter().map(|model| model.key).collect())
                    >
                        "Remove all"
                    </button>
                    {move || {
                        let words = "Choose a policy and a reward model of the same number type";
                        (!same()).then(|| view! { <span class="note">{words}</span> })
                    }}
                </p>
            }
        })
    }
}

/// The real models that are loaded: how their settings differ from the lab's, and the way back.
#[component]
fn InUse() -> impl IntoView {
    let e = engine();
    let s = e.state;
    let memory = move || match s.memory.get() {
        0 => String::new(),
        bytes => format!("The worker has taken {} of memory so far.", format::bytes(bytes)),
    };
    move || {
        let loaded = s.loaded.get()?;
        let real = loaded.real.clone()?;
        let [policy, reward] = &real.names;
        let lab = values(&PpoConfig::preset(Preset::Corrected));
        let cut = values(&loaded.corrected).into_iter().filter(|(name, value)| lab.get(name) != Some(value));
        let cut = cut.map(|(name, value)| {
            let was = lab.get(&name).map(spoken).unwrap_or_default();
            view! { <li>{format!("{name}: {} (the lab: {was})", spoken(&value))}</li> }
        });
        Some(view! {
            <h4>"Loaded"</h4>
            <p>{format!("{policy} and {reward}, in {}. Everything on this page now works with them.", real.weights.name())}</p>
            <p>"Settings that differ from the lab's, so that a step is short enough for a tab:"</p>
            <ul>{cut.collect_view()}</ul>
            <p class="note">{memory}</p>
            <p class="row">
                <button type="button" on:click=move |_| e.use_small()>"Back to the small models"</button>
            </p>
        })
    }
}
