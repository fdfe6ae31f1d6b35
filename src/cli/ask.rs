//! `pliant ask`: one prompt on the real engine.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use pliant::engine::EngineOptions;
use pliant::engine::generate::{Generation, generate, stream};
use pliant::engine::scorer::{Task, score};
use pliant::engine::tokenizer::{TextStream, Tokenizer};
use pliant::method::one_prompt::{PlanChoice, PromptPlanner, PromptRequest, Scales};
use pliant::model::ElasticModel;
use pliant::profile::{Profiles, QualityTable};
use pliant::prompt::{Compressor, Dataset, Item, Tokenize, compress};
use pliant::request::Bounds;
use pliant::units::{Level, PROMPT_RATIOS, Ratio, millis};
use pliant::{Error, Result};
use serde::Serialize;
use serde_json::json;

use super::engine_args::{EngineArgs, this_machine};
use super::output::{print_json, print_line, print_part};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to continue; `-` reads standard input. What stands before the last empty line (without
    /// one: before the last line) may be cut, the question after it stays whole
    prompt: String,
    /// An answer to choose; give two or more, and the model says how likely each is
    #[arg(long = "option", value_name = "TEXT")]
    options: Vec<String>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Family of sub-models: width, width-lora, layer-removal
    #[arg(long, default_value = "width")]
    family: String,
    /// Bits of the weights: 8 or 4; default: 32, floating point
    #[arg(long, value_name = "BITS", conflicts_with = "family",
          value_parser = clap::builder::PossibleValuesParser::new(["8", "4"]))]
    precision: Option<String>,
    /// Sub-model, in percent
    #[arg(long, value_name = "PERCENT", conflicts_with = "slo")]
    level: Option<u16>,
    /// Shares of the full model's TTFT and TPOT that the answer may take, such as 0.4,0.7
    #[arg(long, value_name = "TTFT,TPOT")]
    slo: Option<String>,
    /// Answer with the full model on the whole prompt as well
    #[arg(long)]
    compare: bool,
    /// Tokens to generate
    #[arg(long, default_value_t = 24)]
    tokens: usize,
    /// Device profile that plans are predicted with; default: this machine's, timed at the first
    /// use
    #[arg(long, value_name = "DIR")]
    device: Option<PathBuf>,
    /// Folder of quality tables that plans are weighed with
    #[arg(long, value_name = "DIR", default_value_os_t = Profiles::default().quality())]
    quality: PathBuf,
    /// Print one JSON object at the end instead of text as it comes
    #[arg(long)]
    json: bool,
}

/// What was answered, how, and how long it took.
#[derive(Debug, Serialize)]
struct Answer {
    level: Level,
    /// Tokens of the prompt that the model read, and that there were.
    prompt_tokens: [usize; 2],
    output_tokens: usize,
    /// What follows the prompt; with options the model chooses among these instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<Weighed>,
    measured_ttft_ms: f64,
    /// Absent for one token.
    measured_tpot_ms: Option<f64>,
    /// Whether the answer stops because no more tokens fit.
    context_full: bool,
}

/// An option and how likely it is, the likeliest first.
#[derive(Debug, Serialize)]
struct Weighed {
    option: String,
    probability: f64,
}

/// The plan, what it was allowed and predicted to take, and whether the objective was met.
#[derive(Debug, Serialize)]
struct Planned {
    level: Level,
    prompt_ratio: Ratio,
    allowed_ms: [f64; 2],
    predicted_ms: [f64; 2],
    provenance: &'static str,
    device: String,
    feasible: bool,
    met: bool,
}

#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<ExitCode> {
    args.check()?;
    let asked = level(args.level.unwrap_or(100))?;
    let slo = args.slo.as_deref().map(parse_slo).transpose()?;
    let prompt = if args.prompt == "-" { standard_input()? } else { args.prompt.clone() };
    let family = args.family();
    let mut model = args.engine.open(&family, EngineOptions::default())?;
    let prompts = PROMPT_RATIOS.map(|ratio| cut(&prompt, ratio, &model.tokenizer));
    let whole = &prompts[PROMPT_RATIOS.len() - 1];
    let (level, tokens, prediction) = match slo {
        None => (asked, whole, None),
        Some(slo) => {
            let planner = args.planner(&mut model)?;
            let lengths = prompts.each_ref().map(|tokens| tokens.len() as u32);
            let (choice, prediction) = args.plan(&planner, slo, lengths)?;
            (choice.plan.level, &prompts[choice.ratio_index], Some(prediction))
        }
    };
    let answer = args.answer(&mut model, level, [tokens, whole])?;
    let outcome = prediction.map(|prediction| prediction.after(&answer));
    if !args.json {
        print_line(answer.timings())?;
        outcome.as_ref().map_or(Ok(()), |outcome| print_line(outcome.line()))?;
    }
    let full = args.compare.then(|| args.answer(&mut model, Level::FULL, [whole, whole]));
    let full = full.transpose()?;
    if args.json {
        print_json(&json!({ "answer": answer, "plan": outcome, "full_model": full }))?;
    } else if let Some(full) = full {
        print_line(full.timings())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Error::new("standard input", "cannot be read as text").caused_by(error))?;
    Ok(text.trim_end().to_owned())
}

impl Args {
    /// The family of sub-models, of the bits asked for.
    fn family(&self) -> String {
        match &self.precision {
            Some(bits) => format!("width-q{bits}"),
            None => self.family.clone(),
        }
    }

    fn check(&self) -> Result<()> {
        if self.tokens == 0 {
            return Err(Error::new("argument --tokens", "nothing to generate")
                .found(0)
                .allowed("1 or more"));
        }
        if self.options.len() == 1 || self.options.iter().any(String::is_empty) {
            return Err(Error::new("argument --option", "nothing to choose from")
                .found(format!("{:?}", self.options))
                .allowed("two texts or more, none empty"));
        }
        Ok(())
    }

    /// Plans with the profile that was asked for, or with this machine's own.
    fn planner(&self, model: &mut ElasticModel) -> Result<PromptPlanner> {
        let (base_model, family) = (model.identity().base_model, &self.family());
        if let Some(device) = &self.device {
            return PromptPlanner::load(device, &self.quality, &base_model, family);
        }
        let table = QualityTable::load(&self.quality.join(&base_model), family)?;
        let machine = this_machine(model, family)?;
        let planner = PromptPlanner::new(machine.profile, &table, &base_model, family)?;
        if let Some(scales) = machine.scales.as_deref().and_then(Scales::load) {
            planner.set_scales(scales);
        }
        Ok(planner)
    }

    fn plan(
        &self,
        planner: &PromptPlanner,
        slo: (Ratio, Ratio),
        kept_tokens: [u32; PROMPT_RATIOS.len()],
    ) -> Result<(PlanChoice, Planned)> {
        let (prompt, output_tokens) = (kept_tokens[PROMPT_RATIOS.len() - 1], self.tokens as u32);
        let full = planner.full_cost(prompt, output_tokens);
        let allowed = [slo.0.of(full.ttft), slo.1.of(full.tpot)];
        let bounds = Bounds::Latency { ttft: allowed[0], tpot: allowed[1] };
        let (level, resident) = (None, None);
        let request =
            PromptRequest { kept_tokens, output_tokens, bounds, level, ratio: None, resident };
        let choice = planner.choose(&request, &|_, _| 0)?;
        let prediction = Planned {
            level: choice.plan.level,
            prompt_ratio: choice.plan.prompt_ratio,
            allowed_ms: allowed.map(millis),
            predicted_ms: [choice.ttft, choice.tpot].map(millis),
            provenance: planner.provenance(),
            device: planner.device().name.clone(),
            feasible: choice.feasible,
            met: false,
        };
        Ok((choice, prediction))
    }

    /// The answer to the first of `prompts`, which is what is left of the second; printed as it
    /// comes, unless JSON is asked for.
    fn answer(
        &self,
        model: &mut ElasticModel,
        level: Level,
        prompts: [&Vec<u32>; 2],
    ) -> Result<Answer> {
        let prompt = prompts[0];
        // The first run of a session pays for pages that have not been touched yet.
        generate(&mut model.engine, level, prompt, 1, None)?;
        let (out, text, options) = if self.options.is_empty() {
            let (out, text) = self.continue_prompt(model, level, prompt)?;
            (out, Some(text), Vec::new())
        } else {
            let out = generate(&mut model.engine, level, prompt, self.tokens, None)?;
            (out, None, self.choose(model, level, prompt)?)
        };
        let step = out.decode().checked_div(out.steps.len() as u32);
        Ok(Answer {
            level,
            prompt_tokens: prompts.map(Vec::len),
            output_tokens: out.tokens.len(),
            text,
            options,
            measured_ttft_ms: millis(out.prefill),
            measured_tpot_ms: step.map(millis),
            context_full: out.context_full,
        })
    }

    /// Generates, and prints or keeps the text.
    fn continue_prompt(
        &self,
        model: &mut ElasticModel,
        level: Level,
        prompt: &[u32],
    ) -> Result<(Generation, String)> {
        let (mut pieces, end) = (TextStream::new(&model.tokenizer), model.tokenizer.end_of_text());
        let mut text = String::new();
        let mut say = |piece: &str| {
            text += piece;
            if self.json { Ok(()) } else { print_part(piece) }
        };
        let (engine, tokens) = (&mut model.engine, self.tokens);
        let out =
            stream(
                engine,
                level,
                prompt,
                tokens,
                Some(end),
                &mut |token| say(&pieces.push(token)),
            )?;
        say(&pieces.rest())?;
        if !self.json {
            print_line("")?;
        }
        if out.context_full && !self.json {
            let context = model.engine.context();
            print_line(format!(
                "[the context of {context} tokens is full: the answer stops here]"
            ))?;
        }
        Ok((out, text))
    }

    /// The options, the likeliest first; printed, unless JSON is asked for.
    fn choose(
        &self,
        model: &mut ElasticModel,
        level: Level,
        prompt: &[u32],
    ) -> Result<Vec<Weighed>> {
        let option = |option: &String| model.tokenizer.encode(&format!(" {}", option.trim_start()));
        let options = self.options.iter().map(option).collect();
        let task = Task { context: prompt.to_vec(), options };
        let scores = &score(&mut model.engine, level, &[&task])?[0];
        let weighed = |(index, option): (usize, &String)| Weighed {
            option: option.clone(),
            probability: scores.probability(index),
        };
        let mut options: Vec<Weighed> = self.options.iter().enumerate().map(weighed).collect();
        options.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        for Weighed { option, probability } in options.iter().filter(|_| !self.json) {
            print_line(format!("{:3.0} %  {option}", 100.0 * probability))?;
        }
        Ok(options)
    }
}

/// The prompt cut to `ratio`: the question at its end stays whole.
fn cut(prompt: &str, ratio: Ratio, tokenizer: &Tokenizer) -> Vec<u32> {
    let parts = prompt.rsplit_once("\n\n").or_else(|| prompt.rsplit_once('\n'));
    let (passage, question) = match parts {
        Some((passage, question)) => (Some(passage.to_owned()), question),
        None => (None, prompt),
    };
    let (options, gold) = (Vec::new(), 0);
    let item = Item { id: 0, passage, question: question.to_owned(), options, gold };
    let dataset = Dataset { name: "prompt".to_owned(), ..Dataset::default() };
    compress(Compressor::Structured, &dataset, &item, ratio, tokenizer, None, 0).tokens
}

fn level(percent: u16) -> Result<Level> {
    Level::LADDER.into_iter().find(|level| level.as_percent() == percent).ok_or_else(|| {
        Error::new("argument --level", "no such level").found(percent).allowed("20, 30, … 100")
    })
}

fn parse_slo(text: &str) -> Result<(Ratio, Ratio)> {
    let share =
        |text: &str| text.trim().parse().ok().and_then(Ratio::new).filter(|r| r.thousandths() > 0);
    let pair = text.split_once(',').and_then(|(ttft, tpot)| Some((share(ttft)?, share(tpot)?)));
    pair.ok_or_else(|| {
        Error::new("argument --slo", "not an objective")
            .found(format!("{text:?}"))
            .allowed("two shares in (0, 1], such as 0.4,0.7")
    })
}

impl Answer {
    fn timings(&self) -> String {
        let [read, whole] = self.prompt_tokens;
        let mean = self.measured_tpot_ms;
        let mean = mean.map_or("undefined for one token".to_owned(), |ms| format!("{ms:.1} ms"));
        format!(
            "[level {}, {read} of {whole} prompt tokens, {} output tokens; measured TTFT {:.1} ms, \
             TPOT {mean}]",
            self.level, self.output_tokens, self.measured_ttft_ms
        )
    }
}

impl Planned {
    /// The same, once it is known how long the answer took.
    fn after(self, answer: &Answer) -> Self {
        let [ttft, tpot] = self.allowed_ms;
        let tpot_met = answer.measured_tpot_ms.is_none_or(|ms| ms <= tpot);
        Self { met: answer.measured_ttft_ms <= ttft && tpot_met, ..self }
    }

    fn line(&self) -> String {
        let ([ttft, tpot], [predicted_ttft, predicted_tpot]) = (self.allowed_ms, self.predicted_ms);
        let verdict = match (self.feasible, self.met) {
            (false, _) => "no plan was predicted to meet the objective: the least late was taken",
            (true, true) => "met",
            (true, false) => "missed",
        };
        format!(
            "[plan: level {}, prompt ratio {}; allowed TTFT {ttft:.1} ms, TPOT {tpot:.1} ms; \
             predicted {predicted_ttft:.1} ms, {predicted_tpot:.1} ms by the {} profile of {}; \
             {verdict}]",
            self.level, self.prompt_ratio, self.provenance, self.device
        )
    }
}
