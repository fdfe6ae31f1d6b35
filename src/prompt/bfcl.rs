//! API calling: which function answers the request?
//!
//! Source: package `bfcl-eval` (the Berkeley Function-Calling Leaderboard), the rows that call one
//! function. A row's own functions are topped up to [`FUNCTIONS`] with others of its split, drawn
//! once per row, among those whose words differ enough from the right one's that they are not right
//! as well; or, for harder lists, with the nearest of those. The list is the item's passage, `name:
//! description` a line; the options are the names.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::SliceRandom;
use serde::Deserialize;
use serde_json::Value;

use super::agent::{Candidate, Read, one_line};
use super::compress::structured::words;
use super::dataset::{Item, LeftOut, SEED};
use super::source::Source;
use crate::error::Result;
use crate::rng;

/// Functions that a request chooses from: with five shots, prompts of 420 to 880 tokens.
pub(super) const FUNCTIONS: usize = 12;

/// Longer requests, in bytes, are left out: pasted documents, which no compressor may touch.
const REQUEST_BYTES_MAX: usize = 600;

/// A function that shares this part of its words (those of both together) with the right one may be
/// right too and is not added to a list.
const ALIKE: f64 = 0.25;

/// Requests of one half of the leaderboard, with lists of one kind.
#[derive(Debug)]
pub(super) struct Split {
    pub name: &'static str,
    /// The dataset whose items these are, in its order.
    pub items_of: &'static str,
    /// Files, and the number of each one's first row.
    files: [(&'static str, u32); 2],
    others: Others,
}

/// Which functions a list is topped up with.
#[derive(Debug, PartialEq, Eq)]
enum Others {
    /// Any.
    Drawn,
    /// Those that share the largest part of their words with the right one.
    Nearest,
}

/// Requests that the leaderboard's authors wrote.
pub(super) const WRITTEN: Split = Split {
    name: "api-calling",
    items_of: "api-calling",
    files: [("multiple", 0), ("simple_python", 1000)],
    others: Others::Drawn,
};

/// The same requests, with lists that are harder to choose from.
pub(super) const NEAR: Split =
    Split { name: "api-calling-near", others: Others::Nearest, ..WRITTEN };

/// Requests that users of their service contributed.
pub(super) const LIVE: Split = Split {
    name: "api-calling-live",
    items_of: "api-calling-live",
    files: [("live_multiple", 0), ("live_simple", 2000)],
    others: Others::Drawn,
};

/// All of them.
pub(super) const SPLITS: [&Split; 3] = [&WRITTEN, &LIVE, &NEAR];

#[derive(Debug, Deserialize)]
struct Row {
    id: String,
    /// Turns, each of messages.
    question: Vec<Vec<Message>>,
    function: Vec<Function>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    description: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    id: String,
    /// Calls, each of one function: its name with its arguments.
    ground_truth: Vec<BTreeMap<String, Value>>,
}

/// A request with its own functions, by name.
#[derive(Debug)]
struct Asked {
    id: u32,
    request: String,
    functions: BTreeMap<String, String>,
    gold: String,
}

/// A function that lists are topped up with.
#[derive(Debug)]
struct Known {
    name: String,
    description: String,
    words: BTreeSet<String>,
}

/// Reads the rows of `split`; those of one right function are a group.
///
/// # Errors
/// If a file is missing, a line is not what it should be, or a row's answer is missing, calls none
/// or several functions, or one that the row does not list.
pub(super) fn read(split: &Split, mut source: Source) -> Result<Read> {
    let mut asked = Vec::new();
    for (file, first) in split.files {
        asked.extend(rows(&mut source, file, first)?);
    }
    let known = known(&asked);
    let (mut left_out, mut seen) = (BTreeMap::new(), BTreeSet::new());
    asked.retain(|row| {
        let reason = if !seen.insert(row.request.to_lowercase()) {
            LeftOut::AskedBefore
        } else if row.request.len() > REQUEST_BYTES_MAX {
            LeftOut::LongRequest
        } else {
            return true;
        };
        *left_out.entry(reason).or_default() += 1;
        false
    });
    let candidates = asked.into_iter().map(|row| candidate(split, row, &known)).collect();
    Ok(Read { candidates, left_out, sha256: source.sha256() })
}

fn rows(source: &mut Source, file: &str, first: u32) -> Result<Vec<Asked>> {
    let member = format!("bfcl_eval/data/BFCL_v4_{file}.json");
    let answers = format!("bfcl_eval/data/possible_answer/BFCL_v4_{file}.json");
    let rows: Vec<Row> = source.lines(&member, "a request with its functions")?;
    let answers: Vec<Answer> = source.lines(&answers, "an answer")?;
    let answers: BTreeMap<String, Answer> =
        answers.into_iter().map(|answer| (answer.id.clone(), answer)).collect();
    let asked = |(index, row): (u32, Row)| {
        let wrong = |problem| source.wrong(&member, index as usize + 1, problem);
        let answer = answers
            .get(&row.id)
            .ok_or_else(|| wrong("no answer").found(&row.id).allowed("an id of the answers"))?;
        let functions = row.function.iter().map(|f| (f.name.clone(), one_line(&f.description)));
        let functions: BTreeMap<String, String> = functions.collect();
        let called: Vec<&String> = answer.ground_truth.iter().flat_map(BTreeMap::keys).collect();
        let gold = match called[..] {
            [gold] if functions.contains_key(gold) => gold.clone(),
            [gold] => {
                let names: Vec<_> = functions.keys().cloned().collect();
                let error = wrong("the right function is not listed").found(gold);
                return Err(error.allowed(names.join(", ")));
            }
            _ => return Err(wrong("not one right function").found(called.len()).allowed(1)),
        };
        let mut said = row.question.iter().flatten().filter(|message| message.role == "user");
        let request = said.next_back().map(|message| one_line(&message.content));
        let request = request.ok_or_else(|| wrong("no message of a user"))?;
        Ok(Asked { id: first + index, request, functions, gold })
    };
    (0..).zip(rows).map(asked).collect()
}

/// Every function of `asked` once, by name.
fn known(asked: &[Asked]) -> Vec<Known> {
    let all: BTreeMap<&String, &String> = asked.iter().flat_map(|row| &row.functions).collect();
    let known = |(name, description): (&String, &String)| Known {
        name: name.clone(),
        description: description.clone(),
        words: words(&entry(name, description)),
    };
    all.into_iter().map(known).collect()
}

fn candidate(split: &Split, row: Asked, known: &[Known]) -> Candidate {
    let list = list(split, &row, known);
    let lines: Vec<String> =
        list.iter().map(|(name, description)| entry(name, description)).collect();
    let gold = list.iter().position(|(name, _)| *name == row.gold).expect("it is on the list");
    let item = Item {
        id: row.id,
        passage: Some(lines.join("\n")),
        question: format!("Question: {}\nAnswer:", row.request),
        options: list.iter().map(|(name, _)| format!(" {name}")).collect(),
        gold,
    };
    Candidate { item, group: row.gold }
}

fn entry(name: &str, description: &str) -> String {
    format!("{name}: {description}").trim_end().to_owned()
}

/// The right function, the row's others, then others, up to [`FUNCTIONS`], in random order.
fn list<'a>(split: &Split, row: &'a Asked, known: &'a [Known]) -> Vec<(&'a str, &'a str)> {
    let mut stream = rng::stream(SEED, &format!("functions of {} {}", split.items_of, row.id));
    let description = row.functions[&row.gold].as_str();
    let gold_words = words(&entry(&row.gold, description));
    let mut order: Vec<&Known> = known.iter().collect();
    order.shuffle(&mut stream);
    if split.others == Others::Nearest {
        let nearness = |function: &&Known| shared_part(&function.words, &gold_words);
        order.sort_by(|a, b| nearness(b).total_cmp(&nearness(a)));
    }
    let own = row.functions.iter().filter(|(name, _)| **name != row.gold);
    let drawn = order.into_iter().filter(|function| {
        let is_alike = shared_part(&function.words, &gold_words) >= ALIKE;
        !row.functions.contains_key(&function.name) && !is_alike
    });
    let mut list: Vec<(&str, &str)> = std::iter::once((row.gold.as_str(), description))
        .chain(own.map(|(name, description)| (name.as_str(), description.as_str())))
        .chain(drawn.map(|function| (function.name.as_str(), function.description.as_str())))
        .take(FUNCTIONS)
        .collect();
    list.shuffle(&mut stream);
    list
}

/// The part of the words of both that both have; 0 where there are none.
fn shared_part(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let all = a.union(b).count().max(1);
    a.intersection(b).count() as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::prompt::Dataset;
    use crate::prompt::testing::plain_folder;

    fn function(name: &str, description: &str) -> Value {
        json!({"name": name, "description": description, "parameters": {"type": "dict"}})
    }

    fn row(id: &str, request: &str, functions: &[Value]) -> String {
        let question = json!([[{"role": "system", "content": "Be brief."},
                               {"role": "user", "content": request}]]);
        json!({"id": id, "question": question, "function": functions}).to_string()
    }

    fn answer(id: &str, name: &str) -> String {
        json!({"id": id, "ground_truth": [{name: {"x": [1]}}]}).to_string()
    }

    /// Two requests with a choice of two, and `simple` ones with a function of their own each.
    fn rows(simple: usize) -> [Vec<String>; 4] {
        let weather = function("weather.get", "Get the\n weather of a city.");
        let tide = function("tide.get", "Height of the sea.");
        let simple_row = |n: usize| {
            let own = function(&format!("f{n}.run"), &format!("Does{n} thing{n}."));
            row(&format!("s{n}"), &format!("Do thing {n:04}"), &[own])
        };
        [
            vec![
                row("m0", "Is it  raining in Oslo?", &[tide.clone(), weather.clone()]),
                row("m1", "How high is the sea?", &[tide, weather]),
            ],
            vec![answer("m1", "tide.get"), answer("m0", "weather.get")],
            (0..simple).map(simple_row).collect(),
            (0..simple).map(|n| answer(&format!("s{n}"), &format!("f{n}.run"))).collect(),
        ]
    }

    fn folder(rows: &[Vec<String>; 4]) -> (TempDir, PathBuf) {
        let names = ["", "possible_answer/"]
            .map(|folder| move |file: &str| format!("bfcl_eval/data/{folder}BFCL_v4_{file}.json"));
        let [multiple, multiple_answers, simple, simple_answers] =
            rows.each_ref().map(|rows| rows.join("\n"));
        plain_folder(&[
            (&names[0]("multiple"), &multiple),
            (&names[1]("multiple"), &multiple_answers),
            (&names[0]("simple_python"), &simple),
            (&names[1]("simple_python"), &simple_answers),
        ])
    }

    fn all(rows: &[Vec<String>; 4]) -> Result<Read> {
        let (_folder, path) = folder(rows);
        read(&WRITTEN, Source::new(&path, crate::assets::Package::Bfcl))
    }

    fn message(rows: &[Vec<String>; 4]) -> String {
        let message = all(rows).unwrap_err().to_string();
        message.split_once(", bfcl_eval/data/").unwrap().1.to_owned()
    }

    #[test]
    fn a_request_lists_its_own_functions_and_others_up_to_twelve() {
        let read = all(&rows(20)).unwrap();
        let first = &read.candidates[0];
        assert_eq!((first.item.id, &*first.group), (0, "weather.get"));
        assert_eq!(first.item.question, "Question: Is it raining in Oslo?\nAnswer:");
        let passage = first.item.passage.as_deref().unwrap();
        assert!(passage.lines().any(|line| line == "weather.get: Get the weather of a city."));
        assert!(passage.contains("tide.get: Height of the sea."));
        for Candidate { item, group } in &read.candidates {
            assert_eq!(item.options.len(), FUNCTIONS);
            assert_eq!(item.options[item.gold], format!(" {group}"));
            let names = item.passage.as_deref().unwrap().lines().map(|line| line.split(':').next());
            let names: Vec<_> = names.map(|name| format!(" {}", name.unwrap())).collect();
            assert_eq!(names, item.options);
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), FUNCTIONS);
        }
        assert_eq!(read.candidates[2].item.id, 1000);
    }

    #[test]
    fn a_function_that_says_much_the_same_is_not_drawn() {
        let mut rows = rows(11);
        let twin = function("get_weather", "Weather of the city.");
        rows[2].push(row("twin", "Storm in Bergen?", &[twin]));
        rows[3].push(answer("twin", "get_weather"));
        let read = all(&rows).unwrap();
        assert!(!read.candidates[0].item.options.contains(&" get_weather".to_owned()));
        assert_eq!(read.candidates[0].item.options.len(), FUNCTIONS);
    }

    /// Of nine words that "weather.get: Get the weather of a city." and the map have together they
    /// share one; with all others it shares none.
    #[test]
    fn near_lists_have_the_nearest_that_are_not_right_as_well() {
        let mut rows = rows(20);
        let beside = function("map.show", "Show streets of a city in colours that blend.");
        rows[2].push(row("beside", "Where is the station?", &[beside]));
        rows[3].push(answer("beside", "map.show"));
        let (_folder, path) = folder(&rows);
        let source = || Source::new(&path, crate::assets::Package::Bfcl);
        let has = |split| {
            let item = read(split, source()).unwrap().candidates.swap_remove(0).item;
            assert_eq!(item.options.len(), FUNCTIONS);
            item.options.contains(&" map.show".to_owned())
        };
        assert!(has(&NEAR));
        let easy = read(&WRITTEN, source()).unwrap().candidates;
        let near = read(&NEAR, source()).unwrap().candidates;
        assert!(easy.iter().zip(&near).all(|(a, b)| a.item.question == b.item.question));
    }

    #[test]
    fn repeated_and_long_requests_are_left_out_and_counted() {
        let mut rows = rows(12);
        let own = function("g.run", "Other.");
        rows[2].push(row("again", "IS IT raining in Oslo?", std::slice::from_ref(&own)));
        rows[2].push(row("long", &"word ".repeat(200), &[own]));
        rows[3].extend([answer("again", "g.run"), answer("long", "g.run")]);
        let read = all(&rows).unwrap();
        assert_eq!(read.candidates.len(), 14);
        let expected = [(LeftOut::AskedBefore, 1), (LeftOut::LongRequest, 1)];
        assert_eq!(read.left_out, BTreeMap::from(expected));
    }

    #[test]
    fn shots_training_and_scored_items_share_no_request_and_no_right_function() {
        let (_folder, path) = folder(&rows(240));
        let dataset = Dataset::load(&path, "api-calling").unwrap();
        assert_eq!(dataset.items.len() + dataset.training.len() + 5, 242);
        let gold = |item: &Item| item.options[item.gold].clone();
        let scored: BTreeSet<_> = dataset.items.iter().map(gold).collect();
        assert!(dataset.training.iter().all(|item| !scored.contains(&gold(item))));
        let ids: BTreeSet<_> = dataset.items.iter().map(|item| item.id).collect();
        assert!(dataset.training.iter().all(|item| !ids.contains(&item.id)));
        assert!(dataset.shots.iter().all(|shot| shot.starts_with("Question: Do thing ")));
        assert_eq!(dataset, Dataset::load(&path, "api-calling").unwrap());
    }

    #[test]
    fn bad_rows_are_errors_that_name_the_line() {
        let mut wrong = rows(2);
        wrong[1][0] = answer("m1", "moon.get");
        let mut several = rows(2);
        several[1][1] = r#"{"id": "m0", "ground_truth": []}"#.into();
        let mut absent = rows(2);
        absent[1].pop();
        let mut silent = rows(2);
        silent[0][0] = silent[0][0].replace("user", "tool");
        let mut broken = rows(2);
        broken[2][1] = r#"{"id": 7}"#.into();
        let messages = [wrong, several, absent, silent, broken].map(|rows| message(&rows));
        insta::assert_snapshot!(messages.join("\n"), @r"
        BFCL_v4_multiple.json line 2: the right function is not listed; found moon.get; allowed: tide.get, weather.get
        BFCL_v4_multiple.json line 1: not one right function; found 0; allowed: 1
        BFCL_v4_multiple.json line 1: no answer; found m0; allowed: an id of the answers
        BFCL_v4_multiple.json line 1: no message of a user
        BFCL_v4_simple_python.json line 2: not a request with its functions: invalid type: integer `7`, expected a string at line 1 column 8
        ");
    }
}
