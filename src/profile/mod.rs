//! What is known of devices and models before a replay: latency coefficients and how times vary,
//! answer quality, prompt lengths, and where each number comes from.
//!
//! A [`DeviceProfile`] says how long, a [`QualityTable`] says how right, [`PromptLengths`] say
//! how much text. They are files (see `docs/profile-format.md`), written by the profiler or by
//! hand, checked whole when loaded; nothing below this module reads them otherwise.

mod compressing;
mod curve;
mod decisions;
mod device;
mod fit;
mod heat;
mod heat_fit;
mod idle;
pub mod import;
mod isotonic;
mod knots;
mod latency_log;
mod lengths;
mod manifest;
mod noise;
mod paths;
mod point;
mod power;
mod provenance;
mod quality;
mod quality_log;
pub(crate) mod row_log;
mod split;
mod sub_models;
mod text;
mod tlm_latency;

pub use compressing::{Compressing, LINGUA, RANKED_LISTS, SCORE_HEAD};
pub use curve::{DecodeCurve, FitError, MAX_TOKENS, PrefillCurve, TokenRange};
pub use decisions::{
    Answer, Decision, DecisionKind, Decisions, DecisionsManifest, PlanGrid, PlanProbabilities,
    TPOT_TOKENS, TTFT_TOKENS,
};
pub use device::{
    DeviceProfile, FamilyLatency, Hardware, LevelLatency, Memory, REFERENCE_FAMILY, Runtime,
    SubModels, TimeShare,
};
pub use fit::{fit_decode, fit_prefill, fit_switch_ms};
pub use heat::{Heat, HeatPart, HeatState, HeatStep};
pub use heat_fit::{HeatFit, SpeedSeries, fit_heat};
pub use idle::{Idle, Pause, family_of};
pub use isotonic::rise;
pub use latency_log::{LatencyLog, LatencySample, Phase, read_latency_samples};
pub use lengths::{LengthsOf, PromptLengths};
pub use manifest::{DatasetCount, MeasuringRun, QualityManifest};
pub use noise::{Drawn, Factors, Noise};
pub use paths::{AnswerFiles, Profiles};
pub use point::{Origin, Point};
pub use power::{Draw, LevelPower, Power};
pub use provenance::Provenance;
pub use quality::{AnswersOf, Cell, Counted, Items, QualityTable, RowId, TOP};
pub use quality_log::QualityLog;
pub use split::Split;
pub use tlm_latency::TlmLatency;
