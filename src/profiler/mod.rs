//! From the engine to device profiles: latency samples and quality tables, resumable.
