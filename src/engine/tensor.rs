//! Tensors over memory that somebody else owns, as ONNX Runtime values: nothing is copied.
//!
//! Why not `ort`'s own tensors? Those own their data or live as long as a borrow of it; weights
//! shared by nine sessions and caches bound as input and output of one call are neither.

use std::ffi::c_void;
use std::ptr::NonNull;

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::sys::{ONNXTensorElementDataType, OrtValue};
use ort::{AsPointer, ortsys};

use crate::error::{Error, Result};

/// An element type that graphs take.
pub(super) trait Element: Copy {
    const TYPE: ONNXTensorElementDataType;
}

impl Element for f32 {
    const TYPE: ONNXTensorElementDataType =
        ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}

impl Element for u8 {
    const TYPE: ONNXTensorElementDataType =
        ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
}

impl Element for i32 {
    const TYPE: ONNXTensorElementDataType =
        ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
}

impl Element for i64 {
    const TYPE: ONNXTensorElementDataType =
        ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
}

/// A view of somebody's memory as a tensor. Whoever makes one sees to it that the memory outlives
/// it and, if a session writes through it, that nobody else reads meanwhile.
#[derive(Debug)]
pub(super) struct TensorView(NonNull<OrtValue>);

// SAFETY: an OrtValue over foreign memory is a pointer and a shape, bound to no thread.
unsafe impl Send for TensorView {}
// SAFETY: as above; sessions only read it or write through it as the maker allows.
unsafe impl Sync for TensorView {}

impl TensorView {
    /// A view of `data` with dimensions `shape`.
    ///
    /// # Safety
    /// `data` must be valid for reads of the shape's product of elements, and for writes if a
    /// session has the view as an output, for as long as the view is in use.
    pub(super) unsafe fn new<T: Element>(data: *const T, shape: &[usize]) -> Result<Self> {
        let memory =
            MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)
                .map_err(|error| failed("cannot describe memory", error))?;
        let dims: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let bytes = shape.iter().product::<usize>() * size_of::<T>();
        let mut value: *mut OrtValue = std::ptr::null_mut();
        let status = ortsys![@ort: unsafe CreateTensorWithDataAsOrtValue(
            memory.ptr(),
            data.cast_mut().cast::<c_void>(),
            bytes,
            dims.as_ptr(),
            dims.len(),
            T::TYPE,
            &raw mut value
        ) as Result];
        status.map_err(|error| failed("cannot view memory as a tensor", error))?;
        Ok(Self(NonNull::new(value).expect("a created value is not null")))
    }

    pub(super) fn ptr(&self) -> *mut OrtValue {
        self.0.as_ptr()
    }
}

impl Drop for TensorView {
    fn drop(&mut self) {
        ortsys![unsafe ReleaseValue(self.0.as_ptr())];
    }
}

/// The error of a call to ONNX Runtime.
pub(super) fn failed(
    problem: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::new("ONNX Runtime", problem).caused_by(error)
}
