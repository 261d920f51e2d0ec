//! Checks the layers by reading the source: which module may import which, where platform gates may be, what layers below `cli`
//! and the worker must not use, how long a file may be, and that it starts with a comment. `.clippy.toml` forbids single
//! functions. This is a separate binary that uses nothing of the crate, so it is built and run in a second.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod loops;
mod walks;

use std::path::Path;

/// What each module at the top of `src/` may use besides itself, `error`, `encoding` and `pace`: `a` allows all of `a`, `a::b`
/// only that part. A module that is not listed fails, so that a new one gets its layer.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("encoding", &[]),
    ("pace", &[]),
    ("settings", &[]),
    ("kernels", &[]),
    ("nn", &["kernels"]),
    ("text", &[]),
    ("io", &[]),
    ("model", &["protocol", "nn", "kernels"]),
    ("ppo", &["settings", "protocol", "model", "nn"]),
    ("lab", &["settings", "protocol", "ppo", "model", "text", "io", "nn", "kernels"]),
    ("finetuning", &["settings", "protocol", "lab", "model", "text", "io", "nn", "kernels"]),
    ("protocol", &["settings"]),
    ("cli", &["settings", "protocol", "lab", "finetuning", "io", "text", "kernels::choice"]),
    ("web", &[]),
    ("web/page", &["settings", "protocol"]),
    ("web/worker", &["settings", "protocol", "lab", "io", "text"]),
];

/// Where conditional compilation may be used; a name that ends in `/` is a folder. `kernels/` has instructions of some
/// processors; `cli/allocator.rs` has settings of one C library; `cli/launch.rs` has MPI or says that it is missing.
const GATES: &[&str] = &["cli/allocator.rs", "cli/launch.rs", "io/mod.rs", "lib.rs", "kernels/", "web/mod.rs"];

/// Where `unsafe` may be used.
const UNSAFE: &[&str] = &["cli/mod.rs", "kernels/"];

/// Parts of std that a browser does not have, or that only `cli` and the worker may use.
const NATIVE: &[&str] =
    &["fs", "time", "thread", "env", "process", "net", "os", "io::stdin", "io::stdout", "io::stderr"];

/// Code that prints, and code that uses the page.
const WORDS: &[&str] = &["println!", "eprintln!", "print!", "eprint!", "dbg!", "web_sys", "js_sys"];

const LONGEST: usize = 420;
const LONGEST_BIN: usize = 20;

#[test]
fn the_source_follows_the_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let native_io = native_modules(&std::fs::read_to_string(root.join("src/io/mod.rs")).unwrap());
    let mut faults = Vec::new();
    let mut files = 0;
    for folder in ["src", "tests", "benches"] {
        for (path, text) in rust_files(&root.join(folder)) {
            files += 1;
            let found = if folder == "src" { faults_in(&path, &text, &native_io) } else { form(&path, &text) };
            faults.extend(found.into_iter().map(|fault| format!("{folder}/{path}: {fault}")));
        }
    }
    assert!(files > 10, "only {files} files were read");
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// All faults of a file; `path` is relative to `src/`.
fn faults_in(path: &str, text: &str, native_io: &[String]) -> Vec<String> {
    let code = without_comments(text);
    let mut faults = form(path, text);
    if !within(path, GATES) {
        faults.extend(gates(&code));
    }
    if !within(path, UNSAFE) && words(&code).any(|word| word == "unsafe") {
        faults.push(format!("uses `unsafe`; only {UNSAFE:?} may"));
    }
    if module_of(path) == "kernels" && tested_apart(&code).contains("candle") {
        faults.push("knows tensors; kernels compute on slices of numbers".into());
    }
    if path == "lib.rs" || path.starts_with("bin/") {
        return faults;
    }
    let module = module_of(path);
    faults.extend(upward(path, module, &code));
    let outer = module == "cli"
        || native_io.iter().any(|m| path == format!("io/{m}.rs") || path.starts_with(&format!("io/{m}/")));
    if !outer {
        faults.extend(forbidden(module, &code));
    }
    faults
}

/// The top module of `src/` that a file belongs to.
fn module_of(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Whether this file is one of `places`, or in one of their folders.
fn within(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path == *place || place.ends_with('/') && path.starts_with(place))
}

/// The names in `code`, without those in string literals on one line.
fn words(code: &str) -> impl Iterator<Item = &str> {
    let outside = code.lines().flat_map(|line| line.split('"').step_by(2));
    outside.flat_map(|part| part.split(|c: char| !c.is_alphanumeric() && c != '_'))
}

/// The code before the unit tests at the end of a file.
fn tested_apart(code: &str) -> &str {
    code.split("#[cfg(test)]").next().unwrap_or("")
}

/// Faults of length and opening comment.
fn form(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let longest = if path.starts_with("bin/") { LONGEST_BIN } else { LONGEST };
    let lines = text.lines().count();
    if lines > longest {
        faults.push(format!("{lines} lines; at most {longest}"));
    }
    if !text.starts_with("//!") {
        faults.push("does not open with `//!` what it is and what it leaves to others".into());
    }
    faults
}

/// Faults of conditional compilation, except for tests.
fn gates(code: &str) -> Vec<String> {
    let conditions = ["cfg(", "cfg!(", "cfg_attr("].into_iter().flat_map(|gate| code.split(gate).skip(1));
    conditions
        .filter(|rest| !rest.starts_with("test)") && !rest.starts_with("test,"))
        .map(|rest| format!("a platform gate, `{}`; they stand in {GATES:?} only", rest.lines().next().unwrap_or("")))
        .collect()
}

/// Uses of modules that the file's module may not use.
fn upward(path: &str, module: &str, code: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let known = |name: &str| MAY_USE.iter().find(|(n, _)| *n == name);
    let inner = std::iter::successors(Some(stem), |path| path.rsplit_once('/').map(|(outer, _)| outer));
    let Some((_, allowed)) = inner.into_iter().find_map(known) else {
        return vec![format!("the module `{module}` has no layer: add it to MAY_USE in tests/layers/main.rs")];
    };
    let crate_paths = paths(code, "crate::").into_iter().chain(paths(code, "detox_lab::"));
    crate_paths
        .chain(paths(code, "super::")) // in a top module's mod.rs, `super` is the crate
        .filter(|used| {
            let target = used.split("::").next().unwrap_or("");
            // Page and worker are separate programs that share no code of `web`.
            let other = |own: &str, other: &str| stem.starts_with(own) && used.starts_with(other);
            if other("web/page", "web::worker") || other("web/worker", "web::page") {
                return true;
            }
            let free = target == module || ["error", "encoding", "pace"].contains(&target) || known(target).is_none();
            !free && !allowed.iter().any(|a| used == a || used.starts_with(&format!("{a}::")))
        })
        .map(|used| format!("uses `{used}`; `{stem}` may use {allowed:?}, error, encoding and pace"))
        .collect()
}

/// Uses of std that only `cli` and the worker may have. Unit tests at the end of a file may read files and print.
fn forbidden(module: &str, code: &str) -> Vec<String> {
    let code = tested_apart(code);
    let std_paths = paths(code, "std::").into_iter();
    let native = std_paths
        .filter(|p| NATIVE.iter().any(|n| p == n || p.starts_with(&format!("{n}::"))))
        .map(|p| format!("std::{p}"));
    let browser = |word: &str| module == "web" || (module == "io" && word.ends_with("_sys"));
    let words = WORDS.iter().filter(|word| code.contains(**word) && !browser(word)).map(ToString::to_string);
    native.chain(words).map(|what| format!("only `cli` and the worker may use `{what}`")).collect()
}

/// The native modules of `io/mod.rs`: those directly below `#[cfg(feature = "cli")]`.
fn native_modules(code: &str) -> Vec<String> {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let gated = lines.windows(2).filter(|pair| pair[0] == r#"#[cfg(feature = "cli")]"#);
    gated.filter_map(|pair| pair[1].strip_suffix(';')?.split("mod ").nth(1)).map(str::to_owned).collect()
}

/// All paths after `root` (`"crate::"`), with expanded use trees: `crate::{a, b::{c, d}}` is `a`, `b::c`, `b::d`.
fn paths(code: &str, root: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let part_of_another =
            code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') || code[..at].ends_with("::");
        if !part_of_another {
            tree(&code[at + root.len()..], "", &mut found);
        }
    }
    found
}

/// One use tree below `prefix`; returns what follows it.
fn tree<'a>(mut rest: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let mut path = prefix.to_owned();
    loop {
        if let Some(mut inside) = rest.strip_prefix('{') {
            loop {
                inside = tree(inside.trim_start(), &path, found).trim_start();
                match inside.strip_prefix(',') {
                    Some(next) => inside = next,
                    None => return inside.trim_start_matches(|c| c != '}').trim_start_matches('}'),
                }
            }
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !name.is_empty() && name != "self" {
            path = if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") };
        }
        match after.strip_prefix("::") {
            Some(next) if !name.is_empty() => rest = next,
            _ => {
                if !path.is_empty() {
                    found.push(path);
                }
                let alias = after
                    .trim_start()
                    .strip_prefix("as ")
                    .map(|a| a.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'));
                return alias.unwrap_or(after);
            }
        }
    }
}

/// The text without `//` comments (a `//` inside a string also cuts the line).
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// All `.rs` files below `folder`, as (relative path, text); none if there is no such folder.
fn rust_files(folder: &Path) -> Vec<(String, String)> {
    let (mut out, mut waiting) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(here) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&here) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
                out.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    out.sort();
    out
}

/// The faults of a file with an opening comment and `code`.
fn faults(path: &str, code: &str) -> Vec<String> {
    faults_in(path, &format!("//! Head.\n{code}\n"), &["disk".into()])
}

#[test]
fn an_upward_use_is_found() {
    for (path, code) in [
        ("nn/ops.rs", "use crate::model::t5::T5;"),
        ("nn/ops.rs", "use crate::{error::Result, nn::{rng, norm}, text};"),
        ("nn/mod.rs", "use super::io;"),
        ("nn/ops.rs", "fn f() { let x = crate::lab::setup::new(); }"),
        ("text/prompt.rs", "use crate::model;"),
        ("model/t5.rs", "use crate::text::tokenizer as t;"),
        ("io/adapter.rs", "use crate::nn::lora::Lora;"),
        ("ppo/step.rs", "use crate::{\n    nn::adam,\n    lab,\n};"),
        ("lab/train.rs", "use crate::cli::args;"),
        ("cli/run.rs", "use crate::ppo::step::step;"),
        ("cli/run.rs", "use crate::web;"),
        ("protocol.rs", "use crate::lab::train::Train;"),
        ("web/page/app.rs", "use crate::lab;"),
        ("web/page/app.rs", "use crate::web::worker::work;"),
        ("web/worker/run.rs", "use crate::cli;"),
        ("error.rs", "use crate::nn::rng::Rng;"),
        ("attic/box.rs", ""),
    ] {
        assert_eq!(faults(path, code).len(), 1, "{path}: {code}: {:?}", faults(path, code));
    }
}

#[test]
fn a_downward_use_is_not() {
    for (path, code) in [
        ("nn/ops.rs", "use crate::{error::{Error, Result}, pace::Pace};\nuse crate::nn::rng::Rng;\nuse super::linear;"),
        ("nn/ops.rs", "// use crate::model;\n/// see `crate::model`\nfn f() -> crate::Result<()> { Ok(()) }"),
        ("ppo/step.rs", "use crate::model::policy::Policy;\nuse crate::nn::{self, adam::Adam as Optimizer, norm};"),
        ("lab/mod.rs", "use crate::{io, model, nn, ppo, text};"),
        ("cli/run.rs", "use crate::settings::{self, PpoConfig};\nuse std::fs;\nfn f() { println!(); }"),
        ("web/worker/run.rs", "use crate::{lab::setup, io, protocol};"),
        ("protocol/mod.rs", "use crate::settings::Preset;"),
        ("ppo/loss.rs", "use crate::{protocol::Grid, settings::PpoConfig};"),
        ("io/disk.rs", "use std::fs::{self, File};"),
        ("nn/ops.rs", "#[cfg(test)]\nmod tests { use super::*; #[test] fn t() { println!(\"x\"); } }"),
    ] {
        assert_eq!(faults(path, code), Vec::<String>::new(), "{path}: {code}");
    }
}

#[test]
fn a_gate_elsewhere_is_found() {
    for gate in [
        "#[cfg(feature = \"cli\")]",
        "#[cfg(target_arch = \"wasm32\")]",
        "if cfg!(unix) {}",
        "#[cfg_attr(windows, allow(x))]",
    ] {
        assert_eq!(faults("nn/ops.rs", gate).len(), 1, "{gate}");
        assert_eq!(faults("cli/run.rs", gate).len(), 1, "{gate}");
        assert_eq!(faults("io/mod.rs", gate).len(), 0, "{gate}");
        assert_eq!(faults("lib.rs", gate).len(), 0, "{gate}");
    }
}

#[test]
fn unsafe_code_and_tensors_in_the_wrong_place_are_found() {
    for code in ["fn f() { unsafe { g() } }", "unsafe impl Send for X {}", "pub unsafe fn f() {}"] {
        assert_eq!(faults("nn/ops.rs", code).len(), 1, "{code}");
        assert_eq!(faults("kernels/gemm.rs", code).len(), 0, "{code}");
    }
    assert_eq!(faults("nn/ops.rs", "const POLICY: &str = \"style-src 'unsafe-inline'\"; // unsafe").len(), 0);
    assert_eq!(faults("kernels/gemm.rs", "use candle_core::Tensor;").len(), 1);
    assert_eq!(faults("kernels/gemm.rs", "#[cfg(test)]\nmod tests { use candle_core::Tensor; }").len(), 0);
}

#[test]
fn native_code_below_cli_is_found() {
    for code in [
        "use std::fs;",
        "use std::{collections::HashMap, time::Instant};",
        "fn f() { std::thread::sleep(d); }",
        "fn f() { println!(\"x\"); }",
        "use web_sys::Window;",
        "use std::io::{Read, stdin};",
    ] {
        for path in ["nn/ops.rs", "model/t5.rs", "text/prompt.rs", "ppo/gae.rs", "lab/train.rs", "pace.rs"] {
            assert_eq!(faults(path, code).len(), 1, "{path}: {code}");
        }
    }
    assert_eq!(faults("io/weights.rs", "use std::fs;").len(), 1);
    assert_eq!(native_modules("pub mod hub;\n#[cfg(feature = \"cli\")]\npub mod disk;\npub mod weights;"), ["disk"]);
}

#[test]
fn a_long_file_or_one_without_an_opening_comment_is_found() {
    assert_eq!(form("nn/ops.rs", "use std::fs;").len(), 1);
    assert_eq!(form("nn/ops.rs", &"//! x\n".repeat(LONGEST)).len(), 0);
    assert_eq!(form("nn/ops.rs", &"//! x\n".repeat(LONGEST + 1)).len(), 1);
    assert_eq!(form("bin/detox-lab.rs", &"//! x\n".repeat(LONGEST_BIN + 1)).len(), 1);
}

/// Files of this project that documents or comments name are in the repository.
#[test]
fn cited_files_are_in_the_repository() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut faults = Vec::new();
    let mut check = |by: &str, from: &Path, cited: &str| {
        let name = cited.split(['#', '*', ' ']).next().unwrap().trim_end_matches(['.', ',', ';', ':', '/']);
        if !name.is_empty() && !from.join(name).exists() {
            faults.push(format!("{by} cites {cited}, which is not in the repository"));
        }
    };
    let ours = |word: &str| {
        ["docs/", "examples/", "scripts/", "src/", "static/", "tests/"].iter().any(|f| word.starts_with(f))
    };
    for folder in ["", "docs", "tests/fixtures/golden"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "md") {
                continue;
            }
            let (name, text) = (path.display().to_string(), std::fs::read_to_string(&path).unwrap());
            let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            links.filter(|link| !link.contains("://")).for_each(|link| check(&name, path.parent().unwrap(), link));
            text.split('`').skip(1).step_by(2).filter(|word| ours(word)).for_each(|word| check(&name, root, word));
        }
    }
    for folder in ["src", "tests", "benches", "examples"] {
        for (path, text) in rust_files(&root.join(folder)) {
            for comment in text.lines().filter_map(|line| line.trim().strip_prefix("//")) {
                let words = comment.split([' ', '`', '(', ')', '\'']).filter(|word| ours(word) && !word.contains('{'));
                words.for_each(|word| check(&format!("{folder}/{path}"), root, word));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
