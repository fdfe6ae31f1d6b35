//! A method on a device over all kinds of requests, with what was forecast for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use numpy::{PyArray1, PyArrayMethods as _};
use pliant::method::Method;
use pliant::policy::{Candidate, Choices, Forecast, Menu};
use pliant::request::{Bounds, Request, RequestView};
use pliant::trace::Kinds;
use pliant::units::{Level, millis};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// What policies are told of an item, by its dataset and its name there.
pub type Features = BTreeMap<(String, String), Py<PyAny>>;

/// An array that nobody can write to.
pub type Column<T> = Py<PyArray1<T>>;

/// `values` as an array that nobody can write to, without a copy.
pub fn fixed<T: numpy::Element>(py: Python<'_>, values: Vec<T>) -> Column<T> {
    let array = PyArray1::from_vec(py, values);
    array.readwrite().make_nonwriteable();
    array.unbind()
}

/// Forecasts that are kept, over all kinds and resident levels: some 80 MB of them.
const ROWS_KEPT: usize = 20_000;

/// A method on a device, as its questions need it.
#[derive(Debug)]
pub struct Stage {
    /// Over all kinds of requests, whose numbers are the ids there.
    menu: Menu,
    kinds: Arc<Kinds>,
    bounds: Vec<Bounds>,
    /// Whether the time that a request has waited is taken off its bounds.
    counts_wait: bool,
    pub apps: Vec<Py<PyString>>,
    pub datasets: Vec<Py<PyString>>,
    pub level: Column<f64>,
    pub prompt_ratio: Column<f64>,
    /// By group of the menu.
    expected: Vec<Column<f64>>,
    /// By kind: what was given of its item. Empty where nothing was.
    features: Vec<Option<Py<PyAny>>>,
    rows: Mutex<Rows>,
}

/// Forecasts that are kept.
#[derive(Debug, Default)]
struct Rows {
    kept: usize,
    /// By kind: of the levels that were resident.
    by_kind: Vec<Vec<(Option<Level>, Arc<Row>)>>,
}

/// What is forecast of each plan for a kind of request while a level is resident. Times in ms.
#[derive(Debug)]
pub struct Row {
    pub forecasts: Vec<Forecast>,
    pub ttft: Vec<f64>,
    pub tpot: Vec<f64>,
    pub total: Vec<f64>,
    /// Against the bounds as they are.
    pub load: Vec<f64>,
    pub feasible: Vec<bool>,
    /// By the decision-head, where there is one.
    pub probability: Option<Vec<f64>>,
    /// For an environment; made once.
    pub observed: OnceLock<Vec<f32>>,
    pub arrays: Arrays,
}

impl Row {
    fn new(choices: &Choices<'_>, bounds: Bounds) -> Self {
        let forecasts: Vec<_> =
            choices.candidates().iter().map(|one| choices.forecast(one)).collect();
        let of = |value: &dyn Fn(&Forecast) -> f64| forecasts.iter().map(value).collect();
        Self {
            ttft: of(&|forecast| millis(forecast.ttft)),
            tpot: of(&|forecast| millis(forecast.tpot)),
            total: of(&|forecast| millis(forecast.total())),
            load: of(&|forecast| forecast.load(bounds)),
            feasible: mask(choices),
            probability: choices.decision().map(|decision| {
                let of =
                    |one: &Candidate| decision.probability(one.plan).map_or(f64::NAN, f64::from);
                choices.candidates().iter().map(of).collect()
            }),
            observed: OnceLock::new(),
            arrays: Arrays::default(),
            forecasts,
        }
    }
}

/// Arrays that a policy asked for.
#[derive(Debug, Default)]
pub struct Arrays {
    pub ttft: OnceLock<Column<f64>>,
    pub tpot: OnceLock<Column<f64>>,
    pub total: OnceLock<Column<f64>>,
    pub load: OnceLock<Column<f64>>,
    pub probability: OnceLock<Column<f64>>,
    pub feasible: OnceLock<Column<bool>>,
}

impl Stage {
    pub fn new(py: Python<'_>, method: &Method, kinds: &Arc<Kinds>) -> pliant::Result<Self> {
        let all = kinds.as_trace();
        let (menu, bounds) = (method.menu(all)?, method.bounds(all)?);
        let names = |names: &[String]| {
            names.iter().map(|name| PyString::new(py, name).unbind()).collect::<Vec<_>>()
        };
        let of =
            |value: fn(&Candidate) -> f64| fixed(py, menu.candidates().iter().map(value).collect());
        let expected = |group| {
            let of = |one| menu.expected_accuracy(one, group).unwrap_or(f64::NAN);
            fixed(py, menu.candidates().iter().map(of).collect())
        };
        Ok(Self {
            counts_wait: method.spec().counts_wait,
            apps: names(&all.apps),
            datasets: names(&all.datasets),
            level: of(|one| one.plan.level.share().as_f64()),
            prompt_ratio: of(|one| one.plan.prompt_ratio.as_f64()),
            expected: (0..menu.groups()).map(expected).collect(),
            features: Vec::new(),
            rows: Mutex::new(Rows { kept: 0, by_kind: vec![Vec::new(); all.requests.len()] }),
            kinds: Arc::clone(kinds),
            bounds,
            menu,
        })
    }

    /// With what is given of items.
    pub fn with_features(self, py: Python<'_>, of_items: &Features) -> Self {
        if of_items.is_empty() {
            return self;
        }
        let all = self.kinds.as_trace();
        let of = |request: &Request| {
            let name = (all.dataset(request.dataset).to_owned(), request.item.to_string());
            of_items.get(&name).map(|of| of.clone_ref(py))
        };
        let features = all.requests.iter().map(of).collect();
        Self { features, ..self }
    }

    /// What was given of the item of a request of `kind`.
    pub fn features(&self, kind: u32) -> Option<&Py<PyAny>> {
        self.features.get(kind as usize)?.as_ref()
    }

    pub fn candidates(&self) -> &[Candidate] {
        self.menu.candidates()
    }

    pub fn counts_wait(&self) -> bool {
        self.counts_wait
    }

    /// Expected accuracies for a request of `kind`.
    pub fn expected(&self, kind: u32) -> &Column<f64> {
        &self.expected[self.menu.group(self.view(kind))]
    }

    /// The request of this kind.
    pub fn request(&self, kind: u32) -> &Request {
        &self.kinds.as_trace().requests[kind as usize]
    }

    /// Its objective as shares of the base model's times.
    pub fn objective(&self, kind: u32) -> (f64, f64) {
        self.menu.choices(self.view(kind), None).objective_shares()
    }

    pub fn bounds(&self, kind: u32) -> Bounds {
        self.bounds[kind as usize]
    }

    /// The choices for it, what it has `waited` being taken off its bounds where that counts.
    pub fn choices(&self, kind: u32, resident: Option<Level>, waited: Duration) -> Choices<'_> {
        let view = self.view(kind);
        let left = if self.counts_wait { view.bounds().after(waited) } else { view.bounds() };
        self.menu.choices(view.with_bounds(left), resident)
    }

    pub fn view(&self, kind: u32) -> RequestView<'_> {
        let request = &self.kinds.as_trace().requests[kind as usize];
        RequestView::new(request, self.bounds[kind as usize])
    }

    /// The forecasts for a request of `kind`, kept if there is room.
    pub fn row(&self, kind: u32, resident: Option<Level>) -> Arc<Row> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let known = rows.by_kind[kind as usize].iter().find(|(level, _)| *level == resident);
        if let Some((_, row)) = known {
            return Arc::clone(row);
        }
        let choices = self.menu.choices(self.view(kind), resident);
        let row = Arc::new(Row::new(&choices, self.bounds[kind as usize]));
        if rows.kept < ROWS_KEPT {
            rows.kept += 1;
            rows.by_kind[kind as usize].push((resident, Arc::clone(&row)));
        }
        row
    }
}

/// `values` as the array that is made of them once.
pub fn shown<'py, T: numpy::Element + Copy>(
    py: Python<'py>,
    place: &OnceLock<Column<T>>,
    values: &[T],
) -> Bound<'py, PyArray1<T>> {
    place.get_or_init(|| fixed(py, values.to_vec())).bind(py).clone()
}

/// Whether each plan is forecast to meet the objective.
pub fn mask(choices: &Choices<'_>) -> Vec<bool> {
    let candidates = choices.candidates();
    let (mut mask, mut place) = (vec![false; candidates.len()], 0);
    for (one, _) in choices.feasible(candidates) {
        while candidates[place] != *one {
            place += 1;
        }
        mask[place] = true;
    }
    mask
}
