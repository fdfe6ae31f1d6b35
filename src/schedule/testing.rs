//! Options to try.

use proptest::prelude::*;

use super::*;

/// Any options that do not contradict each other, but for closed loops and ideal isolation, with
/// times that are short.
pub(crate) fn any_options() -> impl Strategy<Value = ServiceOptions> {
    let disciplines = prop_oneof![
        Just(Discipline::Fifo),
        Just(Discipline::Edf),
        Just(Discipline::EdfLateFirst),
        Just(Discipline::Priority),
        Just(Discipline::PriorityEdf),
    ];
    let budget = prop::option::of(0..50_u64);
    let bound = prop::option::of(0..4_u32);
    let switches = prop::array::uniform4(any::<bool>());
    (disciplines, budget, bound, prop::option::of(1..30_u64), switches, 1..20_u64).prop_map(
        |(discipline, budget, queue_max, timeout_ms, [token, shed, feasible, held], ageing_ms)| {
            let preempts = token && discipline.has_classes();
            let shed = shed && queue_max.is_some();
            let quota = Quota { at_once: Some(2), per_hour: Some(3_600_000), burst: 3 };
            ServiceOptions {
                discipline,
                ageing_ms,
                preempt: if preempts { Preempt::Token } else { Preempt::None },
                paused_tokens: budget.filter(|_| preempts),
                timeout_ms,
                queue_max,
                when_full: if shed { WhenFull::ShedLowest } else { WhenFull::Refuse },
                admit: if feasible { Admit::IfFeasible } else { Admit::All },
                quota: held.then_some(quota),
                ..ServiceOptions::default()
            }
        },
    )
}
