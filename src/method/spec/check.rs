//! What is refused of a method as stated.

use super::{MethodSpec, PolicySpec};
use crate::error::{Error, Result};
use crate::method::Expect;
use crate::plan::Phases;
use crate::policy::{Adaptive, ExpectBy, SizeRule, SizeSpec};
use crate::units::{Level, Ratio};

/// What a method may not have whose policy looks at no bounds.
const NO_FORECAST: &str = "no such key: the policy asks no forecast of ours";

impl MethodSpec {
    /// Refuses a method that contradicts itself.
    ///
    /// # Errors
    /// If the policy never cuts a prompt but a compressor is named, prompts are shortened for
    /// a decision-head that read them whole, it counts layers
    /// without knowing how many there are, accuracies are stated that it does not look at, or a
    /// program is none.
    pub fn check(&self) -> Result<()> {
        if let PolicySpec::External(external) = &self.policy {
            external.check(&self.name)?;
        }
        if let PolicySpec::Fixed { level_percent } = self.policy
            && !(1..=100).contains(&level_percent)
        {
            let error = Error::new(format!("method {}", self.name), "not a level");
            let error = error.at("key \"policy.level_percent\"").found(level_percent);
            return Err(error.allowed("1 to 100"));
        }
        if let Some(size) = self.policy.size() {
            size.check(&self.name)?;
        }
        if let PolicySpec::Lg2Cs(SizeSpec { rule, .. }) = self.policy
            && !matches!(rule, SizeRule::Profile | SizeRule::Nominal)
        {
            return Err(Error::new(format!("method {}", self.name), "not a rule of two shares")
                .at("key \"policy.rule\"")
                .found(format!("{rule:?}"))
                .allowed("profile, nominal"));
        }
        if let Some(margin) = self.margin {
            let wrong = |problem, allowed| {
                let error = Error::new(format!("method {}", self.name), problem);
                Err(error.at("key \"margin\"").found(margin).allowed(allowed))
            };
            if !self.policy.forecasts() {
                return wrong("needs no margin", NO_FORECAST);
            }
            if margin == Ratio::ONE {
                return wrong("margin leaves no time", "a share below 1");
            }
        }
        self.check_levels()?;
        self.check_phases()?;
        self.check_variation()?;
        if self.counts_wait && !self.policy.forecasts() {
            let error = Error::new(format!("method {}", self.name), "has no bounds to count in");
            return Err(error.at("key \"counts_wait\"").found("true").allowed(NO_FORECAST));
        }
        self.check_expectations()?;
        if let Some(whole) = self.whole_prompt
            && self.policy.decisions().is_some()
        {
            let name = format!("method {}", self.name);
            return Err(Error::new(name, "decisions were made for prompts as they are")
                .at("key \"whole_prompt\"")
                .found(whole)
                .allowed("no such key"));
        }
        match &self.compressor {
            Some(compressor) if !self.policy.cuts_prompts() => {
                Err(Error::new(format!("method {}", self.name), "needs no compressor")
                    .at("key \"compressor\"")
                    .found(compressor)
                    .allowed("no such key: the policy always reads the full prompt"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses levels among which the base model is not, or that a decision-head does not know.
    fn check_levels(&self) -> Result<()> {
        let wrong = |problem, allowed| {
            let levels = self.levels.iter().map(ToString::to_string).collect::<Vec<_>>();
            let error = Error::new(format!("method {}", self.name), problem);
            Err(error.at("key \"levels\"").found(levels.join(", ")).allowed(allowed))
        };
        if self.levels.is_empty() {
            return Ok(());
        }
        if !self.levels.contains(&Level::FULL) {
            return wrong("the base model is not among them", "levels with 1.0");
        }
        if self.policy.decisions().is_some() {
            return wrong("decisions were made for all levels", "no such key");
        }
        Ok(())
    }

    /// Refuses two levels of a policy that has plans of one.
    fn check_phases(&self) -> Result<()> {
        let chooses = match &self.policy {
            PolicySpec::LargestLevel(size) => size.rule == SizeRule::Profile,
            PolicySpec::ElasticProfile {}
            | PolicySpec::RandomFeasible {}
            | PolicySpec::Oracle {}
            | PolicySpec::Elastilm { .. } => true,
            _ => false,
        };
        if self.phases == Phases::One || chooses {
            return Ok(());
        }
        let error =
            Error::new(format!("method {}", self.name), "answers with the level that reads");
        let error = error.at("key \"phases\"").found(u8::from(self.phases));
        Err(error.allowed("1: the policy has plans of one level"))
    }

    /// Refuses what a policy without forecasts cannot leave room in.
    fn check_variation(&self) -> Result<()> {
        let keys = [
            ("meet", self.meet.is_some(), self.meet.map(|share| share.to_string())),
            ("adaptive", self.adaptive != Adaptive::None, Some(format!("{:?}", self.adaptive))),
        ];
        for (key, _, found) in keys.into_iter().filter(|(_, is_there, _)| *is_there) {
            if !self.policy.forecasts() {
                let error =
                    Error::new(format!("method {}", self.name), "has no forecasts to scale");
                let error = error.at(format!("key {key:?}")).found(found.unwrap_or_default());
                return Err(error.allowed(NO_FORECAST));
            }
        }
        if let Some(share) = self.meet
            && (share == Ratio::ONE || share < Ratio::percent(1))
        {
            let error = Error::new(format!("method {}", self.name), "is met by none or by chance");
            return Err(error.at("key \"meet\"").found(share).allowed("0.01 to below 1"));
        }
        Ok(())
    }

    /// Refuses what a policy does not look at.
    fn check_expectations(&self) -> Result<()> {
        if self.expect != Expect::default() && !self.policy.expects_accuracies() {
            let error = Error::new(format!("method {}", self.name), "expects no accuracies");
            let allowed = "no such key: the policy looks at no expected accuracy";
            return Err(error.at("key \"expect\"").found("pooled").allowed(allowed));
        }
        let looks_up = matches!(self.policy, PolicySpec::ElasticProfile {} | PolicySpec::Oracle {});
        if self.expect_by != ExpectBy::default() && !looks_up {
            let error = Error::new(format!("method {}", self.name), "no table by app to look at");
            let allowed = "no such key: policies elastic-profile and oracle look at it";
            return Err(error.at("key \"expect_by\"").found("app").allowed(allowed));
        }
        Ok(())
    }
}
