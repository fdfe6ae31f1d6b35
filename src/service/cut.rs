//! What of a call's prompt may be cut, and what of it goes first.
//!
//! A prompt is turns, a turn is pieces. Of a piece that may be cut the sentences are *units*, which
//! go one by one, the least worth keeping first. Never a unit: the last message of the user, the
//! first sentence of the system's, messages marked so, the format. Without a chat the question is
//! what stands after the last empty line, and all before it may be cut, as in `pliant ask`.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;

use super::call::{Call, Cut, Prompt, Role};
use crate::prompt::compress::{spans, structured};
use crate::units::PROMPT_RATIOS;

/// A turn as the model is to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn<'a> {
    /// Whose; `None` for a text without turns.
    pub role: Option<Role>,
    /// What is left of it.
    pub content: Cow<'a, str>,
}

/// A prompt with what may go of it.
#[derive(Debug)]
pub(super) struct Cuttable<'a> {
    turns: Vec<(Option<Role>, Vec<Piece<'a>>)>,
    units: Vec<Unit>,
    /// Places in `units`, that which goes first at the front.
    order: Vec<usize>,
    question: &'a str,
}

/// A part of a turn, and what stands between it and the next.
#[derive(Debug)]
struct Piece<'a> {
    text: &'a str,
    after: &'static str,
}

/// A sentence that may go.
#[derive(Debug)]
struct Unit {
    turn: usize,
    piece: usize,
    bytes: Range<usize>,
}

/// Between a document and what follows it.
const BETWEEN: &str = "\n\n";

impl<'a> Cuttable<'a> {
    /// The prompt of `call`, with the order that shared words give: of units that share as many
    /// words with the question, those of earlier turns go first, and of one piece the later.
    pub fn of(call: &'a Call) -> Self {
        let mut prompt = match &call.prompt {
            Prompt::Text(text) => Self::of_text(call, text),
            Prompt::Chat(_) => Self::of_chat(call),
        };
        if call.keep_whole {
            prompt.units.clear();
        }
        prompt.rank(None);
        prompt
    }

    fn empty(question: &'a str) -> Self {
        Self { turns: Vec::new(), units: Vec::new(), order: Vec::new(), question }
    }

    fn of_text(call: &'a Call, text: &'a str) -> Self {
        let split = text.rfind(BETWEEN).or_else(|| text.rfind('\n'));
        let (before, question) = text.split_at(split.unwrap_or(0));
        let mut prompt = Self::empty(question.trim_start());
        prompt.turns.push((None, Vec::new()));
        prompt.add_documents(call);
        prompt.add(before, "", true);
        prompt.add(question, "", false);
        prompt
    }

    fn of_chat(call: &'a Call) -> Self {
        let Prompt::Chat(messages) = &call.prompt else { unreachable!("asked for chats only") };
        let last = messages.iter().rposition(|message| message.role == Role::User);
        let mut prompt = Self::empty(last.map_or("", |at| &messages[at].content));
        // Without a question documents stand in a turn of their own.
        let documents_at = last.unwrap_or(messages.len());
        for (at, message) in messages.iter().enumerate() {
            prompt.turns.push((Some(message.role), Vec::new()));
            if at == documents_at {
                prompt.add_documents(call);
            }
            let may = match message.cut {
                Cut::AsUsual => Some(at) != last,
                Cut::Document => true,
                Cut::Never => false,
            };
            prompt.add(&message.content, "", may);
        }
        if last.is_none() && !call.documents.is_empty() {
            prompt.turns.push((Some(Role::User), Vec::new()));
            prompt.add_documents(call);
        }
        prompt
    }

    fn add_documents(&mut self, call: &'a Call) {
        for document in &call.documents {
            self.add(document, BETWEEN, true);
        }
    }

    /// Adds a piece to the last turn.
    fn add(&mut self, text: &'a str, after: &'static str, may_be_cut: bool) {
        let turn = self.turns.len() - 1;
        let (role, pieces) = self.turns.last_mut().expect("there is a turn");
        let piece = pieces.len();
        pieces.push(Piece { text, after });
        if may_be_cut {
            let first = usize::from(*role == Some(Role::System));
            let sentences = spans::sentences(text).into_iter().skip(first);
            self.units.extend(sentences.map(|bytes| Unit { turn, piece, bytes }));
        }
    }

    /// What is asked: the text that units are weighed against.
    pub fn question(&self) -> &'a str {
        self.question
    }

    /// The units, in the order of the text.
    pub fn units(&self) -> Vec<&'a str> {
        let text = |unit: &Unit| &self.turns[unit.turn].1[unit.piece].text[unit.bytes.clone()];
        self.units.iter().map(text).collect()
    }

    /// Settles who goes first: the unit with the lowest of `scores`, one per unit; without them
    /// the one that shares the fewest words with the question.
    pub fn rank(&mut self, scores: Option<&[f32]>) {
        let question = structured::words(self.question);
        let shared = |text: &str| structured::words(text).intersection(&question).count() as f32;
        let words: Vec<f32> = match scores {
            Some(scores) => scores.to_vec(),
            None => self.units().into_iter().map(shared).collect(),
        };
        assert_eq!(words.len(), self.units.len(), "a score for every unit");
        let mut order: Vec<usize> = (0..self.units.len()).collect();
        let place = |at: usize| (self.units[at].turn, self.units[at].piece, Reverse(at));
        order.sort_by(|&a, &b| words[a].total_cmp(&words[b]).then(place(a).cmp(&place(b))));
        self.order = order;
    }

    /// For each of [`PROMPT_RATIOS`] of a prompt of `full` tokens, how many units go and about how
    /// many tokens are left, where units have so many tokens each.
    pub fn lengths(&self, full: u32, unit_tokens: &[u32]) -> [(usize, u32); PROMPT_RATIOS.len()] {
        PROMPT_RATIOS.map(|ratio| {
            let budget = budget(full, ratio.thousandths());
            let (mut left, mut gone) = (full, 0);
            while left > budget
                && let Some(&unit) = self.order.get(gone)
            {
                left = left.saturating_sub(unit_tokens[unit]).max(1);
                gone += 1;
            }
            (gone, left)
        })
    }

    /// How many units there are.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// The share of the prompt's bytes that may go.
    pub fn share(&self) -> f64 {
        let pieces = self.turns.iter().flat_map(|(_, pieces)| pieces);
        let all: usize = pieces.map(|piece| piece.text.len()).sum();
        let may: usize = self.units.iter().map(|unit| unit.bytes.len()).sum();
        may as f64 / all.max(1) as f64
    }

    /// The turns without the first `gone` units. One that is empty is left out.
    pub fn turns(&self, gone: usize) -> Vec<Turn<'a>> {
        let mut is_gone = vec![false; self.units.len()];
        self.order.iter().take(gone).for_each(|&unit| is_gone[unit] = true);
        let mut turns = Vec::with_capacity(self.turns.len());
        for (at, (role, pieces)) in self.turns.iter().enumerate() {
            let content = self.content(at, pieces, &is_gone);
            let was_empty = pieces.iter().all(|piece| piece.text.is_empty());
            if !content.is_empty() || was_empty {
                turns.push(Turn { role: *role, content });
            }
        }
        turns
    }

    fn content(&self, turn: usize, pieces: &[Piece<'a>], is_gone: &[bool]) -> Cow<'a, str> {
        if let [piece] = pieces
            && !self.loses(turn, 0, is_gone)
        {
            return Cow::Borrowed(piece.text);
        }
        let mut content = String::new();
        for (at, piece) in pieces.iter().enumerate() {
            let left = self.left_of(piece, turn, at, is_gone);
            if !left.is_empty() {
                content += &left;
                content += piece.after;
            }
        }
        Cow::Owned(content)
    }

    fn loses(&self, turn: usize, piece: usize, is_gone: &[bool]) -> bool {
        let mut gone = self.units.iter().zip(is_gone);
        gone.any(|(unit, gone)| *gone && (unit.turn, unit.piece) == (turn, piece))
    }

    /// The sentences of a piece that stay.
    fn left_of(&self, piece: &Piece<'a>, turn: usize, at: usize, is_gone: &[bool]) -> Cow<'a, str> {
        if !self.loses(turn, at, is_gone) {
            return Cow::Borrowed(piece.text);
        }
        let is_kept = |bytes: &Range<usize>| {
            let same = |unit: &Unit| (unit.turn, unit.piece, &unit.bytes) == (turn, at, bytes);
            self.units.iter().zip(is_gone).all(|(unit, gone)| !(*gone && same(unit)))
        };
        let kept = spans::sentences(piece.text).into_iter().filter(is_kept);
        let kept: Vec<&str> = kept.map(|bytes| &piece.text[bytes]).collect();
        Cow::Owned(kept.join(spans::between(piece.text)))
    }
}

/// Tokens that a ratio leaves of `full`.
pub(super) fn budget(full: u32, thousandths: u16) -> u32 {
    (u64::from(full) * u64::from(thousandths) / 1000) as u32
}

#[cfg(test)]
mod tests {
    use super::super::call::Message;
    use super::*;

    fn chat(messages: &[(Role, &str)]) -> Call {
        let messages = messages.iter().map(|&(role, text)| Message::new(role, text));
        Call::new("", Prompt::Chat(messages.collect()))
    }

    fn left(prompt: &Cuttable<'_>, gone: usize) -> Vec<String> {
        prompt.turns(gone).into_iter().map(|turn| turn.content.into_owned()).collect()
    }

    #[test]
    fn earlier_turns_and_system_text_go_and_the_last_message_of_the_user_never() {
        let call = chat(&[
            (Role::System, "You are kind. You like lamps. You are brief."),
            (Role::User, "Is it late?"),
            (Role::Assistant, "It is. The lamp is on."),
            (Role::User, "Turn the lamp off. Please."),
        ]);
        let prompt = Cuttable::of(&call);
        // Shared with "turn lamp off please": none of the first's last, the second's and the
        // third's first sentence; lamp of the others.
        assert_eq!(prompt.len(), 5);
        let question = "Turn the lamp off. Please.";
        assert_eq!(
            left(&prompt, 1),
            ["You are kind. You like lamps.", "Is it late?", "It is. The lamp is on.", question]
        );
        assert_eq!(
            left(&prompt, 3),
            ["You are kind. You like lamps.", "The lamp is on.", question]
        );
        assert_eq!(left(&prompt, 5), ["You are kind.", question]);
        assert_eq!(left(&prompt, 0)[0], "You are kind. You like lamps. You are brief.");
    }

    #[test]
    fn documents_stand_before_the_question_and_marks_are_kept() {
        let mut call = chat(&[(Role::Assistant, "Keep me. All."), (Role::User, "Which ice?")]);
        call.documents = vec!["Birds sing. Ice melts.".into(), "Rocks.".into()];
        if let Prompt::Chat(messages) = &mut call.prompt {
            messages[0].cut = Cut::Never;
        }
        let prompt = Cuttable::of(&call);
        assert_eq!(prompt.units(), ["Birds sing.", "Ice melts.", "Rocks."]);
        let whole = "Birds sing. Ice melts.\n\nRocks.\n\nWhich ice?";
        assert_eq!(left(&prompt, 0), ["Keep me. All.", whole]);
        assert_eq!(left(&prompt, 2)[1], "Ice melts.\n\nWhich ice?");
        assert_eq!(left(&prompt, 3)[1], "Which ice?");
        let tools = Call { keep_whole: true, ..call };
        assert_eq!(Cuttable::of(&tools).len(), 0);
    }

    #[test]
    fn scores_settle_who_goes_first() {
        let call = Call::new("", Prompt::Text("One. Two. Three.\n\nWhy?".into()));
        let mut prompt = Cuttable::of(&call);
        assert_eq!(prompt.question(), "Why?");
        prompt.rank(Some(&[0.5, 0.1, 0.9]));
        assert_eq!(left(&prompt, 0), ["One. Two. Three.\n\nWhy?"]);
        assert_eq!(left(&prompt, 1), ["One. Three.\n\nWhy?"]);
        assert_eq!(left(&prompt, 3), ["\n\nWhy?"]);
    }

    /// 100 tokens, three units of 20: at 50 % three are gone and 40 are left, at 10 % no fewer.
    #[test]
    fn lengths_fall_with_the_ratio_until_nothing_more_may_go() {
        let call = Call::new("", Prompt::Text("One. Two. Three.\n\nWhy?".into()));
        let lengths = Cuttable::of(&call).lengths(100, &[20, 20, 20]);
        assert_eq!(
            [lengths[9], lengths[7], lengths[4], lengths[0]],
            [(0, 100), (1, 80), (3, 40), (3, 40)]
        );
    }
}
