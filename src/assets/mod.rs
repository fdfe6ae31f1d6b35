//! Packages with weights and data: pinned, fetched, checked, cached.
