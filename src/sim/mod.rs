//! Discrete-event simulation of one service. Knows no concrete policy, executor, file or clock.
