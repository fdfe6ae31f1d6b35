//! What a device and a model were measured to do: latency per level, answers per item and plan.
