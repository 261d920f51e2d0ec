//! `adapter_config.json` of any PEFT version: keeps all its keys, and finds the modules that it selects. `adapter` reads the
//! weights.
//!
//! Source: PEFT 0.13.2 and later, `tuners/tuners_utils.py` (`check_target_module_exists`) and
//! `utils/other.py` (`get_pattern_key`).

use crate::encoding;
use crate::error::{Error, Result};
use crate::io::hub_id::{HubId, RepoKind};
use fancy_regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

/// The file's name in a PEFT folder.
pub const CONFIG_FILE: &str = "adapter_config.json";

/// Keys of LoRA variants that are not supported.
const UNSUPPORTED: [&str; 9] = [
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "arrow_config",
];

/// Initialisations that also change the base weights, which the folder does not contain.
const UNSUPPORTED_INITS: [&str; 5] = ["pissa", "olora", "loftq", "corda", "lora_ga"];

/// Maximum number of patterns in a file: a model has a few hundred linear modules.
const MAX_PATTERNS: usize = 1000;
/// Maximum size in bytes of all compiled patterns of a file, and minimum that each pattern may have.
const PATTERNS_SIZE: usize = 16 << 20;
const PATTERN_SIZE: usize = 32 << 10;
/// Maximum number of steps of one match with a module's name.
const MAX_STEPS: usize = 20_000;

/// A LoRA configuration. The fields are copies of the file's; to change one, use [`AdapterConfig::with`].
#[derive(Debug, Clone)]
pub struct AdapterConfig {
    pub r: usize,
    pub lora_alpha: f64,
    /// Dropout probability on the adapter's input in training.
    pub lora_dropout: f64,
    pub use_rslora: bool,
    /// `none`, `all` or `lora_only`: which biases the folder may contain.
    pub bias: String,
    pub base_model_name_or_path: Option<String>,
    targets: Selection,
    exclude: Selection,
    layers: Option<Layers>,
    rank_pattern: Vec<(Regex, String, usize)>,
    alpha_pattern: Vec<(Regex, String, f64)>,
    /// The file's keys, also unknown ones, in their order.
    raw: Map<String, Value>,
    path: String,
}

/// Modules selected by suffix, by a regular expression for the whole name, or all linear ones.
#[derive(Debug, Clone)]
enum Selection {
    Names(Vec<String>),
    Pattern(Regex),
    AllLinear,
}

/// `layers_to_transform`, with the patterns that find a layer's number in a module's name.
#[derive(Debug, Clone)]
struct Layers {
    numbers: Vec<u64>,
    patterns: Vec<Regex>,
}

impl AdapterConfig {
    /// A new LoRA for a sequence-to-sequence model, with the keys that every PEFT version knows. `base` is a hub id (of
    /// `owner/name@revision` PEFT wants the two apart) or a path.
    pub fn new(r: usize, lora_alpha: f64, lora_dropout: f64, target_modules: &[&str], base: &str) -> Result<Self> {
        let mut targets = target_modules.to_vec();
        targets.sort_unstable();
        let hub = HubId::parse(base, RepoKind::Model, None).filter(|_| base.contains('@'));
        let mut value = json!({
            "base_model_name_or_path": hub.as_ref().map_or(base, |hub| &hub.name),
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": number(lora_alpha),
            "lora_dropout": lora_dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": r,
            "target_modules": targets,
            "task_type": "SEQ_2_SEQ_LM",
        });
        if let Some(hub) = hub {
            value["revision"] = hub.revision.into();
        }
        Self::from_value(value, CONFIG_FILE)
    }

    /// Parses the file's bytes, for any LoRA variant (see [`AdapterConfig::check_supported`]); `path` is for messages.
    pub fn parse(bytes: &[u8], path: &str) -> Result<Self> {
        let value = serde_json::from_slice(&encoding::json(bytes))
            .map_err(|e| Error::file(path, format!("not valid JSON: {e}"), "write or download the adapter again"))?;
        Self::from_value(value, path)
    }

    fn from_value(value: Value, path: &str) -> Result<Self> {
        let Value::Object(raw) = value else {
            return Err(Error::file(path, "not a JSON object", "write or download the adapter again"));
        };
        let file = Fields { raw: &raw, path };
        file.refuse_other_types()?;
        let config = Self {
            r: raw.get("r").map_or(Ok(8), |r| file.rank("r", r))?,
            lora_alpha: file.number("lora_alpha", 8.0)?,
            lora_dropout: file.number("lora_dropout", 0.0)?,
            use_rslora: file.flag("use_rslora"),
            bias: file.text("bias").unwrap_or_else(|| "none".to_string()),
            base_model_name_or_path: file.text("base_model_name_or_path"),
            // null is PEFT's default for T5 (utils/constants.py)
            targets: file.selection("target_modules", &["q", "v"])?,
            exclude: file.selection("exclude_modules", &[])?,
            layers: file.layers()?,
            rank_pattern: file.patterns("rank_pattern", |v| file.rank("rank_pattern", v))?,
            alpha_pattern: file.patterns("alpha_pattern", |v| match v.as_f64() {
                Some(alpha) => Ok(alpha),
                None => Err(file.wrong("alpha_pattern", v)),
            })?,
            path: path.to_string(),
            raw,
        };
        if !(0.0..1.0).contains(&config.lora_dropout) {
            return Err(Error::file(path, format!("lora_dropout is {}", config.lora_dropout), "use 0, or below 1"));
        }
        Ok(config)
    }

    /// A copy with `key` set to `value`.
    pub fn with(&self, key: &str, value: Value) -> Result<Self> {
        let mut raw = self.raw.clone();
        raw.insert(key.to_string(), value);
        Self::from_value(Value::Object(raw), &self.path)
    }

    /// The text of the file for PEFT: all keys unchanged, in inference mode.
    pub fn to_json(&self) -> String {
        let mut raw = self.raw.clone();
        raw.insert("peft_type".to_string(), json!("LORA"));
        raw.insert("task_type".to_string(), json!("SEQ_2_SEQ_LM"));
        raw.insert("inference_mode".to_string(), json!(true));
        format!("{:#}", Value::Object(raw))
    }

    /// Refuses options that change the arithmetic and are not supported.
    pub fn check_supported(&self) -> Result<()> {
        Fields { raw: &self.raw, path: &self.path }.refuse_unsupported()
    }

    /// Whether the adapter changes the linear module with this dotted name.
    pub fn targets(&self, module: &str) -> bool {
        let excluded = match &self.exclude {
            Selection::Names(names) => is_named(names, module).is_some(),
            Selection::Pattern(pattern) => matches(pattern, module),
            Selection::AllLinear => true,
        };
        !excluded
            && match &self.targets {
                Selection::Names(names) => match is_named(names, module) {
                    Some(name) if name == module => true, // a full name is selected in any layer
                    Some(_) => self.layers.as_ref().is_none_or(|layers| layers.contain(module)),
                    None => false,
                },
                Selection::Pattern(pattern) => matches(pattern, module),
                // PEFT selects every Linear except the output embedding
                Selection::AllLinear => module != "lm_head",
            }
    }

    /// The rank r of a module: `rank_pattern`'s first match, else `r`.
    pub fn rank_for(&self, module: &str) -> usize {
        pattern_value(&self.rank_pattern, module).unwrap_or(self.r)
    }

    /// The scale s of W + s·B·A: α/r, or α/√r for rsLoRA.
    pub fn scale_for(&self, module: &str) -> f64 {
        let alpha = pattern_value(&self.alpha_pattern, module).unwrap_or(self.lora_alpha);
        let r = self.rank_for(module) as f64;
        if self.use_rslora { alpha / r.sqrt() } else { alpha / r }
    }

    /// Returns warnings: targets without modules, keys without effect. No module at all is an error, as in PEFT.
    pub fn check_targets(&self, modules: &[&str]) -> Result<Vec<String>> {
        if !modules.iter().any(|m| self.targets(m)) {
            let targets = self.raw.get("target_modules").unwrap_or(&Value::Null);
            return Err(Error::file(
                &self.path,
                format!("target_modules {targets} match no linear module of the base model"),
                "check that the adapter was trained on this model",
            ));
        }
        let mut warnings = Vec::new();
        if let Selection::Names(names) = &self.targets {
            let unmatched =
                names.iter().filter(|n| !modules.iter().any(|m| is_named(std::slice::from_ref(n), m).is_some()));
            warnings.extend(unmatched.map(|n| format!("{}: no module has the name {n:?} (target_modules)", self.path)));
        }
        if self.raw.get("fan_in_fan_out").and_then(Value::as_bool) == Some(true) {
            warnings.push(format!("{}: fan_in_fan_out has no effect on linear layers and is ignored", self.path));
        }
        Ok(warnings)
    }
}

impl Layers {
    fn contain(&self, module: &str) -> bool {
        let number = |pattern: &Regex| pattern.captures(module).ok()??.get(1)?.as_str().parse().ok();
        self.patterns.iter().find_map(number).is_some_and(|n: u64| self.numbers.contains(&n))
    }
}

/// The name that equals `module`, or that `module` ends with after a dot.
fn is_named<'a>(names: &'a [String], module: &str) -> Option<&'a str> {
    let ends = |name: &str| module.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    let exact = names.iter().find(|name| *name == module);
    exact.or_else(|| names.iter().find(|name| ends(name))).map(String::as_str)
}

/// Whether a pattern matches; one that needs too many steps does not.
fn matches(pattern: &Regex, module: &str) -> bool {
    pattern.is_match(module).unwrap_or(false)
}

fn pattern_value<T: Copy>(patterns: &[(Regex, String, T)], module: &str) -> Option<T> {
    let found = patterns.iter().find(|(pattern, name, _)| name == module || matches(pattern, module));
    found.map(|(_, _, value)| *value)
}

/// Writes whole numbers without a fraction, as PEFT does.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}

/// Reads the file's keys; errors name them.
struct Fields<'a> {
    raw: &'a Map<String, Value>,
    path: &'a str,
}

impl Fields<'_> {
    fn wrong(&self, key: &str, value: &Value) -> Error {
        Error::file(self.path, format!("{key} is {value}"), format!("write {key} as PEFT does"))
    }

    fn text(&self, key: &str) -> Option<String> {
        self.raw.get(key).and_then(Value::as_str).map(String::from)
    }

    fn flag(&self, key: &str) -> bool {
        self.raw.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The value of `key`, unless it is null, false or empty.
    fn given(&self, key: &str) -> Option<&Value> {
        self.raw.get(key).filter(|value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        })
    }

    fn number(&self, key: &str, default: f64) -> Result<f64> {
        match self.raw.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.wrong(key, value)),
        }
    }

    fn rank(&self, key: &str, value: &Value) -> Result<usize> {
        let rank = value.as_u64().filter(|r| (1..=1 << 20).contains(r));
        rank.map(|r| r as usize).ok_or_else(|| self.wrong(key, value))
    }

    fn names(&self, key: &str, value: &Value) -> Result<Vec<String>> {
        let names = value.as_array().map(|a| a.iter().map(|v| v.as_str().map(String::from)).collect());
        names.flatten().ok_or_else(|| self.wrong(key, value))
    }

    /// Compiles `pattern`, one of `count` of its key. Its size is limited: `(\w{99}){99}` is short, but large once compiled.
    fn regex(&self, key: &str, pattern: &str, count: usize) -> Result<Regex> {
        if count > MAX_PATTERNS {
            let what = format!("{key} has {count} patterns, which is more than a model has linear modules");
            return Err(Error::file(self.path, what, "select modules by the end of their names"));
        }
        let size = (PATTERNS_SIZE / count.max(16)).max(PATTERN_SIZE);
        let regex = RegexBuilder::new(pattern).delegate_size_limit(size).backtrack_limit(MAX_STEPS).build();
        regex.map_err(|e| Error::file(self.path, format!("{key}: {e}"), "correct the pattern"))
    }

    fn selection(&self, key: &str, default: &[&str]) -> Result<Selection> {
        match self.raw.get(key) {
            None | Some(Value::Null) => Ok(Selection::Names(default.iter().map(|n| n.to_string()).collect())),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("all-linear") => Ok(Selection::AllLinear),
            // Python's re.fullmatch
            Some(Value::String(text)) => Ok(Selection::Pattern(self.regex(key, &format!(r"\A(?:{text})\z"), 1)?)),
            Some(value) => Ok(Selection::Names(self.names(key, value)?)),
        }
    }

    fn layers(&self) -> Result<Option<Layers>> {
        let key = "layers_to_transform";
        let numbers = match self.given(key) {
            None => return Ok(None),
            Some(Value::Array(items)) => items.iter().map(Value::as_u64).collect(),
            Some(value) => value.as_u64().map(|n| vec![n]),
        };
        let numbers = numbers.ok_or_else(|| self.wrong(key, &self.raw[key]))?;
        let names = match self.given("layers_pattern") {
            None => vec![r"[^.]*".to_string()],
            Some(Value::String(name)) => vec![name.clone()],
            Some(value) => self.names("layers_pattern", value)?,
        };
        let filled = names.iter().filter(|name| !name.is_empty());
        // `.*?` finds a name's first number (T5's block), `.*` its last (the sub-layer)
        let before = if self.counts_blocks() { ".*?" } else { ".*" };
        let pattern =
            |name: &String| self.regex("layers_pattern", &format!(r"\A{before}\.{name}\.(\d+)\."), names.len());
        Ok(Some(Layers { numbers, patterns: filled.map(pattern).collect::<Result<_>>()? }))
    }

    /// Whether the adapter was written by PEFT 0.20 or later, which numbers layers by a name's first number.
    fn counts_blocks(&self) -> bool {
        let version = self.text("peft_version").unwrap_or_default();
        let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (0, 20)
    }

    fn patterns<T>(&self, key: &str, value: impl Fn(&Value) -> Result<T>) -> Result<Vec<(Regex, String, T)>> {
        let Some(given) = self.given(key) else { return Ok(vec![]) };
        let map = given.as_object().ok_or_else(|| self.wrong(key, given))?;
        let pattern = |(name, v): (&String, &Value)| {
            let regex = self.regex(key, &format!(r"\A(?:.*\.)?(?:{name})\z"), map.len())?;
            Ok((regex, name.clone(), value(v)?))
        };
        map.iter().map(pattern).collect()
    }

    fn refuse_other_types(&self) -> Result<()> {
        match self.raw.get("peft_type") {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(kind)) if kind == "LORA" => Ok(()),
            Some(kind) => {
                let what = format!("peft_type is {kind}, but only LORA is supported");
                Err(Error::file(self.path, what, "use a LoRA adapter"))
            }
        }
    }

    fn refuse_unsupported(&self) -> Result<()> {
        let refuse = |what: String, hint: &str| Err(Error::file(self.path, what, hint));
        if let Some(modules) = self.given("modules_to_save") {
            let hint = "use an adapter trained without modules_to_save, or merge it with PEFT first";
            return refuse(format!("modules_to_save {modules}: whole trained modules are not supported"), hint);
        }
        if let Some(key) = UNSUPPORTED.into_iter().find(|key| self.given(key).is_some()) {
            let hint = "use a plain LoRA adapter, or merge this one with PEFT (merge_and_unload) and use the result";
            return refuse(format!("{key} is set, but that variant of LoRA is not supported"), hint);
        }
        let init = self.text("init_lora_weights").filter(|t| UNSUPPORTED_INITS.iter().any(|i| t.starts_with(i)));
        if let Some(init) = init {
            let hint = "convert it in PEFT: save_pretrained(…, path_initial_model_for_weight_conversion=…)";
            return refuse(format!("init_lora_weights is {init:?}, which changes the base weights too"), hint);
        }
        Ok(())
    }
}
