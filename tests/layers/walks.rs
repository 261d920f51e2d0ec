//! The walks through the code in docs/architecture.md: every file and function that they name exists, and no walk enters a file
//! more than twice.

use std::collections::BTreeMap;
use std::path::Path;

/// One item of a walk: the file, and the functions of it that are named.
type Stop<'a> = (&'a str, Vec<&'a str>);

/// The walks of the section, by title. An item is a numbered line: a path in backticks, and functions in backticks.
fn walks(document: &str) -> Vec<(&str, Vec<Stop<'_>>)> {
    let section = document.split("\n## Three walks\n").nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap();
    let stop = |line| {
        let mut code = str::split(line, '`').skip(1).step_by(2);
        code.next().map(|path| (path, code.collect()))
    };
    let walk = |text| {
        let mut lines = str::lines(text);
        let title = lines.next().unwrap_or_default();
        (title, lines.filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).filter_map(stop).collect())
    };
    section.split("\n### ").skip(1).map(walk).collect()
}

#[test]
fn the_walks_name_files_and_functions_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let walks = walks(&document);
    assert_eq!(walks.len(), 3);
    let mut faults = Vec::new();
    for (title, stops) in walks {
        assert!(stops.len() > 5, "{title}: only {} files", stops.len());
        let mut entered = BTreeMap::new();
        for (path, functions) in stops {
            *entered.entry(path).or_insert(0) += 1;
            let Ok(source) = std::fs::read_to_string(root.join("src").join(path)) else {
                faults.push(format!("{title}: there is no file {path}"));
                continue;
            };
            let is_there = |name: &str| ["(", "<"].iter().any(|end| source.contains(&format!("fn {name}{end}")));
            let missing = functions.into_iter().filter(|name| !is_there(name));
            faults.extend(missing.map(|name| format!("{title}: {path} has no function {name}")));
        }
        let often = entered.into_iter().filter(|(_, times)| *times > 2);
        faults.extend(often.map(|(path, times)| format!("{title}: {path} is entered {times} times")));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
