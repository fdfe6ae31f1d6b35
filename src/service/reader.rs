//! From a call to what the model reads: its length, its objective, its plan, its tokens.
//!
//! What every backend does with a prompt, whatever computes the answer.

use std::fmt::Debug;
use std::sync::Arc;

use super::backend::{Asked, Front, ModelCard, Work};
use super::call::{Call, Prompt};
use super::cut::{Cuttable, Turn, budget};
use super::event::{PlanReport, Refusal, RefusedFor};
use crate::error::Result;
use crate::method::one_prompt::{PromptPlanner, PromptRequest};
use crate::profile::DeviceProfile;
use crate::request::Slo;
use crate::units::{Level, PROMPT_RATIOS, Ratio};

/// Ratios that a prompt may be cut to; the last is the whole.
const RATIOS: usize = PROMPT_RATIOS.len();

/// Puts turns into the model's format.
pub trait Format: Debug + Send + Sync {
    /// Tokens of `turns`; of a chat, up to where the model's own turn begins.
    ///
    /// # Errors
    /// If the model's template refuses the turns.
    fn tokens(&self, turns: &[Turn<'_>], is_chat: bool) -> Result<Vec<u32>>;

    /// How many tokens a text has by itself.
    fn count(&self, text: &str) -> u32;
}

/// What scores units against a question: one number each, the higher the more worth keeping.
pub(super) type Scorer<'a> = dyn FnMut(&str, &[&str]) -> Option<Vec<f32>> + 'a;

/// Reads calls for one model.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub planner: Arc<PromptPlanner>,
    pub format: Arc<dyn Format>,
    card: Arc<ModelCard>,
}

/// What a model remembers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// Most tokens of prompt and answer.
    pub context: u32,
    /// Bytes of each in a KV cache; 0 where there is none.
    pub cache_bytes_per_token: u64,
}

/// What is known of the state of the engine when a call is planned.
pub(super) struct Standing<'a> {
    pub resident: Option<Level>,
    /// Tokens at the start of these that the KV cache of a level has.
    pub cached: &'a dyn Fn(Level, &[u32]) -> u32,
    /// What scores units, and its name.
    pub scorer: Option<(&'static str, &'a mut Scorer<'a>)>,
}

impl Reader {
    pub fn new(
        planner: Arc<PromptPlanner>,
        format: Arc<dyn Format>,
        memory: Memory,
        executor: &'static str,
    ) -> Self {
        let card = ModelCard {
            base_model: planner.base_model().to_owned(),
            levels: planner.levels(),
            context: memory.context,
            device: planner.device().name.clone(),
            provenance: planner.provenance(),
            cache_bytes_per_token: memory.cache_bytes_per_token,
            executor,
        };
        Self { planner, format, card: Arc::new(card) }
    }

    pub fn context(&self) -> u32 {
        self.card.context
    }

    fn whole(&self, call: &Call, prompt: &Cuttable<'_>) -> Result<Vec<u32>> {
        self.format.tokens(&prompt.turns(0), is_chat(call))
    }

    /// Plans the answer to `work`: what is told of the plan, and the tokens to read.
    pub fn plan(&self, work: &Work<'_>, standing: Standing<'_>) -> Result<(PlanReport, Vec<u32>)> {
        let call = work.call;
        let mut prompt = Cuttable::of(call);
        let whole = self.whole(call, &prompt)?;
        let full = whole.len() as u32;
        let units = prompt.units();
        let mut scored_by = "structured";
        if let Some((name, scorer)) = standing.scorer
            && !units.is_empty()
            && let Some(scores) = scorer(prompt.question(), &units)
        {
            prompt.rank(Some(&scores));
            scored_by = name;
        }
        let counts: Vec<u32> = units.iter().map(|unit| self.format.count(unit)).collect();
        let lengths = prompt.lengths(full, &counts);
        let bounds = work.asked.bounds;
        let request = PromptRequest {
            kept_tokens: lengths.map(|(_, left)| left),
            output_tokens: expected_tokens(call),
            bounds: bounds.after(work.waited),
            level: call.level,
            ratio: call.prompt_ratio,
            resident: standing.resident,
        };
        let cached =
            |level, ratio| if ratio + 1 == RATIOS { (standing.cached)(level, &whole) } else { 0 };
        let choice = self.planner.choose(&request, &cached)?;
        let ratio = choice.plan.prompt_ratio;
        let gone = lengths[choice.ratio_index].0;
        let (tokens, is_cut) = self.shortened(call, &prompt, whole, ratio, gone)?;
        let report = PlanReport {
            level: choice.plan.level,
            prompt_ratio: ratio,
            prompt_tokens_before: full,
            prompt_tokens_after: tokens.len() as u32,
            cached_tokens: 0,
            cut_by: is_cut.then_some(scored_by),
            bounds,
            queue_wait: work.waited,
            predicted_ttft: choice.ttft,
            predicted_tpot: choice.tpot,
            feasible: choice.feasible,
            device: self.card.device.clone(),
            provenance: self.card.provenance,
        };
        Ok((report, tokens))
    }

    /// The prompt without its first `gone` units, and without more if it is still too long; and
    /// whether it is cut at all.
    fn shortened(
        &self,
        call: &Call,
        prompt: &Cuttable<'_>,
        whole: Vec<u32>,
        ratio: Ratio,
        gone: usize,
    ) -> Result<(Vec<u32>, bool)> {
        if gone == 0 {
            return Ok((whole, false));
        }
        let most = budget(whole.len() as u32, ratio.thousandths()) as usize;
        let mut shortest = whole;
        for gone in gone..=prompt.len() {
            let tokens = self.format.tokens(&prompt.turns(gone), is_chat(call))?;
            let fits = tokens.len() <= most;
            if tokens.len() < shortest.len() {
                shortest = tokens;
            }
            if fits {
                break;
            }
        }
        Ok((shortest, true))
    }
}

impl Front for Reader {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn profile(&self) -> DeviceProfile {
        self.planner.profile_now()
    }

    fn ask(&self, call: &Call, slo: Slo) -> Result<Asked, Refusal> {
        if let Some(level) = call.level
            && !self.card.levels.contains(&level)
        {
            let levels: Vec<String> = self.card.levels.iter().map(ToString::to_string).collect();
            let message = format!("no level {level}; allowed: {}", levels.join(", "));
            return Err(Refusal::new(RefusedFor::UnknownLevel, message));
        }
        let prompt = Cuttable::of(call);
        let tokens = self.whole(call, &prompt).map_err(|error| Refusal::bad(&error))?;
        let (full, context) = (tokens.len() as u32, self.card.context);
        if full >= context {
            let message = format!(
                "the prompt has {full} tokens; the context has {context}, and an answer needs one"
            );
            return Err(Refusal::new(RefusedFor::TooLong, message));
        }
        let output_tokens = expected_tokens(call);
        let bounds = self.planner.bounds(slo, full, output_tokens);
        let bounds = bounds.map_err(|error| Refusal::bad(&error))?;
        let least = (f64::from(full) * (1.0 - prompt.share())) as u32;
        let kept_tokens =
            PROMPT_RATIOS.map(|ratio| budget(full, ratio.thousandths()).max(least).max(1));
        let (level, ratio, resident) = (call.level, call.prompt_ratio, None);
        let request = PromptRequest { kept_tokens, output_tokens, bounds, level, ratio, resident };
        Ok(Asked { prompt_tokens: full, bounds, needs: self.planner.needs(&request) })
    }
}

fn is_chat(call: &Call) -> bool {
    matches!(call.prompt, Prompt::Chat(_))
}

/// Tokens that an answer is expected to have.
fn expected_tokens(call: &Call) -> u32 {
    let most = output_tokens(call);
    call.expected_tokens.map_or(most, |expected| expected.min(most))
}

/// Tokens that an answer may have; options are weighed in one go.
pub(super) fn output_tokens(call: &Call) -> u32 {
    if call.options.is_empty() { call.max_tokens } else { 1 }
}
