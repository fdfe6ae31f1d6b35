//! The tree keeps what ARCHITECTURE.md and CONTRIBUTING.md promise of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::skipped;

/// No file of the repository is larger, weights and what is measured or replayed aside.
const LARGEST_FILE_BYTES: u64 = 256 * 1024;
const LARGER: [&str; 6] = [
    "Cargo.lock",
    "assets/fonts/",
    // The order of 24 layers of 4864 neurons.
    "device-profiles/elastic/qwen2.5-coder-0.5b-instruct/order-",
    "device-profiles/elastic/smollm2-135m-instruct/tlm/labels.jsonl",
    "device-profiles/quality/",
    "results/",
];

/// Weights lie here only, with the table that names them.
const WEIGHTS: &str = "device-profiles/weights";
const WEIGHTS_TABLE: &str = "manifest.csv";

// Of these results/serve-load has 28, of six recorded days; ladders and answers of a second base
// model have 0.6 MB.
const TRACKED_FILES_MAX: usize = 1115;
const TRACKED_BYTES_MAX: u64 = 17_200_000;

/// What the registry takes.
const PACKAGE_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// Licences that a user of a permissively licensed package can accept; an `OR` needs one of them,
/// an `AND` all.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Where else a word may stand in `src` than in the folders or files named beside it: nowhere.
const ONE_PLACE_EACH: [(&str, &[&str]); 11] = [
    ("axum::", &["src/serve/"]),
    ("tokio::", &["src/serve/"]),
    ("ureq::", &["src/load/"]),
    ("clap::", &["src/cli/"]),
    ("plotters::", &["src/report/"]),
    ("resvg::", &["src/report/"]),
    ("ort::", &["src/engine/", "src/model/tlm/runner.rs"]),
    ("candle_core::", &["src/elastify/", "src/heads/", "src/model/", "src/engine/"]),
    ("rayon::", &["src/experiment/", "src/search/", "src/elastify/", "src/cli/elastify/"]),
    ("\"pip\"", &["src/assets/"]),
    ("io::stdout()", &["src/cli/output.rs"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What git tracks, or `None`, said, where this is no checkout.
fn tracked() -> Option<Vec<String>> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Some(listed) = listed.ok().filter(|output| output.status.success()) else {
        skipped("a git checkout");
        return None;
    };
    let names = String::from_utf8(listed.stdout).unwrap();
    let exists = |name: &&str| !name.is_empty() && root().join(name).exists();
    Some(names.split('\0').filter(exists).map(str::to_owned).collect())
}

/// Who looks for the code behind a results folder finds it: rewriting history loses it.
#[test]
fn results_name_a_commit_of_the_history() {
    let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(root()).output();
    let shallow = git(&["rev-parse", "--is-shallow-repository"]);
    if shallow.map_or(true, |output| output.stdout != b"false\n") {
        return skipped("a git checkout with all of its history");
    }
    let mut seen = 0;
    for name in tracked().unwrap_or_default() {
        if !name.starts_with("results/") || !name.ends_with("/manifest.toml") {
            continue;
        }
        let text = std::fs::read_to_string(root().join(&name)).unwrap();
        let commit =
            text.lines().find_map(|line| line.strip_prefix("commit = \"")?.strip_suffix('"'));
        let commit = commit.unwrap_or_else(|| panic!("{name} names no commit"));
        let found = git(&["merge-base", "--is-ancestor", commit, "HEAD"]).unwrap();
        assert!(
            found.status.success(),
            "{name}: {commit} is no commit of the history: run it again"
        );
        seen += 1;
    }
    assert!(seen > 0, "there are results");
}

/// The Rust files below `folder`, by path from the root, sorted.
fn rust_files(folder: &str) -> Vec<String> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// The code of a file without its comments and without what only tests compile.
fn product_code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    code.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// Files that a `#[cfg(test)] mod name;` declares, or that lie in a folder of such a module.
fn is_for_tests(path: &str) -> bool {
    ["tests", "testing"]
        .iter()
        .any(|name| path.ends_with(&format!("/{name}.rs")) || path.contains(&format!("/{name}/")))
}

/// The modules that `code` takes from the crate, `use crate::{a, b::c}` included.
fn modules_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            None => drop(used.insert(word(after))),
            Some(group) => {
                let (mut depth, mut start) = (1, true);
                for (at, c) in group.char_indices() {
                    if start && depth == 1 {
                        used.insert(word(&group[at..]));
                    }
                    start = c == ',' || (start && c.is_whitespace());
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    used.remove("");
    used
}

/// The modules of the code map in ARCHITECTURE.md, topmost (most basic) first.
fn code_map(architecture: &str) -> Vec<String> {
    let section = architecture.split("## Code map").nth(1).expect("a code map");
    let rows = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let first_cells = rows.map(|row| row.split('|').nth(1).unwrap_or_default());
    let names = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

/// Every use of a lower module by one above it: `file -> module`.
fn arrows_up(order: &[String], files: &[(String, String)]) -> Vec<String> {
    let place: BTreeMap<&str, usize> =
        order.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let mut wrong = Vec::new();
    for (path, code) in files {
        let module = path.trim_start_matches("src/").split(['/', '.']).next().unwrap();
        let Some(&own) = place.get(module) else {
            wrong.push(format!("{path}: `{module}` has no line in the code map"));
            continue;
        };
        for used in modules_used(code) {
            if place.get(used.as_str()).is_some_and(|&other| other > own) {
                wrong.push(format!("{path} -> {used}"));
            }
        }
    }
    wrong
}

fn product_files() -> Vec<(String, String)> {
    let files = rust_files("src").into_iter().filter(|path| !is_for_tests(path));
    let files = files.filter(|path| !["src/lib.rs", "src/main.rs"].contains(&path.as_str()));
    files.map(|path| (path.clone(), product_code(&read(&path)))).collect()
}

#[test]
fn modules_use_only_those_above_them_in_the_code_map() {
    let order = code_map(&read("ARCHITECTURE.md"));
    assert!(order.len() > 15, "{order:?}");
    let wrong = arrows_up(&order, &product_files());
    assert!(wrong.is_empty(), "against the order of ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn a_planted_arrow_that_points_up_is_found() {
    let order = ["error", "sim", "report"].map(str::to_owned);
    let file = |path: &str, code: &str| (path.to_owned(), product_code(code));
    let files = [
        file("src/sim/mod.rs", "use crate::error::Error;\n// crate::report is below\n"),
        file("src/report/mod.rs", "use crate::{error::Error, sim};\n"),
        file("src/sim/queue.rs", "use crate::{\n    error,\n    report::{a, b},\n};\n"),
        file("src/sim/kernel.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n use crate::report;\n}"),
        file("src/error.rs", "fn a() { crate::sim::replay() }\n"),
    ];
    assert_eq!(arrows_up(&order, &files), ["src/sim/queue.rs -> report", "src/error.rs -> sim"]);
}

#[test]
fn each_library_and_each_outlet_has_one_place() {
    let mut wrong = Vec::new();
    for (path, code) in product_files() {
        for (word, places) in ONE_PLACE_EACH {
            let stands = code.split(word).skip(1).count() > 0
                && code.match_indices(word).any(|(at, _)| starts_a_word(&code, at));
            if stands && !places.iter().any(|place| path.starts_with(place)) {
                wrong.push(format!("{path}: `{word}` belongs in {}", places.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether no identifier runs into what stands `at`: `ort::` is not in `sort::`.
fn starts_a_word(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Lines that cannot be broken, by file and start: a regular expression in one literal.
const UNBREAKABLE: [(&str, &str); 1] = [("src/engine/tokenizer.rs", "const QWEN2_WORDS: &str = r")];

/// Files of tests and modules of tests hold texts that are compared to the letter.
#[test]
fn no_line_of_code_or_prose_is_longer_than_100_columns() {
    let mut long = Vec::new();
    for path in rust_files("src").into_iter().filter(|path| !is_for_tests(path)) {
        let text = read(&path);
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (number, line) in product.lines().enumerate() {
            let is_known = |(file, start): &(&str, &str)| path == *file && line.starts_with(start);
            if line.chars().count() > 100 && !UNBREAKABLE.iter().any(is_known) {
                long.push(format!("{path}:{}", number + 1));
            }
        }
    }
    assert!(long.is_empty(), "{} lines:\n{}", long.len(), long.join("\n"));
}

#[test]
fn every_source_file_is_a_module_of_its_parent() {
    let files: BTreeSet<String> = rust_files("src").into_iter().collect();
    for path in &files {
        if ["src/lib.rs", "src/main.rs"].contains(&path.as_str()) {
            continue;
        }
        let (folder, name) = path.trim_end_matches(".rs").rsplit_once('/').unwrap();
        let (folder, name) =
            if name == "mod" { folder.rsplit_once('/').unwrap() } else { (folder, name) };
        let parents = [
            format!("{folder}.rs"),
            format!("{folder}/mod.rs"),
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
        ];
        let declares = |parent: &String| read(parent).contains(&format!("mod {name};"));
        let is_known = parents.iter().filter(|parent| files.contains(*parent)).any(declares);
        assert!(is_known, "{path} is compiled by nobody");
    }
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == ending)
}

#[test]
fn every_page_experiment_and_example_is_named_by_a_page() {
    let Some(tracked) = tracked() else { return };
    let pages: Vec<&String> = tracked.iter().filter(|name| has_ending(name, "md")).collect();
    let text_of = |without: &str| -> String {
        pages.iter().filter(|page| page.as_str() != without).map(|page| read(page)).collect()
    };
    for path in &tracked {
        let shown = ["docs/", "experiments/", "examples/"].iter().any(|at| path.starts_with(at));
        if !shown || path == "docs/README.md" {
            continue;
        }
        let name = path.rsplit('/').next().unwrap();
        assert!(text_of(path).contains(name), "no page names {path}");
    }
}

#[test]
fn weights_lie_in_one_folder_with_a_table_that_says_what_each_is() {
    let Some(tracked) = tracked() else { return };
    let folder = root().join(WEIGHTS);
    let table = folder.join(WEIGHTS_TABLE);
    let mut named = BTreeSet::from([WEIGHTS_TABLE.to_owned()]);
    for row in csv::Reader::from_path(table).unwrap().records().map(Result::unwrap) {
        let name = format!("{}.safetensors", &row[0][..16]);
        let path = folder.join(&name);
        assert_eq!(pliant::digest::sha256_file(&path).unwrap(), row[0], "{name}");
        assert_eq!(fs::metadata(&path).unwrap().len().to_string(), row[1], "{name}");
        assert!(row[6].starts_with("pliant elastify "), "{name}: {}", &row[6]);
        assert!(named.insert(name), "two rows of one file: {row:?}");
    }
    let name_of = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let found = fs::read_dir(folder).unwrap().map(|entry| name_of(entry).into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<_>>(), named);
    let weights = tracked.iter().filter(|name| has_ending(name, "safetensors"));
    let elsewhere: Vec<&String> = weights.filter(|name| !name.starts_with(WEIGHTS)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[test]
fn the_repository_is_light() {
    let Some(tracked) = tracked() else { return };
    let size = |name: &String| fs::metadata(root().join(name)).unwrap().len();
    let is_weights = |name: &str| name.starts_with(WEIGHTS) && has_ending(name, "safetensors");
    let light: Vec<&String> = tracked.iter().filter(|name| !is_weights(name)).collect();
    for name in &light {
        let small = size(name) <= LARGEST_FILE_BYTES
            || LARGER.iter().any(|larger| name.starts_with(larger));
        assert!(small, "{name}: {} bytes, allowed are {LARGEST_FILE_BYTES}", size(name));
    }
    let bytes: u64 = light.iter().map(|name| size(name)).sum();
    assert!(bytes <= TRACKED_BYTES_MAX, "{bytes} bytes besides weights");
    assert!(light.len() <= TRACKED_FILES_MAX, "{} files besides weights", light.len());
}

#[test]
fn the_package_is_small_enough_for_the_registry() {
    if tracked().is_none() {
        return;
    }
    let target = tempfile::tempdir().unwrap();
    let packed = Command::new(env!("CARGO"))
        .args(["package", "--locked", "--offline", "--no-verify", "--allow-dirty"])
        .arg("--target-dir")
        .arg(target.path())
        .current_dir(root())
        .output()
        .unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let is_package = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "crate");
    let files = fs::read_dir(target.path().join("package")).unwrap();
    let package = files.map(|entry| entry.unwrap().path()).find(is_package).unwrap();
    let bytes = fs::metadata(&package).unwrap().len();
    assert!(bytes <= PACKAGE_BYTES_MAX, "{bytes} bytes, allowed are {PACKAGE_BYTES_MAX}");
}

#[test]
fn every_crate_has_a_licence_of_the_list() {
    let described = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--all-features", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(described.status.success(), "{}", String::from_utf8_lossy(&described.stderr));
    let metadata: Value = serde_json::from_slice(&described.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50);
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence), "{}: licence {licence}", package["name"]);
    }
}

/// Whether an SPDX expression can be met by licences of the list alone.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let alternatives = |part: &str| part.split(" OR ").any(|one| LICENCES.contains(&one.trim()));
    expression.split(" AND ").all(alternatives)
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    for allowed in ["MIT", "MIT OR GPL-3.0", "MIT/Apache-2.0", "(MIT OR X) AND Unicode-3.0"] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["GPL-3.0", "MIT AND GPL-3.0", "none"] {
        assert!(!is_allowed(refused), "{refused}");
    }
}
