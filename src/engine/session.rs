//! One ONNX Runtime session per sub-model, over weights and caches that it does not own.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights, SessionBuilder};
use ort::sys::{OrtSession, OrtValue};
use ort::{AsPointer, ortsys};

use super::bits::{Bits, Part, Quantised};
use super::graph::{Attention, Graph, Values, WeightView, cache_name};
use super::kv_cache::KvCache;
use super::operators;
use super::tensor::{TensorView, failed};
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::{digest, files};

/// The process's ONNX Runtime: one library, one pool of threads.
#[derive(Debug)]
pub struct Runtime {
    environment: Environment,
    threads: usize,
}

static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

impl Runtime {
    /// Loads ONNX Runtime from `library` with `threads` threads; once per process, later calls get
    /// the first one.
    ///
    /// # Errors
    /// If the library cannot be loaded, or was loaded with another number of threads.
    pub fn load(library: &Path, threads: usize) -> Result<&'static Self> {
        let runtime = RUNTIME.get_or_init(|| start(library, threads));
        let runtime = runtime.as_ref().map_err(|cause| {
            Error::file(library, "cannot start ONNX Runtime").caused_by(cause.clone())
        })?;
        if runtime.threads != threads {
            return Err(Error::new("threads", "ONNX Runtime is already running")
                .found(threads)
                .allowed(runtime.threads));
        }
        Ok(runtime)
    }

    /// The one that was loaded.
    ///
    /// # Errors
    /// If none was.
    pub fn loaded() -> Result<&'static Self> {
        let runtime = RUNTIME.get().and_then(|runtime| runtime.as_ref().ok());
        runtime.ok_or_else(|| Error::new("ONNX Runtime", "not loaded"))
    }

    /// Threads of the pool.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }
}

fn start(library: &Path, threads: usize) -> Result<Runtime, String> {
    let builder = ort::init_from(library).map_err(|error| error.to_string())?;
    let pool = GlobalThreadPoolOptions::default()
        .with_intra_threads(threads)
        .map_err(|error| error.to_string())?;
    let environment = builder
        .with_name("pliant")
        .with_telemetry(false)
        .with_global_thread_pool(pool)
        .build()
        .map_err(|error| error.to_string())?;
    share_arena(&environment).map_err(|error| error.to_string())?;
    Ok(Runtime { environment, threads })
}

/// Makes one arena for the activations of all sessions: only one runs at a time, and an arena each
/// would keep the largest prompt's activations once per level.
fn share_arena(environment: &Environment) -> ort::Result<()> {
    let arena =
        MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
    let (pointer, none) = (environment.ptr().cast_mut(), std::ptr::null());
    ortsys![@ort: unsafe CreateAndRegisterAllocator(pointer, arena.ptr(), none) as Result]
}

/// Whether sessions repack weights into the order their kernels like.
#[derive(Debug)]
pub(super) enum Packing {
    /// Once for all sessions.
    Shared(PrepackedWeights),
    /// Each session for itself.
    Own,
}

/// Views of weights by name, shared by every session, so that equal weights are packed once; and
/// what quantised ones look at.
#[derive(Debug, Default)]
pub(super) struct WeightViews {
    // Views point into the matrices: they are dropped first.
    views: BTreeMap<String, Arc<TensorView>>,
    /// Tensors in few bits, whole; views are of their first rows.
    quantised: BTreeMap<(String, Bits), Quantised>,
}

impl WeightViews {
    /// Adds a view that is not of the mapped weights.
    pub(super) fn insert(&mut self, name: String, view: TensorView) {
        self.views.insert(name, Arc::new(view));
    }

    fn get(&mut self, weights: &Weights, view: &WeightView) -> Result<Arc<TensorView>> {
        if !self.views.contains_key(&view.name) {
            match &view.values {
                Values::Rows { tensor, from, to } => {
                    let data = weights.rows(tensor, *from, *to);
                    let count = view.shape.iter().product::<usize>();
                    assert_eq!(data.len(), count, "shape of {}", view.name);
                    // SAFETY: the engine keeps the mapped weights as long as its views and
                    // sessions; sessions only read initializers.
                    let tensor = unsafe { TensorView::new(data.as_ptr(), &view.shape)? };
                    self.insert(view.name.clone(), tensor);
                }
                Values::Quantised { tensor, rows, bits, part } => {
                    let values = self.quantised(weights, tensor, *rows, *bits);
                    // SAFETY: the matrix is kept as long as the views, its buffers do not move
                    // with it, and sessions only read initializers.
                    let tensor = unsafe {
                        match part {
                            Part::Codes => TensorView::new(values.codes.as_ptr(), &view.shape)?,
                            Part::Grids => {
                                TensorView::new(values.grids.as_ptr().cast::<f32>(), &view.shape)?
                            }
                        }
                    };
                    self.insert(view.name.clone(), tensor);
                }
            }
        }
        Ok(Arc::clone(&self.views[&view.name]))
    }

    /// `tensor` in few bits, whole, quantised when first asked for; its first `units` are `rows`
    /// rows.
    fn quantised(
        &mut self,
        weights: &Weights,
        tensor: &str,
        [units, rows]: [usize; 2],
        bits: Bits,
    ) -> &Quantised {
        let key = (tensor.to_owned(), bits);
        self.quantised.entry(key).or_insert_with(|| {
            let entry = &weights.index().tensors[tensor];
            let columns = units * entry.columns / rows;
            Quantised::of(weights.rows(tensor, 0, entry.rows), columns, bits)
        })
    }
}

/// What goes into one run of a sub-model.
#[derive(Debug, Clone, Copy)]
pub struct Feed<'a> {
    /// Tokens to add to the context. One token after others is one that the model generated.
    pub tokens: &'a [i64],
    /// Tokens already in the cache.
    pub past: usize,
    /// Which of `tokens` get logits.
    pub logit_rows: &'a [i64],
    /// For [`Attention::Forest`].
    pub forest: Option<Forest<'a>>,
}

/// Many continuations of one context side by side.
#[derive(Debug, Clone, Copy)]
pub struct Forest<'a> {
    /// The position of each token.
    pub positions: &'a [i64],
    /// `[tokens, past + tokens]`, added to the attention scores.
    pub mask: &'a [f32],
}

/// A sub-model ready to run.
#[derive(Debug)]
pub struct LevelSession {
    session: Session,
    caches: Vec<(usize, usize)>,
    inputs: Vec<CString>,
    outputs: Vec<CString>,
    // Keeps the weights' views alive as long as the session reads them.
    _weights: Vec<Arc<TensorView>>,
}

impl LevelSession {
    /// Opens a session for `graph` over `weights`.
    pub(super) fn open(
        runtime: &Runtime,
        weights: &Weights,
        views: &mut WeightViews,
        graph: &Graph,
        attention: Attention,
        packing: &Packing,
    ) -> Result<Self> {
        let mut builder = configure(&runtime.environment, packing)
            .map_err(|error| failed("cannot configure a session", error.to_string()))?;
        let mut kept = Vec::with_capacity(graph.weights.len());
        for view in &graph.weights {
            let tensor = views.get(weights, view)?;
            let name = c_string(&view.name);
            let options = builder.ptr_mut();
            ortsys![@ort: unsafe AddInitializer(options, name.as_ptr(), tensor.ptr()) as Result]
                .map_err(|error| failed("cannot bind a weight", error))?;
            kept.push(tensor);
        }
        let file = format!("{}.onnx", &digest::sha256(&graph.model)[..16]);
        let path = weights.folder().join(&file);
        if !path.exists() {
            files::write_whole(&path, &graph.model)?;
        }
        let session = builder.commit_from_file(&path).map_err(|error| {
            Error::file(&path, "ONNX Runtime refuses the graph").caused_by(error)
        })?;
        let (inputs, outputs) = names(graph, attention);
        Ok(Self { session, caches: graph.caches.clone(), inputs, outputs, _weights: kept })
    }

    /// Runs the sub-model with the inputs of its `adapter`, extends `cache`, and writes
    /// `[logit_rows, vocab]` values each to `logits` and `log_probs`.
    ///
    /// # Panics
    /// If the cache has no room or a buffer has another length than the feed calls for.
    pub(super) fn run(
        &mut self,
        feed: &Feed<'_>,
        cache: &mut KvCache,
        adapter: &[TensorView],
        logits: &mut [f32],
        log_probs: &mut [f32],
    ) -> Result<()> {
        let count = feed.tokens.len();
        let total = feed.past + count;
        assert!(total <= cache.context(), "{total} tokens in a cache for {}", cache.context());
        let vocab = logits.len() / feed.logit_rows.len();
        assert_eq!(logits.len(), log_probs.len());
        let lengths = [total as i32 - 1, total as i32];
        // SAFETY: all these live until the end of this function; `run_values` is the only user.
        // Outputs are borrowed mutably and the caches through `cache`.
        let (values, results) = unsafe {
            let mut values = vec![
                TensorView::new(feed.tokens.as_ptr(), &[count])?,
                TensorView::new(feed.logit_rows.as_ptr(), &[feed.logit_rows.len()])?,
                TensorView::new(&raw const lengths[0], &[1])?,
                TensorView::new(&raw const lengths[1], &[1])?,
            ];
            if let Some(Forest { positions, mask }) = feed.forest {
                assert_eq!((positions.len(), mask.len()), (count, count * total));
                values.push(TensorView::new(positions.as_ptr(), &[1, count])?);
                values.push(TensorView::new(mask.as_ptr(), &[1, 1, count, total])?);
            }
            let shape = [feed.logit_rows.len(), vocab];
            let results = [
                TensorView::new(logits.as_mut_ptr().cast_const(), &shape)?,
                TensorView::new(log_probs.as_mut_ptr().cast_const(), &shape)?,
            ];
            (values, results)
        };
        self.run_values(&values, &results, cache, adapter)
    }

    fn run_values(
        &mut self,
        values: &[TensorView],
        results: &[TensorView; 2],
        cache: &mut KvCache,
        adapter: &[TensorView],
    ) -> Result<()> {
        let slots = self.caches.iter().flat_map(|&slot| cache.slot(slot)).map(TensorView::ptr);
        let inputs: Vec<*const OrtValue> = values
            .iter()
            .map(TensorView::ptr)
            .chain(slots.clone())
            .chain(adapter.iter().map(TensorView::ptr))
            .map(<*mut _>::cast_const)
            .collect();
        let mut outputs: Vec<*mut OrtValue> =
            results.iter().map(TensorView::ptr).chain(slots).collect();
        let input_names: Vec<*const c_char> =
            self.inputs.iter().map(|name| name.as_ptr()).collect();
        let output_names: Vec<*const c_char> =
            self.outputs.iter().map(|name| name.as_ptr()).collect();
        assert_eq!(inputs.len(), input_names.len(), "a value for every input");
        let session: *mut OrtSession = self.session.ptr().cast_mut();
        ortsys![@ort: unsafe Run(
            session,
            std::ptr::null(),
            input_names.as_ptr(),
            inputs.as_ptr(),
            inputs.len(),
            output_names.as_ptr(),
            output_names.len(),
            outputs.as_mut_ptr()
        ) as Result]
        .map_err(|error| failed("inference failed", error))
    }
}

/// A session for `model`, an ONNX model that brings its own weights.
pub(crate) fn open_model(runtime: &Runtime, model: &[u8]) -> Result<Session> {
    configure(&runtime.environment, &Packing::Own)
        .and_then(|mut builder| builder.commit_from_memory(model))
        .map_err(|error| failed("refuses the graph", error))
}

fn configure(environment: &Environment, packing: &Packing) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(environment)?
        .with_operators(operators::domain()?)?
        .with_optimization_level(GraphOptimizationLevel::Level1)?
        .with_memory_pattern(false)?
        .with_env_allocators()?;
    Ok(match packing {
        Packing::Shared(container) => builder.with_prepacked_weights(container)?,
        Packing::Own => builder,
    })
}

fn names(graph: &Graph, attention: Attention) -> (Vec<CString>, Vec<CString>) {
    let mut inputs: Vec<CString> = ["tokens", "logit_rows", "last", "total"].map(c_string).to_vec();
    if attention == Attention::Forest {
        inputs.extend(["positions", "mask"].map(c_string));
    }
    let mut outputs: Vec<CString> = ["logits", "log_probs"].map(c_string).to_vec();
    for &slot in &graph.caches {
        inputs.extend(["past_key", "past_value"].map(|which| c_string(&cache_name(which, slot))));
        outputs.extend(
            ["present_key", "present_value"].map(|which| c_string(&cache_name(which, slot))),
        );
    }
    inputs.extend(graph.adapter.iter().map(|input| c_string(&input.name)));
    (inputs, outputs)
}

fn c_string(name: &str) -> CString {
    CString::new(name).expect("names have no NUL")
}
