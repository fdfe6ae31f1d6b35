//! What is wrong with a header that the container's reader refuses, or must not be shown.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_core::quantized::GgmlDType;

use crate::error::{Error, Result};

/// The header starts within so many bytes; a tokenizer's lists come behind its general keys.
const GENERAL_KEYS_BYTES: u64 = 1 << 16;

/// Refuses an alignment of tensors of 0 bytes, by which the container's reader would divide.
pub(super) fn check_alignment(path: &Path) -> Result<()> {
    let io = |error| Error::io(path, "cannot read", error);
    let mut head = Vec::new();
    File::open(path).map_err(io)?.take(GENERAL_KEYS_BYTES).read_to_end(&mut head).map_err(io)?;
    let key = b"general.alignment";
    let Some(place) = head.windows(key.len()).position(|bytes| bytes == key) else { return Ok(()) };
    // A type of four bytes, then the number, of four bytes or fewer.
    let number = head[place + key.len()..].get(4..8);
    if number.is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0)) {
        return Err(Error::file(path, "out of range")
            .at("key \"general.alignment\"")
            .found(0)
            .allowed("1 or more"));
    }
    Ok(())
}

/// Kinds of weights that GGUF knows and this reader does not, by their number in files (`enum
/// ggml_type` of ggml.h).
const OTHER_TYPES: [(u32, &str); 21] = [
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

/// What is wrong with the header of the file `path` that candle refuses with `error`: it tells a
/// kind of weights that it lacks by number, in the words below; all else is a broken file.
pub(super) fn header_error(path: &Path, error: candle_core::Error) -> Error {
    let text = error.to_string();
    let number = text
        .split("unknown dtype for tensor ")
        .nth(1)
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    let Some(number) = number.and_then(|digits| digits.parse::<u32>().ok()) else {
        return Error::file(path, "broken GGUF header (a truncated download?)").caused_by(error);
    };
    let name = OTHER_TYPES.iter().find(|&&(known, _)| known == number);
    let name = name.map_or_else(|| format!("type {number}"), |&(_, name)| name.to_owned());
    let allowed = TYPES.map(type_name).join(", ");
    Error::file(path, "weights of a type that is not supported").found(name).allowed(allowed)
}

/// The kinds of weights that are read.
const TYPES: [GgmlDType; 15] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q8_1,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
    GgmlDType::Q8K,
];

/// The name of a kind of weights.
pub(super) fn type_name(kind: GgmlDType) -> &'static str {
    match kind {
        GgmlDType::F32 => "F32",
        GgmlDType::F16 => "F16",
        GgmlDType::BF16 => "BF16",
        GgmlDType::Q4_0 => "Q4_0",
        GgmlDType::Q4_1 => "Q4_1",
        GgmlDType::Q5_0 => "Q5_0",
        GgmlDType::Q5_1 => "Q5_1",
        GgmlDType::Q8_0 => "Q8_0",
        GgmlDType::Q8_1 => "Q8_1",
        GgmlDType::Q2K => "Q2_K",
        GgmlDType::Q3K => "Q3_K",
        GgmlDType::Q4K => "Q4_K",
        GgmlDType::Q5K => "Q5_K",
        GgmlDType::Q6K => "Q6_K",
        GgmlDType::Q8K => "Q8_K",
    }
}
