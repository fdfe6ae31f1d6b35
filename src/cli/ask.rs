//! `pliant ask`: one prompt on the real engine.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pliant::engine::EngineOptions;
use pliant::engine::generate::{Generation, generate, stream};
use pliant::engine::scorer::{Task, score};
use pliant::engine::tokenizer::{TextStream, Tokenizer};
use pliant::method::one_prompt::{PlanChoice, PromptPlanner};
use pliant::model::ElasticModel;
use pliant::profile::Profiles;
use pliant::prompt::{Compressor, Dataset, Item, Tokenize, compress};
use pliant::units::{Level, PROMPT_RATIOS, Ratio, millis};
use pliant::{Error, Result};

use super::engine_args::{BASE_MODEL, EngineArgs, measured_device};
use super::output::{print_line, print_part};

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
    /// Device profile that plans are predicted with
    #[arg(long, value_name = "DIR", default_value_os_t = measured_device())]
    device: PathBuf,
    /// Folder of quality tables that plans are weighed with
    #[arg(long, value_name = "DIR", default_value_os_t = Profiles::default().quality())]
    quality: PathBuf,
}

#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<ExitCode> {
    args.check()?;
    let asked = level(args.level.unwrap_or(100))?;
    let slo = args.slo.as_deref().map(parse_slo).transpose()?;
    let prompt = if args.prompt == "-" { standard_input()? } else { args.prompt.clone() };
    let mut model = args.engine.open(&args.family, EngineOptions::default())?;
    let prompts = PROMPT_RATIOS.map(|ratio| cut(&prompt, ratio, &model.tokenizer));
    let whole = &prompts[PROMPT_RATIOS.len() - 1];
    let (level, tokens, choice) = match slo {
        None => (asked, whole, None),
        Some(slo) => {
            let lengths = prompts.each_ref().map(|tokens| tokens.len() as u32);
            let (device, quality) = (&args.device, &args.quality);
            let planner = PromptPlanner::load(device, quality, BASE_MODEL, &args.family)?;
            let choice = planner.choose(slo, &lengths, args.tokens as u32)?;
            (choice.plan.level, &prompts[choice.ratio_index], Some(choice))
        }
    };
    let out = args.answer(&mut model, level, tokens)?;
    print_line(timings(level, [tokens.len(), whole.len()], &out))?;
    if let Some(choice) = &choice {
        print_line(plan_line(choice, &out))?;
    }
    if args.compare {
        let out = args.answer(&mut model, Level::FULL, whole)?;
        print_line(timings(Level::FULL, [whole.len(), whole.len()], &out))?;
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

    /// Prints the answer: text as it comes, or how likely each option is.
    fn answer(&self, model: &mut ElasticModel, level: Level, prompt: &[u32]) -> Result<Generation> {
        // The first run of a session pays for pages that have not been touched yet.
        generate(&mut model.engine, level, prompt, 1, None)?;
        if !self.options.is_empty() {
            let out = generate(&mut model.engine, level, prompt, self.tokens, None)?;
            self.choose(model, level, prompt)?;
            return Ok(out);
        }
        let (mut text, end) = (TextStream::new(&model.tokenizer), model.tokenizer.end_of_text());
        let out = stream(&mut model.engine, level, prompt, self.tokens, Some(end), &mut |token| {
            print_part(text.push(token))
        })?;
        print_line(text.rest())?;
        if out.context_full {
            let context = model.engine.context();
            print_line(format!(
                "[the context of {context} tokens is full: the answer stops here]"
            ))?;
        }
        Ok(out)
    }

    /// Prints the options, the likeliest first.
    fn choose(&self, model: &mut ElasticModel, level: Level, prompt: &[u32]) -> Result<()> {
        let option = |option: &String| model.tokenizer.encode(&format!(" {}", option.trim_start()));
        let options = self.options.iter().map(option).collect();
        let task = Task { context: prompt.to_vec(), options };
        let scores = &score(&mut model.engine, level, &[&task])?[0];
        let share = |index: usize| scores.probability(index);
        let mut order: Vec<usize> = (0..self.options.len()).collect();
        order.sort_by(|&a, &b| share(b).total_cmp(&share(a)));
        order.into_iter().try_for_each(|index| {
            print_line(format!("{:3.0} %  {}", 100.0 * share(index), self.options[index]))
        })
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

fn timings(level: Level, [read, whole]: [usize; 2], out: &Generation) -> String {
    let mean = out.decode().checked_div(out.steps.len() as u32).map_or_else(
        || "undefined for one token".to_owned(),
        |step: Duration| format!("{:.1} ms", millis(step)),
    );
    format!(
        "[level {level}, {read} of {whole} prompt tokens, {} output tokens; measured TTFT {:.1} \
         ms, \
         TPOT {mean}]",
        out.tokens.len(),
        millis(out.prefill)
    )
}

fn plan_line(choice: &PlanChoice, out: &Generation) -> String {
    let step = out.decode().checked_div(out.steps.len() as u32);
    let met = out.prefill <= choice.ttft_bound && step.is_none_or(|step| step <= choice.tpot_bound);
    format!(
        "[plan: level {}, prompt ratio {}; allowed TTFT {:.1} ms, TPOT {:.1} ms; predicted {:.1} \
         ms, \
         {:.1} ms by the {} profile of {}; {}]",
        choice.plan.level,
        choice.plan.prompt_ratio,
        millis(choice.ttft_bound),
        millis(choice.tpot_bound),
        millis(choice.ttft),
        millis(choice.tpot),
        choice.provenance,
        choice.device,
        match (choice.feasible, met) {
            (false, _) => "no plan was predicted to meet the objective: the least late was taken",
            (true, true) => "met",
            (true, false) => "missed",
        }
    )
}
