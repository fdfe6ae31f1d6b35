//! Request traces: the type, its CSV form, and a synthesiser of the study's traces.

use crate::request::Request;

/// Requests in order of arrival, with the names their ids stand for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// How the trace was made: the lines of the file's commented header, without `# `.
    pub provenance: Vec<String>,
    /// Names of apps, indexed by [`AppId`](crate::request::AppId).
    pub apps: Vec<String>,
    /// Names of datasets, indexed by [`DatasetId`](crate::request::DatasetId).
    pub datasets: Vec<String>,
    /// Sorted by arrival; equal arrivals stay in file order.
    pub requests: Vec<Request>,
}
