//! UI automation: which element of the screen does the next step of a task act on?
//!
//! Source: a file of DroidTask steps, JSON lines, that the user gives: `context` is the screen, its
//! elements as `<kind id=N …>…</kind>`; `question` the task and the actions before this step;
//! `choices` the elements; `gold` the place of the right one among them. The elements' texts are
//! the item's passage, one a line, and its options.
//!
//! Not shown to the model: the text that the step enters, which is part of the answer, and
//! elements' numbers. `choices` offer "task finished" only where it is right, which gives it away;
//! such steps act on no element and are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::agent::{Candidate, Read, one_line};
use super::dataset::{Item, LeftOut};
use crate::digest;
use crate::error::{Error, Result};

/// Screens with more elements are left out: their prompts are beyond what latencies are fitted to.
const ELEMENTS_MAX: usize = 40;

/// Actions before the step that the question tells, the latest ones.
const ACTIONS: usize = 2;

/// What `choices` offer besides elements.
const FINISHED: &str = "<task finished>";

/// A step as the file has it.
#[derive(Debug, Deserialize)]
struct Step {
    /// `app/task/step`.
    id: String,
    context: String,
    question: String,
    choices: Vec<String>,
    #[serde(default)]
    gold: Value,
}

/// Reads the steps of file `path`, numbered by line from 0; those of a task are a group.
///
/// # Errors
/// If the file cannot be read, a line is not a step, or the element that a step acts on is not
/// stated or not on its screen.
pub(super) fn read(path: &Path) -> Result<Read> {
    let text = fs::read_to_string(path).map_err(|e| Error::io(path, "cannot read", e))?;
    let (mut candidates, mut left_out) = (Vec::new(), BTreeMap::new());
    let mut seen = BTreeSet::new();
    for (index, line) in (0..).zip(text.lines()) {
        let place = Place { path, line: index + 1 };
        let step: Step =
            serde_json::from_str(line).map_err(|e| place.wrong("not a step").caused_by(e))?;
        let made = candidate(index, &step, place)?;
        let made = made.and_then(|candidate| {
            let new = seen.insert(candidate.item.text());
            if new { Ok(candidate) } else { Err(LeftOut::AskedBefore) }
        });
        match made {
            Ok(candidate) => candidates.push(candidate),
            Err(reason) => *left_out.entry(reason).or_default() += 1,
        }
    }
    Ok(Read { candidates, left_out, sha256: digest::sha256(text.as_bytes()) })
}

#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    line: u32,
}

impl Place<'_> {
    fn wrong(self, problem: &str) -> Error {
        Error::file(self.path, problem).at(format!("line {}", self.line))
    }
}

/// The item of `step`, or why it is none.
fn candidate(id: u32, step: &Step, place: Place<'_>) -> Result<Result<Candidate, LeftOut>> {
    let elements = elements(&step.context);
    let chosen = gold_choice(step, place)?;
    if chosen == FINISHED {
        return Ok(Err(LeftOut::NothingToDo));
    }
    let number = number(chosen);
    let found = elements.iter().position(|element| number.is_some() && element.number == number);
    let gold = found.ok_or_else(|| {
        let numbers = elements.iter().filter_map(|element| element.number);
        let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
        place
            .wrong("the right element is not on the screen")
            .found(chosen)
            .allowed(format!("an element with id {}", numbers.join(", ")))
    })?;
    let text = &elements[gold].text;
    let alike = elements.iter().filter(|element| element.text == *text).count() > 1;
    if text.is_empty() || alike {
        return Ok(Err(LeftOut::SameText));
    }
    if elements.len() > ELEMENTS_MAX {
        return Ok(Err(LeftOut::LongList));
    }
    let mut texts: Vec<&str> = Vec::new();
    for element in &elements {
        if !element.text.is_empty() && !texts.contains(&&*element.text) {
            texts.push(&element.text);
        }
    }
    let item = Item {
        id,
        passage: Some(texts.join("\n")),
        question: question(&step.question),
        options: texts.iter().map(|text| format!(" {text}")).collect(),
        gold: texts.iter().position(|other| other == text).expect("it is one of them"),
    };
    let task = step.id.rsplit_once('/').map_or(&*step.id, |(task, _)| task);
    Ok(Ok(Candidate { item, group: task.to_owned() }))
}

/// The choice that is right.
fn gold_choice<'a>(step: &'a Step, place: Place<'_>) -> Result<&'a str> {
    let index = step.gold.as_u64().and_then(|gold| usize::try_from(gold).ok());
    let choice = index.and_then(|gold| step.choices.get(gold));
    choice.map(String::as_str).ok_or_else(|| {
        let count = step.choices.len();
        place
            .wrong("no right element")
            .found(format!("gold {}", step.gold))
            .allowed(format!("0 to {}, the place of one of {count} choices", count.max(1) - 1))
    })
}

/// What stands on the screen.
#[derive(Debug, PartialEq, Eq)]
struct Element {
    number: Option<u32>,
    text: String,
}

/// The elements of a screen: each starts with a tag that has an id and goes on to the next.
fn elements(screen: &str) -> Vec<Element> {
    let tags = screen.match_indices('<').map(|(at, _)| at);
    let mut starts: Vec<usize> = tags.filter(|&at| number(&screen[at..]).is_some()).collect();
    starts.push(screen.len());
    let element = |bounds: &[usize]| {
        let html = &screen[bounds[0]..bounds[1]];
        Element { number: number(html), text: plain(html) }
    };
    starts.windows(2).map(element).collect()
}

/// The id of the tag that `html` starts with.
fn number(html: &str) -> Option<u32> {
    let (kind, rest) = html.strip_prefix('<')?.split_once(" id=")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    if kind.contains(|letter: char| !letter.is_alphanumeric()) {
        return None;
    }
    rest[..digits].parse().ok()
}

/// `html` without tags, on one line; the text that a tag states in `text='…'` stays.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        let (inside, after) = split_tag(tag);
        let stated = inside.split_once("text='").map(|(_, stated)| stated);
        let stated = stated.and_then(|stated| stated.rsplit_once('\'')).map_or("", |(own, _)| own);
        text.extend([before, " ", stated, " "]);
        rest = after;
    }
    one_line(&(text + rest))
}

/// A tag's inside and what follows it; a `>` within its text does not end it.
fn split_tag(tag: &str) -> (&str, &str) {
    let quoted = tag.find("text='").filter(|&at| at < tag.find('>').unwrap_or(0));
    let end = match quoted {
        Some(at) => tag[at..].find("'>").map(|end| at + end + 1),
        None => tag.find('>'),
    };
    end.map_or((tag, ""), |end| (&tag[..end], &tag[end + 1..]))
}

/// Task and latest actions as a question.
fn question(stated: &str) -> String {
    let mut lines = stated.lines().map(str::trim);
    let task = lines.next().unwrap_or_default();
    let task = task.strip_prefix("Task:").unwrap_or(task);
    let actions: Vec<String> =
        lines.filter_map(|line| line.strip_prefix("- ")).map(plain).collect();
    let latest = &actions[actions.len().saturating_sub(ACTIONS)..];
    let done: Vec<&str> = latest.iter().map(|action| action.trim_end_matches('.')).collect();
    format!("Question: {} Done: {}. What is next?\nAnswer:", one_line(task), done.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::prompt::Dataset;

    const SCREEN: &str = "<input id=0>Search <b>all</b></input>\n <button id=1 text='Open > close'>\
                          </button>\n<button id=2>Internal<br>2</button>\n<button id=3>A\nB</button>";

    fn step(id: &str, task: &str, gold: usize) -> Value {
        let question = format!(
            "Task: {task}\nPrevious UI actions:\n- Start the app.\n- TapOn: <button text='More'>\
             </button>\n- TapOn: <input>Label</input> InputText: x\nText to enter: secret"
        );
        // The file cuts choices at line ends; "B</button>" is no element.
        let choices = [
            "<input id=0>Search <b>all</b></input>",
            "<button id=1 text='Open > close'></button>",
            "<button id=2>Internal<br>2</button>",
            "<button id=3>A",
            "B</button>",
            FINISHED,
        ];
        json!({"id": id, "split": "all", "context": SCREEN, "question": question,
               "choices": choices, "gold": gold})
    }

    fn read_steps(steps: &[Value]) -> (TempDir, Result<Read>) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("steps.jsonl");
        let lines: Vec<_> = steps.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        let read = read(&path);
        (folder, read)
    }

    fn message(step: &Value) -> String {
        let (folder, read) = read_steps(std::slice::from_ref(step));
        let start = format!("{}, ", folder.path().join("steps.jsonl").display());
        read.unwrap_err().to_string().strip_prefix(&start).unwrap().to_owned()
    }

    #[test]
    fn a_step_is_a_screen_s_texts_a_task_with_its_latest_actions_and_the_right_text() {
        let (_folder, read) = read_steps(&[step("notes/ab/0", "Open it", 3)]);
        let read = read.unwrap();
        let Candidate { item, group } = &read.candidates[0];
        assert_eq!(item.passage.as_deref(), Some("Search all\nOpen > close\nInternal 2\nA B"));
        assert_eq!(
            item.question,
            "Question: Open it Done: TapOn: More; TapOn: Label InputText: x. What is next?\nAnswer:"
        );
        assert_eq!(item.options, [" Search all", " Open > close", " Internal 2", " A B"]);
        assert_eq!((item.id, item.gold, &**group), (0, 3, "notes/ab"));
        assert!(!item.text().contains("secret"), "what is entered is part of the answer");
    }

    #[test]
    fn steps_without_one_right_text_are_left_out_and_counted() {
        let mut twins = step("notes/ab/1", "Open it", 1);
        twins["context"] = json!("<button id=0>OK</button><button id=1>OK</button>");
        let mut long = step("notes/ab/2", "Open it", 1);
        let screen: Vec<_> = (0..41).map(|n| format!("<p id={n}>n{n}</p>")).collect();
        long["context"] = json!(screen.join("\n"));
        let steps = [
            step("notes/ab/0", "Open it", 5),
            twins,
            long,
            step("notes/ab/3", "Open it", 2),
            step("notes/cd/0", "Open it", 2),
        ];
        let (_folder, read) = read_steps(&steps);
        let read = read.unwrap();
        assert_eq!(read.candidates.len(), 1);
        let expected =
            [LeftOut::NothingToDo, LeftOut::SameText, LeftOut::LongList, LeftOut::AskedBefore];
        assert_eq!(read.left_out, expected.map(|reason| (reason, 1)).into());
    }

    #[test]
    fn a_row_without_its_right_element_is_an_error_that_names_the_line() {
        let mut none = step("notes/ab/0", "Open it", 0);
        none.as_object_mut().unwrap().remove("gold");
        let mut elsewhere = step("notes/ab/0", "Open it", 2);
        elsewhere["context"] = json!("<button id=7>Internal</button>");
        let messages = [
            message(&none),
            message(&step("notes/ab/0", "Open it", 6)),
            message(&step("notes/ab/0", "Open it", 4)),
            message(&elsewhere),
            message(&json!({"id": "notes/ab/0"})),
        ];
        insta::assert_snapshot!(messages.join("\n"), @r"
        line 1: no right element; found gold null; allowed: 0 to 5, the place of one of 6 choices
        line 1: no right element; found gold 6; allowed: 0 to 5, the place of one of 6 choices
        line 1: the right element is not on the screen; found B</button>; allowed: an element with id 0, 1, 2, 3
        line 1: the right element is not on the screen; found <button id=2>Internal<br>2</button>; allowed: an element with id 7
        line 1: not a step: missing field `context` at line 1 column 19
        ");
    }

    #[test]
    fn tasks_are_not_split_between_training_and_scored_items() {
        let steps: Vec<_> = (0..400)
            .map(|n| step(&format!("app/{}/{n}", n / 4), &format!("Do {n:04}"), 2))
            .collect();
        let (folder, _read) = read_steps(&steps);
        let path = folder.path().join("steps.jsonl");
        let dataset = Dataset::load(&path, "ui-automation").unwrap();
        let tasks = |items: &[Item]| items.iter().map(|item| item.id / 4).collect::<BTreeSet<_>>();
        assert!(tasks(&dataset.items).is_disjoint(&tasks(&dataset.training)));
        assert_eq!(dataset.items.len() + dataset.training.len() + dataset.shots.len(), 400);
    }
}
