//! Apps by number, with what they did: numbers stay when the file of apps is read anew.

use std::collections::BTreeMap;

use super::apps::{AppEntry, ServiceApps};
use super::status::Counted;
use crate::request::AppId;
use crate::schedule::Scheduler;

#[derive(Debug)]
pub(super) struct Registry {
    apps: ServiceApps,
    numbers: BTreeMap<String, AppId>,
    counted: BTreeMap<AppId, Counted>,
}

impl Registry {
    pub fn new(apps: ServiceApps) -> Self {
        let mut registry = Self { apps, numbers: BTreeMap::new(), counted: BTreeMap::new() };
        registry.number_all();
        registry
    }

    /// Other apps from now on. Calls of those that are gone are answered to their end.
    pub fn replace(&mut self, apps: ServiceApps, scheduler: &mut Scheduler) {
        self.apps = apps;
        self.number_all();
        self.set_quotas(scheduler);
    }

    fn number_all(&mut self) {
        let names = self.apps.all().iter().map(|app| app.name.clone());
        for name in names.chain([AppEntry::DEFAULT.to_owned()]) {
            let next = AppId(u16::try_from(self.numbers.len()).expect("few apps in a lifetime"));
            self.numbers.entry(name).or_insert(next);
        }
    }

    pub fn set_quotas(&self, scheduler: &mut Scheduler) {
        for app in self.apps.all() {
            scheduler.set_quota(self.numbers[&app.name], app.quota);
        }
    }

    pub fn apps(&self) -> &ServiceApps {
        &self.apps
    }

    /// The app called `name`, empty for none in particular, and its number.
    pub fn find(&self, name: &str) -> Option<(AppId, AppEntry)> {
        let app = self.apps.named(name)?;
        Some((self.numbers[&app.name], app))
    }

    pub fn name(&self, app: AppId) -> &str {
        let found = self.numbers.iter().find(|(_, number)| **number == app);
        found.map_or("", |(name, _)| name)
    }

    pub fn count(&mut self, app: AppId, add: impl FnOnce(&mut Counted)) {
        add(self.counted.entry(app).or_default());
    }

    /// What each app that called did, by name.
    pub fn counted(&self) -> BTreeMap<String, Counted> {
        self.counted
            .iter()
            .map(|(&app, counted)| (self.name(app).to_owned(), counted.clone()))
            .collect()
    }
}
