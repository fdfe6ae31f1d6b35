//! Operators of ours for ONNX Runtime: products with the first rows of a matrix that lies where it
//! is ([`kernels`](super::kernels)).
//!
//! `Read`
//! : of tokens `[S, columns]`, a matrix `[rows, columns]`, a bias `[rows]` and an adapter makes any
//!   number of values `[1, S, rows / number]`. Attributes `bias`, whether there is one; `query` and
//!   `key`, of how many rows the parts of a group consist, or 0 where all rows are alike.
//!
//! `Write`
//! : to a stream `[S, columns]` adds, by a matrix `[rows, columns]` and an adapter, what any number
//!   of values `[1, S, rows / number]` give.
//!
//! `Mlp`
//! : to a stream `[S, columns]` adds what gate, up and down `[rows, columns]` and their adapters
//!   make of the same stream normed.
//!
//! All are f32, and say `rows`, `columns`, `bits` and `rank`. `bits` 0: a matrix is f32 as well;
//! else it is two inputs, codes and grids. `rank` 0: there is no adapter; else it is `a` and `b` of
//! each matrix, gate and up having one `a` and two `b`.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::sys::{OrtKernelContext, OrtTensorTypeAndShapeInfo, OrtValue};
use ort::value::TensorElementType;
use ort::{AsPointer, ortsys};

use super::bits::{BLOCK, Bits};
use super::kernels::{Blocks, Gated, Kinds, Low, Reading, Rows, Scratch, Threads, Tokens, Writing};
use super::onnx::OURS;

/// Their names.
pub(super) const READ: &str = "Read";
pub(super) const WRITE: &str = "Write";
pub(super) const MLP: &str = "Mlp";

/// The operators, for a session.
pub(super) fn domain() -> ort::Result<OperatorDomain> {
    OperatorDomain::new(OURS)?.add(Read)?.add(Write)?.add(Mlp)
}

/// One product is made at a time; its memory is kept for the next.
static SCRATCH: Mutex<Scratch> = Mutex::new(Scratch::new());

fn scratch() -> std::sync::MutexGuard<'static, Scratch> {
    // What a panic left there is written anew by the next product.
    SCRATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a node says of its matrices.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    rows: usize,
    columns: usize,
    bits: Option<Bits>,
    rank: usize,
}

impl Sizes {
    fn of(node: &KernelContext<'_>) -> ort::Result<Self> {
        let bits = match number(node, "bits")? {
            0 => None,
            4 => Some(Bits::Four),
            8 => Some(Bits::Eight),
            other => return Err(ort::Error::new(format!("{other} bits"))),
        };
        let (rows, columns) = (number(node, "rows")?, number(node, "columns")?);
        Ok(Self { rows, columns, bits, rank: number(node, "rank")? })
    }
}

fn number(node: &KernelContext<'_>, name: &str) -> ort::Result<usize> {
    let value: Option<i64> = node.get(name);
    value
        .and_then(|value| usize::try_from(value).ok())
        .ok_or_else(|| ort::Error::new(format!("attribute {name} is missing")))
}

/// The inputs of a call, one after the other, and its outputs.
struct Call<'a> {
    context: &'a ComputeContext,
    next: usize,
}

impl<'a> Call<'a> {
    fn new(context: &'a ComputeContext) -> Self {
        Self { context, next: 0 }
    }

    fn pointer(&self) -> *const OrtKernelContext {
        self.context.ptr()
    }

    fn value(&mut self) -> ort::Result<*const OrtValue> {
        let mut value: *const OrtValue = std::ptr::null();
        let (call, place) = (self.pointer(), self.next);
        ortsys![@ort: unsafe KernelContext_GetInput(call, place, &raw mut value) as Result]?;
        self.next += 1;
        Ok(value)
    }

    /// The next input, of `len` values of type `T`.
    ///
    /// # Safety
    /// The input has so many values of that type.
    unsafe fn input<T>(&mut self, len: usize) -> ort::Result<&'a [T]> {
        let data = data(self.value()?.cast_mut())?;
        // SAFETY: inputs live as long as the call, and there are so many values.
        Ok(unsafe { std::slice::from_raw_parts(data.cast::<T>(), len) })
    }

    /// The next input, f32 tokens of `columns` values, however many there are.
    ///
    /// # Safety
    /// The input is f32.
    unsafe fn tokens(&mut self, columns: usize) -> ort::Result<Tokens<'a>> {
        let value = self.value()?;
        let mut shape: *mut OrtTensorTypeAndShapeInfo = std::ptr::null_mut();
        let mut count = 0;
        ortsys![@ort: unsafe GetTensorTypeAndShape(value, &raw mut shape) as Result]?;
        let counted =
            ortsys![@ort: unsafe GetTensorShapeElementCount(shape, &raw mut count) as Result];
        ortsys![unsafe ReleaseTensorTypeAndShapeInfo(shape)];
        counted?;
        let data = data(value.cast_mut())?;
        // SAFETY: as above; the shape says how many.
        let values = unsafe { std::slice::from_raw_parts(data.cast::<f32>(), count) };
        Ok(Tokens { values, depth: columns })
    }

    /// The next matrix of `sizes`.
    ///
    /// # Safety
    /// The inputs are as the node says.
    unsafe fn matrix(&mut self, sizes: Sizes) -> ort::Result<Rows<'a>> {
        let Sizes { rows, columns, bits, .. } = sizes;
        // SAFETY: as the caller promises.
        unsafe {
            let Some(bits) = bits else {
                return Ok(Rows::Floats { values: self.input(rows * columns)?, columns });
            };
            let blocks = rows * columns.div_ceil(BLOCK);
            let codes = self.input(blocks * bits.bytes(BLOCK))?;
            Ok(Rows::Blocks(Blocks { bits, columns, codes, grids: self.input(blocks)? }))
        }
    }

    fn inputs(&self) -> ort::Result<usize> {
        self.context.num_inputs()
    }

    /// Output `place`, which has `shape`.
    fn output(&mut self, place: usize, shape: &[usize]) -> ort::Result<&'a mut [f32]> {
        let dims: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let mut value: *mut OrtValue = std::ptr::null_mut();
        let call = self.pointer().cast_mut();
        ortsys![@ort: unsafe KernelContext_GetOutput(
            call, place, dims.as_ptr(), dims.len(), &raw mut value
        ) as Result]?;
        let (data, len) = (data(value)?, shape.iter().product());
        // SAFETY: ONNX Runtime has made the output of that shape, for this call alone to fill.
        Ok(unsafe { std::slice::from_raw_parts_mut(data.cast::<f32>(), len) })
    }
}

fn data(value: *mut OrtValue) -> ort::Result<*mut c_void> {
    let mut data: *mut c_void = std::ptr::null_mut();
    ortsys![@ort: unsafe GetTensorMutableData(value, &raw mut data) as Result]?;
    Ok(data)
}

/// The session's threads.
struct Pool<'a>(&'a ComputeContext);

impl Threads for Pool<'_> {
    fn each(&self, pieces: usize, work: &(dyn Fn(usize) + Send + Sync)) {
        self.0.par_for(pieces, pieces, work).expect("ONNX Runtime has threads");
    }
}

/// Any tensors.
fn anything() -> [OperatorInput; 1] {
    [OperatorInput::variadic(1)]
}

struct Read;

struct ReadKernel {
    sizes: Sizes,
    bias: bool,
    /// Where each kind of row ends within a unit; empty where rows are alike.
    kinds: Vec<usize>,
}

impl Operator for Read {
    type Kernel<'attr> = ReadKernel;

    fn name(&self) -> &str {
        READ
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        anything()
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::variadic(1).homogenous(TensorElementType::Float32)]
    }

    fn create_kernel(&self, node: &KernelContext<'_>) -> ort::Result<ReadKernel> {
        let (query, key) = (number(node, "query")?, number(node, "key")?);
        let kinds = if query == 0 { Vec::new() } else { vec![query, query + key, query + 2 * key] };
        Ok(ReadKernel { sizes: Sizes::of(node)?, bias: number(node, "bias")? == 1, kinds })
    }
}

impl Kernel for ReadKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let Sizes { rows, columns, rank, .. } = self.sizes;
        let mut call = Call::new(context);
        // SAFETY: the graph gives a node the inputs that its attributes name.
        let (x, reading) = unsafe {
            let x = call.tokens(columns)?;
            let matrix = call.matrix(self.sizes)?;
            let bias = if self.bias { Some(call.input(rows)?) } else { None };
            let kinds = Kinds { ends: &self.kinds };
            let low = if rank == 0 {
                None
            } else {
                let a = call.input(self.kinds.len().max(1) * rank * columns)?;
                Some((Low { a, b: call.input(rows * rank)?, rank }, kinds))
            };
            (x, Reading { rows: matrix, bias, low })
        };
        let parts = context.num_outputs()?;
        let shape = [1, x.count(), rows / parts];
        let mut outputs: Vec<&mut [f32]> =
            (0..parts).map(|part| call.output(part, &shape)).collect::<ort::Result<_>>()?;
        reading.run(&Pool(context), x, &mut outputs, &mut scratch());
        Ok(())
    }
}

struct Write;

struct WriteKernel(Sizes);

impl Operator for Write {
    type Kernel<'attr> = WriteKernel;

    fn name(&self) -> &str {
        WRITE
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        anything()
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel(&self, node: &KernelContext<'_>) -> ort::Result<WriteKernel> {
        Sizes::of(node).map(WriteKernel)
    }
}

impl Kernel for WriteKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let Self(sizes) = *self;
        let Sizes { rows, columns, .. } = sizes;
        let mut call = Call::new(context);
        // SAFETY: the graph gives a node the inputs that its attributes name.
        let (stream, writing, parts) = unsafe {
            let stream = call.tokens(columns)?;
            let matrix = call.matrix(sizes)?;
            let low = written_low(&mut call, sizes)?;
            let count = call.inputs()? - call.next;
            let parts: Vec<Tokens<'_>> =
                (0..count).map(|_| call.tokens(rows / count)).collect::<ort::Result<_>>()?;
            (stream, Writing { rows: matrix, low }, parts)
        };
        let out = call.output(0, &[stream.count(), columns])?;
        out.copy_from_slice(stream.values);
        writing.run_parts(&Pool(context), &parts, out, &mut scratch());
        Ok(())
    }
}

/// The adapter of a matrix that writes.
///
/// # Safety
/// The inputs are as the node says.
unsafe fn written_low<'a>(call: &mut Call<'a>, sizes: Sizes) -> ort::Result<Option<Low<'a>>> {
    let Sizes { rows, columns, rank, .. } = sizes;
    if rank == 0 {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    let (a, b) = unsafe { (call.input(rows * rank)?, call.input(rank * columns)?) };
    Ok(Some(Low { a, b, rank }))
}

struct Mlp;

struct MlpKernel(Sizes);

impl Operator for Mlp {
    type Kernel<'attr> = MlpKernel;

    fn name(&self) -> &str {
        MLP
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        anything()
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel(&self, node: &KernelContext<'_>) -> ort::Result<MlpKernel> {
        Sizes::of(node).map(MlpKernel)
    }
}

impl Kernel for MlpKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let Self(sizes) = *self;
        let Sizes { rows, columns, rank, .. } = sizes;
        let mut call = Call::new(context);
        // SAFETY: the graph gives a node the inputs that its attributes name.
        let (stream, normed, gated, writing) = unsafe {
            let stream = call.tokens(columns)?;
            let normed = call.tokens(columns)?;
            let [gate, up, down] = [call.matrix(sizes)?, call.matrix(sizes)?, call.matrix(sizes)?];
            let low = if rank == 0 {
                None
            } else {
                let a = call.input(2 * rank * columns)?;
                let [gate, up] = [call.input(rows * rank)?, call.input(rows * rank)?];
                Some([gate, up].map(|b| Low { a, b, rank }))
            };
            let written = written_low(&mut call, sizes)?;
            (stream, normed, Gated { gate, up, low }, Writing { rows: down, low: written })
        };
        let out = call.output(0, &[stream.count(), columns])?;
        out.copy_from_slice(stream.values);
        let (pool, scratch) = (Pool(context), &mut *scratch());
        gated.run(&pool, normed, scratch);
        writing.run(&pool, out, scratch);
        Ok(())
    }
}
