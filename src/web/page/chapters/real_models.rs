//! The lab's real models: choosing a hub id, an address or files, what they will need, bringing them into this browser, and loading
//! them.

use super::common::{Pending, Try, text_field, tick};
use super::real_models_kept::{InUse, Kept};
use crate::protocol::{Answer, Ask, Event, Incoming, KeptModel, Needs, NumberType, Role};
use crate::web::page::browser;
use crate::web::page::client::now;
use crate::web::page::engine::{Engine, engine};
use crate::web::page::importer::{Chosen, End, Job};
use crate::web::page::parts::format;
use crate::web::page::parts::progress::Progress;
use crate::web::page::parts::table::scrolling_table;
use crate::web::page::state::Counted;
use leptos::prelude::*;
use std::cell::Cell;
use std::sync::Arc;
use wasm_bindgen::JsCast;
use web_sys::{File, HtmlInputElement};

/// The id of this part, for links.
pub const ID: &str = "real-models";

/// The lab's models on the hub.
const ADDRESSES: [&str; 2] = ["google/flan-t5-small", "facebook/roberta-hate-speech-dynabench-r4-target"];

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
    /// What the job does; empty: there is none.
    doing: RwSignal<String>,
    /// Its progress.
    counted: RwSignal<Option<Counted>>,
    /// Hub ids or addresses: of the policy, of the reward model.
    addresses: [RwSignal<String>; 2],
    /// Whether a download is paused; none: there is none.
    paused: RwSignal<Option<bool>>,
    /// Why a download waits.
    note: RwSignal<String>,
}

#[derive(Default)]
struct Inside {
    files: Vec<Chosen>,
    job: Option<Job>,
    /// What is being brought in.
    models: Vec<Incoming>,
}

impl Choice {
    fn new() -> Self {
        Self {
            engine: engine(),
            inside: StoredValue::new_local(Inside::default()),
            said: [RwSignal::default(), RwSignal::default()],
            needs: RwSignal::default(),
            weights: RwSignal::default(),
            doing: RwSignal::default(),
            counted: RwSignal::default(),
            addresses: ADDRESSES.map(|address| RwSignal::new(address.into())),
            paused: RwSignal::default(),
            note: RwSignal::default(),
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
            self.ask();
        }
    }

    /// Asks the servers what the models at the addresses will need.
    fn ask_servers(self) {
        self.inside.update_value(|inside| inside.files.clear());
        self.said.iter().for_each(|said| said.set(String::new()));
        self.needs.set(None);
        self.ask();
    }

    /// Reads the headers of the models' files.
    fn ask(self) {
        self.end_job();
        self.start("Reading the files' headers", Ask::Needs { models: self.models() }, move |answer| {
            if let Answer::Needs(needs) = answer {
                self.weights.set(needs.types.iter().position(|needs| needs.fits).unwrap_or(0));
                self.needs.set(Some(Arc::new(needs)));
            }
        });
    }

    fn models(self) -> [Incoming; 2] {
        self.inside.with_value(|Inside { files: all, .. }| {
            [Role::Policy, Role::Reward].map(|role| {
                let files: Vec<&File> = all.iter().filter(|(of, _)| *of == role).map(|(_, file)| file).collect();
                if files.is_empty() {
                    let source = self.addresses[role.index()].get_untracked().trim().to_owned();
                    return Incoming { role, name: String::new(), source };
                }
                Incoming { role, name: name(role, &files), source: source(&files) }
            })
        })
    }

    /// Starts the second worker; an error is shown as a notice.
    fn start(self, doing: &'static str, ask: Ask, on_answer: impl FnOnce(Answer) + 'static) {
        let s = self.engine.state;
        self.counted.set(None);
        self.doing.set(doing.into());
        let first = Cell::new(None);
        let on_event = move |event| match event {
            Event::Bytes { done, of } => {
                let (done, of, now) = (done as f64, of as f64, now());
                let (from, at) = first.get().unwrap_or((done, now));
                first.set(Some((from, at)));
                // What was here before counts as downloaded at the present speed.
                let since = now - (now - at) * done / (done - from).max(1.0);
                self.note.set(String::new());
                self.counted.set(Some(Counted { id: 0, phase: None, done, of, since, now }));
            }
            Event::Warning(text) => self.note.set(text),
            _ => {}
        };
        let on_end = move |end: End| {
            self.note.set(String::new());
            if self.paused.get_untracked() == Some(true) {
                return self.doing.set("Paused".into());
            }
            self.doing.set(String::new());
            self.paused.set(None);
            match end {
                Ok(answer) => on_answer(answer),
                Err(crate::error::Error::Stopped) => s.say("Stopped".into()),
                Err(error) => {
                    s.tell(true, error.what(), error.hint().into());
                    self.discard(Vec::new());
                }
            }
        };
        let local = match &ask {
            Ask::Keep { models, .. } => models.iter().any(|model| !model.name.is_empty()),
            _ => true,
        };
        let files = if local { self.inside.with_value(|inside| inside.files.clone()) } else { Vec::new() };
        let job = Job::start(ask, files, Box::new(on_event), Box::new(on_end));
        self.inside.update_value(|inside| inside.job = Some(job));
    }

    fn end_job(self) {
        if let Some(job) = self.inside.with_value(|inside| inside.job.clone()) {
            job.cancel();
        }
    }

    /// Removes partial downloads, and asks what is kept now.
    fn discard(self, keys: Vec<String>) {
        self.engine.ask(Ask::Remove { keys, partial: true });
    }

    /// Ends the job, and removes what it has downloaded.
    fn cancel(self) {
        self.paused.set(None);
        self.doing.set(String::new());
        self.end_job();
        let models = self.inside.try_update_value(|inside| std::mem::take(&mut inside.models)).unwrap_or_default();
        let weights = NumberType::ALL[self.weights.get_untracked()];
        self.discard(models.iter().map(|model| model.key(weights)).collect());
    }

    /// Pauses a download, or continues it: it is here as far as it came.
    fn pause(self) {
        if self.paused.get_untracked() == Some(true) {
            return self.bring(self.inside.with_value(|inside| inside.models.clone()));
        }
        self.paused.set(Some(true));
        self.end_job();
    }

    /// Continues the downloads that this browser has in one number type.
    fn resume(self) {
        let mut all = self.engine.state.models.get_untracked();
        all.retain(|model| model.downloaded.is_some());
        let Some(weights) = all.first().map(|model| model.weights) else { return };
        self.weights.set(NumberType::ALL.iter().position(|one| *one == weights).unwrap_or(0));
        all.retain(|model| model.weights == weights);
        let incoming = |model: KeptModel| Incoming { role: model.role, name: String::new(), source: model.source };
        self.bring(all.into_iter().map(incoming).collect());
    }

    /// Brings models into this browser, and loads a policy and a reward model if both are there.
    fn bring(self, models: Vec<Incoming>) {
        let e = self.engine;
        self.end_job();
        browser::ask_to_persist();
        let weights = NumberType::ALL[self.weights.get_untracked()];
        let remote = models.iter().all(|model| model.name.is_empty());
        self.paused.set(remote.then_some(false));
        self.inside.update_value(|inside| inside.models = models.clone());
        let doing = if remote { "Downloading and converting" } else { "Converting the models" };
        self.start(doing, Ask::Keep { models, weights }, move |answer| {
            let Answer::Kept(models) = answer else { return };
            let whole = |role| {
                let mut all = models.iter().filter(|model| model.downloaded.is_none() && model.weights == weights);
                all.find(|model| model.role == role).map(|model| model.key.clone())
            };
            let keys = (whole(Role::Policy), whole(Role::Reward));
            e.state.models.set(models);
            if let (Some(policy), Some(reward)) = keys {
                e.use_models([policy, reward]);
            }
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
    // What was said about other addresses is no longer true.
    Effect::new(move |_| {
        choice.addresses.iter().for_each(|address| address.track());
        if choice.needs.with_untracked(|needs| needs.as_ref().is_some_and(|needs| needs.download > 0)) {
            choice.needs.set(None);
        }
    });
    let working = Memo::new(move |_| !choice.doing.with(String::is_empty));
    view! {
        <div id=ID>
            <Try title="The lab's own models">
                <p>
                    "This page can also run the models of the lab: a " <b class="m-policy">"FLAN-T5"</b> " such as google/flan-t5-small, with a "
                    "new LoRA adapter, and the " <b class="m-reward">"RoBERTa"</b> " facebook/roberta-hate-speech-dynabench-r4-target. "
                    "They are downloaded once, or read from files on this machine, converted, and kept in this browser. "
                    "No other server is asked before you press the button that names it, and nothing of yours is sent."
                </p>
                {text_field("Policy (T5): hub id or address", "1", 300, choice.addresses[0])}
                {text_field("Reward model (RoBERTa): hub id or address", "1", 300, choice.addresses[1])}
                <p class="row">
                    <button type="button" on:click=move |_| choice.ask_servers()>
                        {move || format!("Ask {} what they need", hosts(&choice.addresses.map(|address| address.get())))}
                    </button>
                </p>
                <p>"Or choose their files: config.json, tokenizer.json, and the weights as safetensors, .bin or GGUF."</p>
                {tick("choose whole folders", folders)}
                <Files choice=choice role=Role::Policy label="Files of the policy (T5)" folders=folders />
                <Files choice=choice role=Role::Reward label="Files of the reward model (RoBERTa)" folders=folders />
                <WhatItNeeds choice=choice />
                {move || {
                    working.get().then(|| {
                        view! {
                            <Progress
                                label=Signal::derive(move || speed(&choice.doing.get(), choice.counted.get().filter(|_| choice.paused.get() != Some(true))))
                                done=bar(|counted| counted.done)
                                of=bar(|counted| counted.of)
                                bytes=true
                                seconds=seconds
                                on_cancel=Callback::new(move |()| choice.cancel())
                            />
                            <p class="note" role="status">{choice.note}</p>
                            {move || {
                                choice.paused.get().map(|paused| {
                                    let words = if paused { "Continue" } else { "Pause" };
                                    view! { <button type="button" on:click=move |_| choice.pause()>{words}</button> }
                                })
                            }}
                        }
                    })
                }}
                <Kept resume=Callback::new(move |()| choice.resume()) />
                <Pending kind=|ask: &Ask| matches!(ask, Ask::Use { .. } | Ask::Remove { .. }) />
                <InUse />
            </Try>
        </div>
    }
}

/// The servers that two addresses name.
fn hosts(addresses: &[String; 2]) -> String {
    let [policy, reward] = addresses.each_ref().map(|address| match address.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or_default(),
        None => "huggingface.co",
    });
    if policy == reward { policy.to_owned() } else { format!("{policy} and {reward}") }
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
        let [policy, reward] = needs.parameters.map(format::count);
        let remote = needs.download > 0;
        let download = if remote { format!("Download: {}. ", format::bytes(needs.download)) } else { String::new() };
        let step = format!(
            "{download}Policy: {policy} parameters; reward model: {reward}. A PPO step has {} rows, {} in a mini-batch, with prompts of up to {} and \
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
                    disabled=move || !fits || !choice.doing.with(String::is_empty)
                    on:click=move |_| choice.bring(choice.models().into())
                >
                    {if remote { "Download, keep and load them" } else { "Keep them in this browser and load them" }}
                </button>
                {(!fits).then(|| view! { <span class="note">"These models are too large for a tab: choose flan-t5-small"</span> })}
            </p>
        })
    }
}
