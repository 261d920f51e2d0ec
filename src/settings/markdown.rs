//! Generates `docs/settings.md` from the table: `make settings` writes the file, and a test compares it.

use super::choices::Preset;
use super::define::{Choice, Kind, Setting};
use super::table::{GROUPS, PpoConfig, SETTINGS};
use serde_json::Value;
use std::fmt::Write;

const HEAD: &str = "\
# Settings of a PPO run

This file is generated from `src/settings/table.rs`: change the table, then run `make settings`.

`--config FILE.json` reads one flat JSON object with these names or the names in the last column. Settings that are not in
the file keep the value of the preset (`--preset corrected`, the default, or `--preset published`). The `config.json` of a
run contains all settings.

\"Changes first\" is the first part of a step whose numbers change with the setting. If *what if* is \"yes\", the page can
show the change on a finished step without a model.
";

/// The text of the file.
pub fn page() -> String {
    let defaults = serde_json::to_value(PpoConfig::preset(Preset::Corrected)).unwrap_or_default();
    let mut out = String::from(HEAD);
    for (title, about) in GROUPS {
        let fields: Vec<&Setting> = SETTINGS.iter().filter(|setting| setting.group == *title).collect();
        let _ = write!(
            out,
            "\n## {title}\n\n{about}.\n\n\
             | setting | what it does | value | unit | default | changes first | what if | other names |\n\
             |---|---|---|---|---|---|---|---|\n"
        );
        for setting in &fields {
            let _ = writeln!(out, "{}", row(setting, &defaults[setting.name]));
        }
        for setting in &fields {
            if let Kind::Choice(choices) = setting.kind {
                let _ = write!(out, "\n`{}`: ", setting.name);
                let item = |choice: &Choice| format!("`{}`: {}", choice.name, choice.means);
                let _ = writeln!(out, "{}.", choices.iter().map(item).collect::<Vec<_>>().join("; "));
            }
        }
    }
    out.push_str(
        "\n## Differences between published and corrected\n\n\
         The published lab has faults that change its numbers. `--preset published` reproduces them; `--preset corrected`, the\n\
         default, fixes them. Each difference is one setting, which `--config` can change separately. With the score of\n\
         `query_and_response`, evaluation also works as in the notebook: it encodes the decoded query again (the ids end in\n\
         `</s></s>`), and scores the query, a space and the response without special tokens. [ppo.md](ppo.md) has the formulas.\n\n\
         | setting | published | corrected | what the published behaviour does |\n|---|---|---|---|\n",
    );
    for difference in PpoConfig::differences() {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            difference.setting,
            value(&difference.published),
            value(&difference.corrected),
            cell(difference.why)
        );
    }
    out
}

fn row(setting: &Setting, default: &Value) -> String {
    let kind = match (setting.kind, setting.range) {
        (Kind::Switch, _) => "true or false".into(),
        (Kind::Choice(_), _) => "one of the names below".into(),
        (Kind::Whole, range) => {
            range.map_or("a whole number".into(), |r| r.to_string().replace("a number", "a whole number"))
        }
        (Kind::OptionalWhole, _) => "a whole number, or null for none".into(),
        (Kind::Number, range) => range.map_or("a number".into(), |r| r.to_string()),
        (Kind::OptionalNumber, range) => {
            format!("{}, or null for none", range.map_or("a number".into(), |r| r.to_string()))
        }
    };
    let names: Vec<String> = setting.aliases.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {} | {} |",
        setting.name,
        cell(setting.does),
        kind,
        setting.unit,
        value(default),
        setting.changes.name(),
        if setting.recomputed { "yes" } else { "" },
        names.join(", ")
    )
}

/// A value as in JSON; numbers without a superfluous `.0`.
fn value(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Number(x) if x.is_f64() => {
            let x = x.as_f64().unwrap_or_default();
            if x != 0.0 && x.abs() < 1e-3 { format!("{x:e}") } else { x.to_string() }
        }
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    }
}

/// Text for a table's cell: escapes `|`, which would end the cell, and `<`, which would start a tag.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
