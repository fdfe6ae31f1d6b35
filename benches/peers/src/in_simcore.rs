//! The queue as a component of SimCore (DSLab).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use serde::Serialize;
use simcore::{Event, EventHandler, Simulation, SimulationContext, cast};

use crate::Load;

#[derive(Clone, Serialize)]
struct Arrival {}

#[derive(Clone, Serialize)]
struct Completion {}

struct Station {
    ctx: SimulationContext,
    load: Load,
    left: u64,
    waiting: VecDeque<(f64, u64)>,
    busy: bool,
    waited: f64,
}

impl Station {
    fn expect(&mut self, gap: u64) {
        if self.left > 0 {
            self.left -= 1;
            self.ctx.emit_self(Arrival {}, gap as f64);
        }
    }

    fn start(&mut self) {
        self.busy = false;
        if let Some((arrived, takes)) = self.waiting.pop_front() {
            self.waited += self.ctx.time() - arrived;
            self.busy = true;
            self.ctx.emit_self(Completion {}, takes as f64);
        }
    }
}

impl EventHandler for Station {
    fn on(&mut self, event: Event) {
        cast!(match event.data {
            Arrival {} => {
                let (gap, takes) = self.load.next_request();
                self.waiting.push_back((self.ctx.time(), takes));
                if !self.busy {
                    self.start();
                }
                self.expect(gap);
            }
            Completion {} => {
                self.start();
            }
        })
    }
}

pub fn run(requests: u64) -> u64 {
    let mut sim = Simulation::new(1);
    let ctx = sim.create_context("station");
    let station = Rc::new(RefCell::new(Station {
        ctx,
        load: Load::default(),
        left: requests,
        waiting: VecDeque::new(),
        busy: false,
        waited: 0.0,
    }));
    sim.add_handler("station", station.clone());
    station.borrow_mut().expect(0);
    sim.step_until_no_events();
    let waited = station.borrow().waited;
    waited as u64
}
