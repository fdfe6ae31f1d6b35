//! The chat template that a GGUF file brings, and how a conversation becomes tokens.
//!
//! What was said is data: a control token spelled in a message (`<|im_end|>`) is encoded as the
//! letters it is made of. So the template is rendered with a stand-in for each content; control
//! tokens are looked for in what the template itself wrote, and only then do the contents take
//! their places. Templates may call the methods of Python's strings, lists and mappings. Of a
//! content these see the stand-in: what they take off it, such as space at its ends, stays.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::prompt::Tokenize as _;

/// For models that bring none.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + \
     message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}\
     {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const NAME: &str = "chat";
/// What stands around the number of a content, of the area for private use.
const MARKS: [char; 2] = ['\u{f8f0}', '\u{f8f1}'];

/// Puts conversations into a model's format.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// The template of the model that `tokenizer` is of; ChatML where it brings none.
    ///
    /// # Errors
    /// If the template is none that can be understood.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        Self::new(tokenizer.chat_template().unwrap_or(CHATML))
    }

    /// The template `source`, in the dialect of Jinja that model files use.
    ///
    /// # Errors
    /// If it cannot be understood.
    #[expect(clippy::missing_panics_doc, reason = "the usual marks are a syntax")]
    pub fn new(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("the usual marks"));
        let raise = |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        };
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", raise);
        environment.add_template_owned(NAME, source.to_owned()).map_err(|cause| {
            Error::new("chat template", "cannot be understood").caused_by(cause)
        })?;
        Ok(Self { environment })
    }

    /// Tokens of a conversation of (role, content), up to where the model's turn begins.
    ///
    /// # Errors
    /// If the template refuses the conversation.
    #[expect(clippy::missing_panics_doc, reason = "the template was added when this was made")]
    pub fn tokens(&self, messages: &[(&str, &str)], tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        let stand_ins = (0..messages.len()).map(|at| format!("{}{at}{}", MARKS[0], MARKS[1]));
        let turns = messages.iter().zip(stand_ins).map(|((role, _), stand_in)| {
            context! { role => *role, content => stand_in }
        });
        let turns: Vec<Value> = turns.collect();
        let text = |token: Option<u32>| token.map_or("", |token| tokenizer.control_text(token));
        let begin = text(tokenizer.begin_of_text());
        let template = self.environment.get_template(NAME).expect("it was added");
        let rendered = template.render(context! {
            messages => turns,
            add_generation_prompt => true,
            bos_token => begin,
            eos_token => text(Some(tokenizer.end_of_text())),
        });
        let rendered = rendered.map_err(|cause| {
            Error::new("conversation", "the model's chat template refuses it").caused_by(cause)
        })?;
        let contents: Vec<&str> = messages.iter().map(|&(_, content)| content).collect();
        Ok(encode(&rendered, &contents, tokenizer))
    }
}

/// Tokens of what a template wrote, control tokens as such, with contents in their places.
fn encode(rendered: &str, contents: &[&str], tokenizer: &Tokenizer) -> Vec<u32> {
    let mut tokens = Vec::new();
    let mut rest = rendered;
    loop {
        let next = tokenizer.first_control(rest);
        let (text, token) = match next {
            Some((at, token, length)) => {
                let text = &rest[..at];
                rest = &rest[at + length..];
                (text, Some(token))
            }
            None => (std::mem::take(&mut rest), None),
        };
        if !text.is_empty() {
            tokens.extend(tokenizer.encode(&with_contents(text, contents)));
        }
        match token {
            Some(token) => tokens.push(token),
            None => return tokens,
        }
    }
}

fn with_contents(text: &str, contents: &[&str]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARKS[0]) {
        out += before;
        let (number, after) = after.split_once(MARKS[1]).unwrap_or((after, ""));
        if let Some(content) = number.parse::<usize>().ok().and_then(|at| contents.get(at)) {
            out += content;
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::super::tokenizer::testing::chat_tokenizer;
    use super::*;

    fn shown(messages: &[(&str, &str)], template: &str) -> Vec<String> {
        let tokenizer = chat_tokenizer();
        let tokens = ChatTemplate::new(template).unwrap().tokens(messages, &tokenizer).unwrap();
        tokens.iter().map(|&token| tokenizer.piece(token)).collect()
    }

    #[test]
    fn turns_are_framed_by_control_tokens_and_contents_are_letters() {
        let pieces = shown(&[("a", "b")], CHATML);
        assert_eq!(pieces.concat(), "<|im_start|>a\nb<|im_end|>\n<|im_start|>assistant\n");
        assert_eq!(pieces.len(), 1 + 3 + 1 + 1 + 1 + 10);
    }

    #[test]
    fn a_control_token_that_was_said_is_no_control_token() {
        let tokenizer = chat_tokenizer();
        let template = ChatTemplate::new(CHATML).unwrap();
        let ends = |content: &str| {
            let tokens = template.tokens(&[("a", content)], &tokenizer).unwrap();
            let end = tokenizer.first_control("<|im_end|>").unwrap().1;
            tokens.iter().filter(|&&token| token == end).count()
        };
        assert_eq!((ends("b"), ends("b<|im_end|>b")), (1, 1));
    }

    #[test]
    fn a_template_may_refuse_and_says_why() {
        let tokenizer = chat_tokenizer();
        let template = ChatTemplate::new("{{ raise_exception('no system') }}").unwrap();
        let message = template.tokens(&[("system", "b")], &tokenizer).unwrap_err().to_string();
        assert!(message.contains("refuses it") && message.contains("no system"), "{message}");
        assert!(ChatTemplate::new("{% for %}").is_err());
    }

    #[test]
    fn a_template_may_call_methods_of_pythons_strings() {
        let template = "{% for message in messages %}{{ message['role'].lower() }}\
                        {{ message['content'].strip() }}{% if 'x'.startswith('x') %}\
                        <|im_end|>{% endif %}{% endfor %}";
        assert_eq!(shown(&[("A", "b")], template).concat(), "ab<|im_end|>");
    }

    #[test]
    fn contents_take_the_places_of_their_stand_ins() {
        let said = format!("{}0{}", MARKS[0], MARKS[1]);
        assert_eq!(with_contents(&said, &["x"]), "x");
        assert_eq!(with_contents(&format!("{}9{}y", MARKS[0], MARKS[1]), &["x"]), "y");
    }
}
