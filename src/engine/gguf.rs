//! Reads a GGUF file into a [`DenseModel`]: architectures `llama` and `qwen2`, weights dequantised
//! to f32.
//!
//! The container and its quantised blocks are candle's; this module checks names and shapes, and
//! brings rotary rows into half-split order. GGUF stores the rows of a Llama model's Q and K as
//! interleaved pairs (row `2j + t` of a head is row `t * head_dim / 2 + j`); a Qwen2 model's are
//! half-split already.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value};

use super::model::{DIMENSION_MAX, DenseLayer, DenseModel, ModelConfig};
use crate::error::{Error, Result};

mod header;

use header::{check_alignment, header_error, type_name};

const EMBEDDING: &str = "token_embd.weight";
const HEAD: &str = "output.weight";

/// A head that is the embedding in other numbers is off by no larger share of its squares: five
/// bits beside eight are off by 0.002, and two matrices that know nothing of each other by 2.
const TIED_SHARE: f64 = 0.01;

/// Reads the model in the GGUF file at `path`.
///
/// # Errors
/// If the file cannot be read, is no GGUF file or a truncated one, or describes a model that
/// [`DenseModel`] cannot hold: a missing key or tensor, a wrong shape, a tensor of unknown use.
pub fn load(path: &Path) -> Result<DenseModel> {
    Gguf::open(path)?.model()
}

/// A GGUF file whose header has been read; tensors are read on demand.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    content: Content,
}

impl Gguf {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// If the file cannot be read, or its header is foreign or truncated.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, "cannot open", e))?;
        let mut reader = BufReader::new(file);
        let mut magic = [0; 4];
        reader
            .read_exact(&mut magic)
            .map_err(|e| Error::io(path, "cannot read the first four bytes", e))?;
        if &magic != b"GGUF" {
            return Err(Error::file(path, "not a GGUF file")
                .at("first four bytes")
                .found(magic.escape_ascii())
                .allowed("GGUF"));
        }
        reader.seek_relative(-4).map_err(|e| Error::io(path, "cannot read", e))?;
        check_alignment(path)?;
        let content = Content::read(&mut reader).map_err(|error| header_error(path, error))?;
        Ok(Self { path: path.to_owned(), content })
    }

    /// The dimensions of the model.
    ///
    /// # Errors
    /// If a key is missing, is of the wrong type or out of range, or the architecture is another.
    pub fn config(&self) -> Result<ModelConfig> {
        let architecture = self.architecture()?;
        let key = |name: &str| format!("{}.{name}", architecture.name());
        let hidden = self.dimension(&key("embedding_length"))?;
        let heads = self.dimension(&key("attention.head_count"))?;
        let kv_heads = self.dimension_or(&key("attention.head_count_kv"), heads)?;
        let head_dim = self.dimension_or(&key("attention.key_length"), (hidden / heads).max(1))?;
        self.check_equal(&key("attention.value_length"), head_dim)?;
        self.check_equal(&key("rope.dimension_count"), head_dim)?;
        self.check_no_rope_scaling(&key("rope"))?;
        self.check_neutral(&key("attention.sliding_window"), &[0.0])?;
        self.check_neutral(&key("attention.scale"), &[0.0])?;
        for scale in ["logit_scale", "embedding_scale", "residual_scale"] {
            self.check_neutral(&key(scale), &[0.0, 1.0])?;
        }
        if !heads.is_multiple_of(kv_heads) || !head_dim.is_multiple_of(2) {
            return Err(Error::file(&self.path, "heads do not form groups of even width")
                .at(format!("key \"{}\"", key("attention.head_count")))
                .found(format!("{heads} heads, {kv_heads} KV heads, width {head_dim}"))
                .allowed("a multiple of the KV heads, an even width"));
        }
        Ok(ModelConfig {
            layers: self.dimension(&key("block_count"))?,
            hidden,
            intermediate: self.dimension(&key("feed_forward_length"))?,
            heads,
            kv_heads,
            head_dim,
            rope_theta: self.positive(&key("rope.freq_base"))?,
            rms_epsilon: self.positive(&key("attention.layer_norm_rms_epsilon"))?,
            vocab: self.vocabulary(hidden)?,
            context: self.dimension(&key("context_length"))?,
        })
    }

    /// The model, every weight dequantised to f32.
    ///
    /// # Errors
    /// As [`load`].
    pub fn model(&self) -> Result<DenseModel> {
        let config = self.config()?;
        let mut tensors = self.tensors()?;
        let model = DenseModel {
            embedding: tensors.matrix(EMBEDDING, config.vocab, config.hidden)?,
            layers: (0..config.layers)
                .map(|layer| tensors.layer(layer, &config, self.architecture()?))
                .collect::<Result<_>>()?,
            final_norm: tensors.vector("output_norm.weight", config.hidden)?,
            head: tensors.optional(HEAD, &[config.vocab, config.hidden])?,
            config,
        };
        tensors.check_all_used()?;
        Ok(model)
    }

    /// What the file calls its model, such as `Smollm2 135M`; the file's stem if it has no name.
    #[must_use]
    pub fn name(&self) -> String {
        match self.content.metadata.get("general.name") {
            Some(Value::String(name)) => name.clone(),
            _ => self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }

    /// The numbers in all tensors together; a tied head counts once, with the embedding.
    ///
    /// # Errors
    /// If the tensors of head and embedding cannot be read.
    pub fn parameters(&self) -> Result<u64> {
        let skipped = self.head_is_tied()?.then_some(HEAD);
        let tensors = self.content.tensor_infos.iter();
        let counted = tensors.filter(|(name, _)| Some(name.as_str()) != skipped);
        let elements = counted.map(|(_, info)| {
            info.shape.dims().iter().fold(1, |n: u64, &d| n.saturating_mul(d as u64))
        });
        Ok(elements.fold(0, u64::saturating_add))
    }

    /// Whether the file has its embedding once more as its head. The two may be quantised
    /// differently, which moves them by a few percent; a head of its own is another matrix.
    fn head_is_tied(&self) -> Result<bool> {
        let dims = self.dims(EMBEDDING)?;
        if !self.content.tensor_infos.contains_key(HEAD) || self.dims(HEAD)? != dims {
            return Ok(false);
        }
        let mut tensors = self.tensors()?;
        let (head, embedding) = (tensors.read(HEAD, dims)?, tensors.read(EMBEDDING, dims)?);
        let apart = squares(head.iter().zip(&embedding).map(|(a, b)| a - b));
        Ok(apart <= TIED_SHARE * squares(head.iter().copied()))
    }

    fn tensors(&self) -> Result<Tensors<'_>> {
        let file = File::open(&self.path).map_err(|e| Error::io(&self.path, "cannot open", e))?;
        Ok(Tensors { gguf: self, file, used: BTreeSet::new() })
    }

    /// How the weights were stored, the most frequent kind first, and what became of them: such
    /// as `Q4_1 + Q8_0 dequantised to f32`. Accuracies of the model stand beside this label.
    #[must_use]
    pub fn quantisation_label(&self) -> String {
        let mut weights: Vec<(usize, &str)> = Vec::new();
        for info in self.content.tensor_infos.values() {
            let elements = info.shape.dims().iter().fold(1, |n: usize, &d| n.saturating_mul(d));
            let name = type_name(info.ggml_dtype);
            match weights.iter_mut().find(|(_, known)| *known == name) {
                Some((count, _)) => *count = count.saturating_add(elements),
                None => weights.push((elements, name)),
            }
        }
        weights.sort_unstable_by(|a, b| b.cmp(a));
        let kinds: Vec<&str> =
            weights.iter().map(|&(_, name)| name).filter(|&name| name != "F32").collect();
        if kinds.is_empty() {
            return "F32".to_owned();
        }
        format!("{} dequantised to f32", kinds.join(" + "))
    }

    /// The text under `key`.
    ///
    /// # Errors
    /// If it is missing or no text.
    pub fn text(&self, key: &str) -> Result<&str> {
        match self.value(key)? {
            Value::String(text) => Ok(text),
            other => Err(self.wrong_type(key, other, "a string")),
        }
    }

    /// The list of texts under `key`.
    ///
    /// # Errors
    /// If it is missing or no list of texts.
    pub fn texts(&self, key: &str) -> Result<Vec<&str>> {
        self.list(key, "an array of strings", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The list of whole numbers under `key`.
    ///
    /// # Errors
    /// If it is missing or no list of whole numbers.
    pub fn numbers(&self, key: &str) -> Result<Vec<u64>> {
        self.list(key, "an array of unsigned integers", whole_number)
    }

    /// The whole number under `key`.
    ///
    /// # Errors
    /// If it is missing or no whole number.
    pub fn number(&self, key: &str) -> Result<u64> {
        let value = self.value(key)?;
        whole_number(value).ok_or_else(|| self.wrong_type(key, value, "an unsigned integer"))
    }

    /// An error about `key` of this file.
    #[must_use]
    pub fn key_error(&self, key: &str, problem: &str) -> Error {
        Error::file(&self.path, problem).at(format!("key \"{key}\""))
    }

    fn architecture(&self) -> Result<Architecture> {
        let key = "general.architecture";
        match self.text(key)? {
            "llama" => Ok(Architecture::Llama),
            "qwen2" => Ok(Architecture::Qwen2),
            other => Err(self
                .key_error(key, "unsupported architecture")
                .found(other)
                .allowed("llama, qwen2")),
        }
    }

    fn value(&self, key: &str) -> Result<&Value> {
        self.content.metadata.get(key).ok_or_else(|| self.key_error(key, "missing"))
    }

    fn list<'a, T>(
        &'a self,
        key: &str,
        allowed: &str,
        element: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Vec<T>> {
        let value = self.value(key)?;
        let list = match value {
            Value::Array(values) => values.iter().map(element).collect(),
            _ => None,
        };
        list.ok_or_else(|| self.wrong_type(key, value, allowed))
    }

    fn wrong_type(&self, key: &str, found: &Value, allowed: &str) -> Error {
        self.key_error(key, "wrong type")
            .found(format!("{:?}", found.value_type()))
            .allowed(allowed)
    }

    fn dimension(&self, key: &str) -> Result<usize> {
        let number = self.number(key)?;
        if let Some(size) = usize::try_from(number).ok().filter(|n| (1..=DIMENSION_MAX).contains(n))
        {
            return Ok(size);
        }
        Err(self
            .key_error(key, "out of range")
            .found(number)
            .allowed(format!("1 to {DIMENSION_MAX}")))
    }

    fn dimension_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.content.metadata.contains_key(key) { self.dimension(key) } else { Ok(default) }
    }

    fn check_equal(&self, key: &str, expected: usize) -> Result<()> {
        let found = self.dimension_or(key, expected)?;
        if found == expected {
            return Ok(());
        }
        Err(self.key_error(key, "differs from the width of a head").found(found).allowed(expected))
    }

    /// Positions are turned as the model was trained; `prefix` is `ARCHITECTURE.rope`. As llama.cpp
    /// reads these keys: without a type a factor scales linearly, and 0 and 1 scale nothing.
    fn check_no_rope_scaling(&self, prefix: &str) -> Result<()> {
        let key = format!("{prefix}.scaling.type");
        match self.content.metadata.get(&key) {
            Some(Value::String(kind)) if kind == "none" => return Ok(()),
            Some(Value::String(kind)) if kind == "linear" => {}
            None => {}
            Some(other) => {
                let error = self.key_error(&key, "unsupported rotary scaling");
                return Err(error.found(format!("{other:?}")).allowed("none"));
            }
        }
        self.check_neutral(&format!("{prefix}.scaling.factor"), &[0.0, 1.0])?;
        self.check_neutral(&format!("{prefix}.scale_linear"), &[0.0, 1.0])
    }

    /// Refuses a number under `key` that would change what the model computes, and that this reader
    /// would otherwise leave out.
    fn check_neutral(&self, key: &str, neutral: &[f64]) -> Result<()> {
        let Some(value) = self.content.metadata.get(key) else { return Ok(()) };
        let number = match *value {
            Value::F32(number) => f64::from(number),
            Value::F64(number) => number,
            ref other => {
                let whole = whole_number(other);
                whole.ok_or_else(|| self.wrong_type(key, other, "a number"))? as f64
            }
        };
        if neutral.contains(&number) {
            return Ok(());
        }
        let allowed: Vec<String> = neutral.iter().map(f64::to_string).collect();
        Err(self.key_error(key, "not supported").found(number).allowed(allowed.join(" or ")))
    }

    fn positive(&self, key: &str) -> Result<f32> {
        match self.value(key)? {
            &Value::F32(number) if number > 0.0 && number.is_finite() => Ok(number),
            Value::F32(number) => {
                Err(self.key_error(key, "out of range").found(number).allowed("above 0"))
            }
            other => Err(self.wrong_type(key, other, "a 32-bit float")),
        }
    }

    /// The vocabulary's size is the embedding's, so that files without a tokenizer load too.
    fn vocabulary(&self, hidden: usize) -> Result<usize> {
        let name = EMBEDDING;
        let dims = self.dims(name)?;
        match *dims {
            [vocab, width] if width == hidden && (1..=DIMENSION_MAX).contains(&vocab) => Ok(vocab),
            _ => Err(self
                .tensor_error(name, "wrong shape")
                .found(format!("{dims:?}"))
                .allowed(format!("[1 to {DIMENSION_MAX}, {hidden}]"))),
        }
    }

    fn dims(&self, name: &str) -> Result<&[usize]> {
        let info = self.content.tensor_infos.get(name);
        Ok(info.ok_or_else(|| self.tensor_error(name, "missing"))?.shape.dims())
    }

    fn tensor_error(&self, name: &str, problem: &str) -> Error {
        Error::file(&self.path, problem).at(format!("tensor \"{name}\""))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Architecture {
    Llama,
    Qwen2,
}

impl Architecture {
    fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
        }
    }
}

/// Reads tensors one by one and remembers which: a tensor that nothing reads would change the
/// model's function if it were left out silently.
struct Tensors<'a> {
    gguf: &'a Gguf,
    file: File,
    used: BTreeSet<String>,
}

impl Tensors<'_> {
    fn layer(
        &mut self,
        layer: usize,
        config: &ModelConfig,
        architecture: Architecture,
    ) -> Result<DenseLayer> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (hidden, inner, head_dim) = (config.hidden, config.intermediate, config.head_dim);
        let (q_rows, kv_rows) = (config.heads * head_dim, config.kv_heads * head_dim);
        let half_split = |rows: Vec<f32>, width: usize| match architecture {
            Architecture::Llama => half_split_rows(&rows, head_dim, width),
            Architecture::Qwen2 => rows,
        };
        Ok(DenseLayer {
            attention_norm: self.vector(&name("attn_norm.weight"), hidden)?,
            q: half_split(self.matrix(&name("attn_q.weight"), q_rows, hidden)?, hidden),
            k: half_split(self.matrix(&name("attn_k.weight"), kv_rows, hidden)?, hidden),
            v: self.matrix(&name("attn_v.weight"), kv_rows, hidden)?,
            qkv_bias: self
                .qkv_bias(&name("attn_"), q_rows, kv_rows)?
                .map(|[q, k, v]| [half_split(q, 1), half_split(k, 1), v]),
            o: self.matrix(&name("attn_output.weight"), hidden, q_rows)?,
            mlp_norm: self.vector(&name("ffn_norm.weight"), hidden)?,
            gate: self.matrix(&name("ffn_gate.weight"), inner, hidden)?,
            up: self.matrix(&name("ffn_up.weight"), inner, hidden)?,
            down: self.matrix(&name("ffn_down.weight"), hidden, inner)?,
        })
    }

    fn qkv_bias(
        &mut self,
        prefix: &str,
        q_rows: usize,
        kv_rows: usize,
    ) -> Result<Option<[Vec<f32>; 3]>> {
        let Some(q) = self.optional(&format!("{prefix}q.bias"), &[q_rows])? else {
            return Ok(None);
        };
        let k = self.vector(&format!("{prefix}k.bias"), kv_rows)?;
        let v = self.vector(&format!("{prefix}v.bias"), kv_rows)?;
        Ok(Some([q, k, v]))
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Vec<f32>> {
        self.read(name, &[rows, columns])
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        self.read(name, &[length])
    }

    fn optional(&mut self, name: &str, dims: &[usize]) -> Result<Option<Vec<f32>>> {
        if !self.gguf.content.tensor_infos.contains_key(name) {
            return Ok(None);
        }
        self.read(name, dims).map(Some)
    }

    fn read(&mut self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        let found = self.gguf.dims(name)?;
        if found != dims {
            return Err(self
                .gguf
                .tensor_error(name, "wrong shape")
                .found(format!("{found:?}"))
                .allowed(format!("{dims:?}")));
        }
        self.used.insert(name.to_owned());
        self.gguf
            .content
            .tensor(&mut self.file, name, &Device::Cpu)
            .and_then(|tensor| tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1())
            .map_err(|e| self.gguf.tensor_error(name, "cannot be read").caused_by(e))
    }

    fn check_all_used(&self) -> Result<()> {
        let unknown: BTreeSet<&String> = self
            .gguf
            .content
            .tensor_infos
            .keys()
            .filter(|name| !self.used.contains(*name))
            .collect();
        match unknown.first() {
            None => Ok(()),
            Some(name) => Err(self.gguf.tensor_error(name, "of unknown use")),
        }
    }
}

/// `rows`, each `width` wide, with every head's rows brought from interleaved into half-split
/// order.
fn half_split_rows(rows: &[f32], head_dim: usize, width: usize) -> Vec<f32> {
    let mut split = Vec::with_capacity(rows.len());
    for head in rows.chunks_exact(head_dim * width) {
        for parity in 0..2 {
            for pair in 0..head_dim / 2 {
                let row = 2 * pair + parity;
                split.extend_from_slice(&head[row * width..][..width]);
            }
        }
    }
    split
}

fn squares(numbers: impl Iterator<Item = f32>) -> f64 {
    numbers.map(|number| f64::from(number) * f64::from(number)).sum()
}

fn whole_number(value: &Value) -> Option<u64> {
    match *value {
        Value::I8(n) => n.try_into().ok(),
        Value::I16(n) => n.try_into().ok(),
        Value::I32(n) => n.try_into().ok(),
        Value::I64(n) => n.try_into().ok(),
        ref unsigned => unsigned.to_u64().ok(),
    }
}

#[cfg(test)]
mod tests;
