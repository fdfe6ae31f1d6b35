//! Request traces: the type, its file, a synthesiser of the study's traces, importers.

mod apps;
mod arrivals;
pub mod export;
mod fingerprint;
pub mod import;
mod kinds;
mod native;
mod objective;
mod stream;
mod summary;
mod synth;

use sha2::{Digest as _, Sha256};

use crate::digest;
use crate::item::ItemId;
use crate::request::{AppId, DatasetId, Request, Terms};

pub use native::{TraceLines, write_text};

pub use apps::{App, Apps, LevelOrder, Objective, StandIn};
pub use arrivals::Arrivals;
pub use kinds::{Columns, Kinds};
pub use stream::CallStream;
pub use summary::{Group, Range, Summary};
pub use synth::{ItemPool, PooledItem, SynthSpec, stand_ins, synthesize};

/// Requests in order of arrival, with the names their ids stand for.
///
/// Ids number names in order of first appearance, so that a trace read back equals the one
/// written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// How the trace was made: the lines of the file's commented header, without `# `.
    pub provenance: Vec<String>,
    /// Names of apps, indexed by [`AppId`].
    pub apps: Vec<String>,
    /// Names of datasets, indexed by [`DatasetId`].
    pub datasets: Vec<String>,
    /// Sorted by arrival; equal arrivals stay in file order.
    pub requests: Vec<Request>,
}

impl Trace {
    /// The name of app `id`.
    ///
    /// # Panics
    /// If `id` is not of this trace.
    #[must_use]
    pub fn app(&self, id: AppId) -> &str {
        &self.apps[usize::from(id.0)]
    }

    /// The name of dataset `id`.
    ///
    /// # Panics
    /// If `id` is not of this trace.
    #[must_use]
    pub fn dataset(&self, id: DatasetId) -> &str {
        &self.datasets[usize::from(id.0)]
    }

    /// Whether some request asks more of the service than its objective.
    #[must_use]
    pub fn has_terms(&self) -> bool {
        self.requests.iter().any(|request| request.terms != Terms::default())
    }

    /// SHA-256 of all that a replay sees: names and requests, and not how the trace was made.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new_with_prefix(format!("{:?}{:?}", self.apps, self.datasets));
        for request in &self.requests {
            hash.update(format!("{request:?}"));
        }
        digest::finish(hash)
    }

    /// The requests in order of their ids.
    #[must_use]
    pub fn by_id(&self) -> Vec<&Request> {
        let mut requests: Vec<&Request> = self.requests.iter().collect();
        requests.sort_unstable_by_key(|request| request.id);
        requests
    }

    /// The dataset's name and the item that each request asks for, in order of the requests' ids.
    #[must_use]
    pub fn asked(&self) -> Vec<(&str, ItemId)> {
        let requests = self.by_id().into_iter();
        requests.map(|request| (self.dataset(request.dataset), request.item)).collect()
    }

    /// The id of the app `name`, new if it is; `None` when ids have run out.
    fn app_id(&mut self, name: &str) -> Option<AppId> {
        index_of(&mut self.apps, name).map(AppId)
    }

    /// The id of the dataset `name`, new if it is; `None` when ids have run out.
    fn dataset_id(&mut self, name: &str) -> Option<DatasetId> {
        index_of(&mut self.datasets, name).map(DatasetId)
    }
}

/// The place of `name` among `names`, new if it is; `None` when ids have run out.
///
/// Names are few, so they are searched in order.
pub(crate) fn index_of(names: &mut Vec<String>, name: &str) -> Option<u16> {
    let known = names.iter().position(|known| known == name);
    let index = known.unwrap_or(names.len());
    let id = u16::try_from(index).ok()?;
    if known.is_none() {
        names.push(name.to_owned());
    }
    Some(id)
}
