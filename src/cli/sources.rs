//! Finds the models and data that arguments name: those that ship with the program, files and folders on this machine, or
//! repositories on the hub, which are downloaded. Each is opened once (`lab::sources`), for the forecast and for loading.

use super::args::FreshAdapter;
use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::io::adapter::PeftAdapter;
use crate::io::adapter_config::AdapterConfig;
use crate::io::checkpoint::gguf_model::GgufModel;
use crate::io::disk::Folder;
use crate::io::hub::{self, ADAPTER, Hub, MODEL, Progress, RepoKind, Wanted};
use crate::io::value_head::SavedHead;
use crate::io::{ByteSource, Memory};
use crate::lab::shipped;
pub use crate::lab::shipped::TINY;
use crate::lab::sources::adapter::AdapterStart;
use crate::lab::sources::data::{self, DataSource, TRAIN_FILES, VALIDATION_FILES, WithNotices};
use crate::lab::sources::policy::PolicySource;
use crate::lab::sources::reward::RewardSource;
use crate::text::dialogue::{Corpus, Dialogue};
use std::path::Path;

/// The lab's base model.
pub const LAB_POLICY: &str = "google/flan-t5-base";
/// The lab's reward model.
const LAB_REWARD: &str = "facebook/roberta-hate-speech-dynabench-r4-target";
/// The lab's data.
pub const LAB_DATA: &str = "knkarthick/dialogsum";

/// DialogSum on the hub.
const DATA_FILES: Wanted<'static> = Wanted { one_of: &[&TRAIN_FILES], optional: &VALIDATION_FILES };

/// What a model argument is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Policy,
    Adapter,
    Reward,
}

impl Role {
    /// The folder that ships with the program.
    fn shipped(self) -> Memory {
        let (name, files) = match self {
            Self::Policy => ("tiny policy", shipped::POLICY),
            Self::Adapter => ("tiny adapter", shipped::ADAPTER),
            Self::Reward => ("tiny reward model", shipped::REWARD),
        };
        Memory::new(name, files.iter().map(|(file, bytes)| (file.to_string(), bytes.to_vec())).collect())
    }

    fn find(self, src: &str, hub: impl FnOnce() -> Result<Hub>, progress: &mut dyn Progress) -> Result<FoundSource> {
        if src == TINY {
            return Ok(Box::new(self.shipped()));
        }
        let path = hub::local(src);
        if self != Self::Adapter && path.extension().is_some_and(|end| end == "gguf") && path.is_file() {
            let (folder, file) = Folder::of_file(&path)?;
            return Ok(Box::new(GgufModel::open(Box::new(folder), file)?));
        }
        let wanted = if self == Self::Adapter { ADAPTER } else { MODEL };
        let folder = hub()?.resolve(src, RepoKind::Model, wanted, progress)?;
        tracing::debug!("{src}: {}", folder.root().display());
        Ok(Box::new(folder))
    }
}

/// A model's folder.
type FoundSource = Box<dyn ByteSource>;

/// Finds a folder that ships with the program or is on this machine, or downloads it from the hub.
pub fn folder(src: &str, role: Role, terminal: &mut Terminal) -> Result<FoundSource> {
    role.find(src, Hub::from_env, terminal)
}

/// As [`folder`], but takes hub ids only from the cache and downloads nothing.
pub fn folder_in_cache(src: &str, role: Role) -> Result<FoundSource> {
    /// Nothing is downloaded, so there is no progress.
    struct Silent;
    impl Progress for Silent {
        fn start(&mut self, _: &str, _: u64, _: u64) -> Result<()> {
            Ok(())
        }
        fn advance(&mut self, _: u64) -> Result<()> {
            Ok(())
        }
        fn finish(&mut self) {}
    }
    role.find(src, || Ok(Hub { offline: true, ..Hub::from_env()? }), &mut Silent)
}

/// Opens the policy that an argument names, and reads its headers.
pub fn policy(src: &str, terminal: &mut Terminal) -> Result<PolicySource<'static>> {
    PolicySource::open(folder(src, Role::Policy, terminal)?)
}

/// Opens the reward model that an argument names, and reads its headers.
pub fn reward(src: &str, terminal: &mut Terminal) -> Result<RewardSource<'static>> {
    RewardSource::open(folder(src, Role::Reward, terminal)?)
}

/// The default reward model and data for a policy: the tiny ones for the tiny policy, else the lab's.
pub fn companions(policy: &str) -> (&'static str, &'static str) {
    if policy == TINY { (TINY, TINY) } else { (LAB_REWARD, LAB_DATA) }
}

/// The default adapter for a policy.
pub fn companion_adapter(policy: &str) -> Option<&'static str> {
    (policy == TINY).then_some(TINY)
}

/// Reads the adapter that an argument names.
pub fn adapter(src: &str, terminal: &mut Terminal) -> Result<PeftAdapter> {
    PeftAdapter::read(&*folder(src, Role::Adapter, terminal)?)
}

/// The adapter that training starts from: the one that an argument names, or (none) a new one for `base`, with this dropout.
pub fn adapter_start(
    src: Option<&str>,
    fresh: &FreshAdapter,
    dropout: f64,
    base: &str,
    terminal: &mut Terminal,
) -> Result<AdapterStart> {
    if let Some(src) = src {
        return adapter(src, terminal).map(|adapter| AdapterStart::Saved(Box::new(adapter)));
    }
    if fresh.lora_r == 0 {
        return Err(Error::input("--lora-r is 0", "give a rank of at least 1"));
    }
    let targets: Vec<&str> = fresh.lora_targets.iter().map(String::as_str).collect();
    AdapterConfig::new(fresh.lora_r, fresh.lora_alpha, dropout, &targets, base)
        .map(|config| AdapterStart::Fresh(Box::new(config)))
}

/// Reads a value head from a file, or from a folder that TRL saved.
pub fn value_head(file: &Path) -> Result<SavedHead> {
    if file.is_dir() {
        let none = || {
            Error::file(file.display(), "no value head in it", "give value_head.safetensors or TRL's pytorch_model.bin")
        };
        return SavedHead::find(&Folder::open(file)?)?.ok_or_else(none);
    }
    let (folder, name) = Folder::of_file(file)?;
    SavedHead::read(&folder, &name)
}

/// The lab's training and test splits of DialogSum or of the tiny dialogues; if `validation`, a folder's validation part too.
pub fn dialogues(src: &str, validation: bool, terminal: &mut Terminal) -> Result<Corpus> {
    let source = if src == TINY {
        DataSource::Shipped
    } else if Path::new(src).is_file() {
        let (folder, file) = Folder::of_file(Path::new(src))?;
        DataSource::File { folder: Box::new(folder), file }
    } else {
        DataSource::Folder(Box::new(data_folder(src, terminal)?))
    };
    Ok(told(source.splits(src, validation)?, terminal))
}

/// Every row of a file, unfiltered.
pub fn every_row(src: &str, terminal: &Terminal) -> Result<Vec<Dialogue>> {
    let (folder, file) = Folder::of_file(Path::new(src))?;
    Ok(told(data::every_row(&folder, &file)?, terminal))
}

/// The dialogues that were read; prints notices about them.
fn told<T>(read: WithNotices<T>, terminal: &Terminal) -> T {
    read.notices.iter().for_each(|notice| terminal.line(notice));
    read.dialogues
}

/// Finds the folder of a data set on this machine or on the hub.
fn data_folder(src: &str, terminal: &mut Terminal) -> Result<Folder> {
    Hub::from_env()?.resolve(src, RepoKind::Dataset, DATA_FILES, terminal).map_err(|error| match error {
        Error::File { path, what, .. } if what.ends_with("in this folder") || what.ends_with("on the hub") => Error::file(
            path,
            what,
            "put a file with one of these names there, or give a file; convert a parquet file to jsonl with: python3 -c \
             \"import pandas, sys; pandas.read_parquet(sys.argv[1]).to_json('train.jsonl', orient='records', lines=True)\" FILE",
        ),
        other => other,
    })
}

/// The name of a source in a run's config.json: folders and files as absolute paths, so that a run can be resumed from
/// anywhere.
pub fn whole_path(src: &str) -> String {
    let path = if src == TINY { None } else { std::fs::canonicalize(hub::local(src)).ok() };
    path.map_or_else(|| src.to_string(), |path| path.display().to_string())
}
