//! `pliant ask`: one prompt on the real engine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pliant::engine::EngineOptions;
use pliant::engine::generate::{Generation, generate};
use pliant::method::one_prompt::{PlanChoice, PromptPlanner};
use pliant::prompt::{Compressor, Dataset, Item, Tokenize, compress};
use pliant::units::{Level, PROMPT_RATIOS, Ratio, millis};
use pliant::{Error, Result};

use super::engine_args::{BASE_MODEL, EngineArgs};
use super::output::print_line;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to continue
    prompt: String,
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
    /// Tokens to generate
    #[arg(long, default_value_t = 24)]
    tokens: usize,
    /// Device profile that plans are predicted with
    #[arg(long, value_name = "DIR", default_value = "device-profiles/epyc-zen5-2core")]
    device: PathBuf,
    /// Folder of quality tables that plans are weighed with
    #[arg(long, value_name = "DIR", default_value = "device-profiles/quality")]
    quality: PathBuf,
}

#[expect(clippy::needless_pass_by_value, reason = "every command consumes its arguments")]
pub fn run(args: Args) -> Result<ExitCode> {
    if args.tokens == 0 {
        return Err(Error::new("argument --tokens", "nothing to generate")
            .found(0)
            .allowed("1 or more"));
    }
    let asked = level(args.level.unwrap_or(100))?;
    let slo = args.slo.as_deref().map(parse_slo).transpose()?;
    let mut model = args.engine.open(&args.family, EngineOptions::default())?;
    let prompts = PROMPT_RATIOS.map(|ratio| cut(&args.prompt, ratio, &model.tokenizer));
    let (level, tokens, choice) = match slo {
        None => (asked, &prompts[PROMPT_RATIOS.len() - 1], None),
        Some(slo) => {
            let lengths = prompts.each_ref().map(|tokens| tokens.len() as u32);
            let planner =
                PromptPlanner::load(&args.device, &args.quality, BASE_MODEL, &args.family)?;
            let choice = planner.choose(slo, &lengths, args.tokens as u32)?;
            (choice.plan.level, &prompts[choice.ratio_index], Some(choice))
        }
    };
    // The first run of a session pays for pages that have not been touched yet.
    generate(&mut model.engine, level, tokens, 2, None)?;
    let out = generate(
        &mut model.engine,
        level,
        tokens,
        args.tokens,
        Some(model.tokenizer.end_of_text()),
    )?;
    print_line(format!("{}{}", args.prompt, model.tokenizer.decode(&out.tokens)))?;
    print_line(timings(level, tokens.len(), &out))?;
    if let Some(choice) = choice {
        print_line(plan_line(&choice, &out))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The prompt's last line is the question and stays whole; what comes before it may be cut.
fn cut(prompt: &str, ratio: Ratio, tokenizer: &dyn Tokenize) -> Vec<u32> {
    let (passage, question) = match prompt.rsplit_once('\n') {
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

fn timings(level: Level, prompt: usize, out: &Generation) -> String {
    let mean = out.decode().checked_div(out.steps.len() as u32).map_or_else(
        || "undefined for one token".to_owned(),
        |step: Duration| format!("{:.1} ms", millis(step)),
    );
    format!(
        "[level {level}, {prompt} prompt tokens, {} output tokens; measured TTFT {:.1} ms, TPOT {mean}]",
        out.tokens.len(),
        millis(out.prefill)
    )
}

fn plan_line(choice: &PlanChoice, out: &Generation) -> String {
    let step = out.decode().checked_div(out.steps.len() as u32);
    let met = out.prefill <= choice.ttft_bound && step.is_none_or(|step| step <= choice.tpot_bound);
    format!(
        "[plan: level {}, prompt ratio {}; allowed TTFT {:.1} ms, TPOT {:.1} ms; predicted {:.1} ms, \
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
