//! Compares what the program prints with files in `tests/cli/snapshots`: all help texts, and the output of the main commands.
//! To renew them after a change: `INSTA_UPDATE=always cargo test --features page,worker --test cli snapshots`, then read `git diff`.
//! Paths, the digits of numbers with a decimal point, seconds and progress are masked, because other tests check them.

use crate::support::run::*;

/// Compares with `snapshots/NAME.snap`.
fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// What a command prints at a width of 100 columns, without progress, and with `folder` and the fixtures' paths masked.
fn printed(folder: &std::path::Path, args: &[&str]) -> String {
    let out =
        program(args).env("COLUMNS", "100").env("HF_HOME", folder.join("cache")).current_dir(folder).output().unwrap();
    let (said, warned) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    let warned: String =
        warned.lines().filter(|line| !line.ends_with(" left")).map(|line| format!("{line}\n")).collect();
    let warned = if warned.is_empty() { warned } else { format!("--- standard error ---\n{warned}") };
    let text = format!("{said}{warned}--- exit status {} ---\n", out.status.code().unwrap());
    let text = text.replace(&tiny(""), "TINY/").replace(text_of(folder).as_str(), "FOLDER");
    let own = |line: &str| {
        ["machine", "memory", "disk"].into_iter().find(|part| line.get(6..).is_some_and(|rest| rest.starts_with(part)))
    };
    let line = |line: &str| own(line).map_or_else(|| masked(without_seconds(line)), |part| format!("(this {part})"));
    text.lines().map(|text| line(text) + "\n").collect()
}

/// The path as the program prints it: on some systems the temporary folder is a link.
fn text_of(folder: &std::path::Path) -> String {
    text(&folder.canonicalize().unwrap()).to_owned()
}

/// A step's line without its last column.
fn without_seconds(line: &str) -> &str {
    let column = line.rfind("   ").map_or(0, |at| at + 3);
    let seconds =
        line[column..].ends_with(')') && line[column..].contains(" + ") && line[column..].starts_with(char::is_numeric);
    if seconds { line[..column].trim_end() } else { line }
}

/// Replaces the digits of numbers with a decimal point, and of their exponents, by 0.
fn masked(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || ".-".contains(c))) {
        let digits = word.find(|c: char| c.is_ascii_digit());
        let decimal = digits.is_some_and(|at| {
            let rest = word[at..].trim_start_matches(|c: char| c.is_ascii_digit());
            rest.starts_with('.') && rest[1..].starts_with(|c: char| c.is_ascii_digit())
        });
        out.extend(word.chars().map(|c| if decimal && c.is_ascii_digit() { '0' } else { c }));
    }
    out
}

#[test]
fn help_of_every_command() {
    let help = |args: &[&str]| {
        let out = program(args).env("COLUMNS", "100").output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let all = help(&["--help"]);
    check("help", &all);
    let commands = all.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split(' ').next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        check(&format!("help_{}", name.replace('-', "_")), &help(&[name, "--help"]));
    }
}

#[test]
fn main_outputs() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let print = |name: &str, args: &[&str]| check(name, &printed(folder, args));
    let [policy, adapter, reward, data] = models();
    let actor = ["--policy", &policy, "--adapter", &adapter];

    print("info", &[&["info"], &actor[..]].concat());
    file(folder, "texts.txt", "#Person1# thanks him.\nYou are an idiot.\n");
    print("score", &["score", "--reward", &reward, "--text", "texts.txt"]);
    print(
        "summarize",
        &[&["summarize"], &actor[..], &["--greedy", "--text", "texts.txt", "--max-new-tokens", "8"]].concat(),
    );

    file(folder, "settings.json", QUICK);
    print("train", &train_args(&[policy.clone(), adapter.clone(), reward, data], "settings.json", "2", "run"));
    print("train_resume", &["train", "--resume", "run", "--steps", "3"]);
    print("evaluate", &["evaluate", "--run", "run", "-n", "6"]);
    print("compare", &["compare", "--run", "run", "-n", "2"]);
    print("doctor_run", &["doctor", "--run", "run", "--policy", &policy]);

    print("error_no_model", &["info", "--policy", "./nowhere"]);
    print("error_no_run", &["train", "--resume", "nowhere"]);
    print("error_setting", &["train", "--out", "other", "--config", "texts.txt"]);
}
