//! Checks in the source that no modules of a layer import each other in a loop.

use crate::{paths, rust_files, without_comments};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

#[test]
fn no_modules_of_a_layer_import_each_other_in_a_loop() {
    let files = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let imports = imports(&files);
    let mut faults = Vec::new();
    for module in imports.keys() {
        faults.extend(way_back(module, &imports).map(|way| way.join(" → ")));
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The modules of `src/` by path (`io::hub::id`), and the modules that each imports. Declaring a module is not importing it.
fn imports(files: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let name = |path: &str| path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    let files = files.iter().filter(|(path, _)| path != "lib.rs" && !path.starts_with("bin/"));
    let modules: BTreeMap<String, &String> = files.map(|(path, text)| (name(path), text)).collect();
    let known = |path: &str| {
        let longer = std::iter::successors(Some(path), |path| path.rsplit_once("::").map(|(outer, _)| outer));
        longer.into_iter().find(|path| modules.contains_key(*path)).map(str::to_string)
    };
    let of = |(module, text): (&String, &&String)| {
        let code = without_comments(text);
        let code = code.split("#[cfg(test)]").next().unwrap_or("");
        let outer =
            |levels: usize| module.split("::").collect::<Vec<_>>().into_iter().rev().skip(levels).collect::<Vec<_>>();
        let mut used = paths(code, "crate::");
        for path in paths(code, "super::") {
            let levels = path.split("::").take_while(|part| *part == "super").count();
            let mut parts = outer(levels + 1);
            parts.reverse();
            parts.extend(path.split("::").skip(levels));
            used.push(parts.join("::"));
        }
        for child in code.lines().filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';')) {
            used.extend(paths(code, &format!("{child}::")).into_iter().take(1).map(|_| format!("{module}::{child}")));
        }
        let others = used.iter().filter_map(|path| known(path)).filter(|other| other != module);
        (module.clone(), others.collect())
    };
    modules.iter().map(of).collect()
}

/// The shortest path from a module through its imports back to itself.
fn way_back<'a>(module: &'a str, imports: &'a BTreeMap<String, BTreeSet<String>>) -> Option<Vec<&'a str>> {
    let (mut seen, mut ways) = (BTreeSet::new(), VecDeque::from([vec![module]]));
    while let Some(way) = ways.pop_front() {
        for next in imports.get(*way.last()?).into_iter().flatten() {
            let longer = [&way[..], &[next]].concat();
            if next == module {
                return Some(longer);
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

#[test]
fn a_loop_of_imports_is_found() {
    let file = |path: &str, text: &str| (path.to_string(), text.to_string());
    let way = |files: &[(String, String)], module: &str| way_back(module, &imports(files)).map(|way| way.join(" "));
    let chain = [
        file("io/mod.rs", "pub mod a;\npub mod b;\npub trait T {}"),
        file("io/a.rs", "use super::b::{self, B};\nuse super::T;"),
        file("io/b.rs", "use crate::io::c::inner::C;"),
        file("io/c.rs", "mod inner;\nuse crate::error::Result;"),
        file("io/c/inner.rs", "// use super::super::a;\n#[cfg(test)]\nuse crate::io::a;"),
    ];
    for module in ["io", "io::a", "io::b", "io::c", "io::c::inner"] {
        assert_eq!(way(&chain, module), None, "{module}");
    }
    let mut back = chain.clone();
    back[4].1 = "use super::super::{a::A};".into();
    assert_eq!(way(&back, "io::b").unwrap(), "io::b io::c::inner io::a io::b");
    let mut child = chain;
    child[3].1 = "mod inner;\nfn f() { inner::g() }".into();
    child[4].1 = "use super::C;".into();
    assert_eq!(way(&child, "io::c").unwrap(), "io::c io::c::inner io::c");
}
