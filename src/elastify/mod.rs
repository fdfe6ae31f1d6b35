//! The offline stage: importance, order and allocation of elastic units.
