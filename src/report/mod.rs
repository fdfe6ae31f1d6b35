//! Tables, CSV and figures drawn from measures.
