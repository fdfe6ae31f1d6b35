//! Tests of the GGUF reader on files that candle writes.

use super::*;
use candle_core::Tensor;
use candle_core::quantized::{GgmlDType, QTensor, gguf_file};

type Metadata = Vec<(String, Value)>;

/// One layer of width 32: two groups of one head of width 4, and 64 neurons.
fn tiny(metadata_change: impl Fn(&mut Metadata)) -> Vec<u8> {
    let mut metadata: Metadata = [
        ("block_count", Value::U32(1)),
        ("context_length", Value::U32(64)),
        ("embedding_length", Value::U32(32)),
        ("feed_forward_length", Value::U32(64)),
        ("attention.head_count", Value::U32(2)),
        ("attention.head_count_kv", Value::U32(2)),
        ("attention.key_length", Value::U32(4)),
        ("rope.freq_base", Value::F32(10_000.0)),
        ("attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
    ]
    .map(|(key, value)| (format!("llama.{key}"), value))
    .to_vec();
    metadata.push(("general.architecture".into(), Value::String("llama".into())));
    metadata_change(&mut metadata);
    let shapes: [(&str, &[usize], GgmlDType); 11] = [
        ("token_embd.weight", &[5, 32], GgmlDType::Q8_0),
        ("output_norm.weight", &[32], GgmlDType::F32),
        ("blk.0.attn_norm.weight", &[32], GgmlDType::F32),
        ("blk.0.attn_q.weight", &[8, 32], GgmlDType::F32),
        ("blk.0.attn_k.weight", &[8, 32], GgmlDType::F16),
        ("blk.0.attn_v.weight", &[8, 32], GgmlDType::Q4_1),
        ("blk.0.attn_output.weight", &[32, 8], GgmlDType::F32),
        ("blk.0.ffn_norm.weight", &[32], GgmlDType::F32),
        ("blk.0.ffn_gate.weight", &[64, 32], GgmlDType::Q4_1),
        ("blk.0.ffn_up.weight", &[64, 32], GgmlDType::Q4_1),
        ("blk.0.ffn_down.weight", &[32, 64], GgmlDType::Q4_1),
    ];
    let tensors = shapes.map(|(name, dims, kind)| {
        let count: usize = dims.iter().product();
        let numbers: Vec<f32> = (0..count).map(|i| (i / 32) as f32).collect();
        let tensor = Tensor::from_vec(numbers, dims, &Device::Cpu).unwrap();
        (name, QTensor::quantize(&tensor, kind).unwrap())
    });
    let metadata: Vec<_> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let mut bytes = std::io::Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &metadata, &tensors).unwrap();
    bytes.into_inner()
}

fn load_bytes(bytes: &[u8]) -> Result<DenseModel, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, bytes).unwrap();
    load(&path).map_err(|e| e.to_string().replace(&format!("{}", path.display()), "FILE"))
}

fn set(key: &'static str, value: Value) -> impl Fn(&mut Metadata) {
    move |metadata| {
        metadata.retain(|(known, _)| known != key);
        metadata.push((key.into(), value.clone()));
    }
}

#[test]
fn rotary_rows_of_a_llama_become_half_split() {
    let model = load_bytes(&tiny(|_| ())).unwrap();
    assert_eq!((model.config.vocab, model.config.kv_heads), (5, 2));
    assert!(model.head.is_none());
    // Row i of the file is filled with i: heads (0 1 2 3) and (4 5 6 7).
    let first_of_row = |rows: &[f32]| rows.iter().step_by(32).copied().collect::<Vec<_>>();
    assert_eq!(first_of_row(&model.layers[0].q), [0., 2., 1., 3., 4., 6., 5., 7.]);
    assert_eq!(first_of_row(&model.layers[0].k), [0., 2., 1., 3., 4., 6., 5., 7.]);
    assert_eq!(first_of_row(&model.layers[0].v), [0., 1., 2., 3., 4., 5., 6., 7.]);
}

#[test]
fn rows_of_a_qwen2_stay_in_place() {
    let bytes = tiny(|metadata| {
        for (key, value) in metadata {
            *key = key.replace("llama.", "qwen2.");
            if key == "general.architecture" {
                *value = Value::String("qwen2".into());
            }
        }
    });
    let model = load_bytes(&bytes).unwrap();
    let rows: Vec<f32> = model.layers[0].q.iter().step_by(32).copied().collect();
    assert_eq!(rows, [0., 1., 2., 3., 4., 5., 6., 7.]);
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_never_a_panic() {
    let bytes = tiny(|_| ());
    assert!(load_bytes(&bytes).is_ok());
    let data_end = bytes.len() - 32; // the last block may be padding
    for length in (0..data_end).step_by(13) {
        assert!(load_bytes(&bytes[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn flipped_header_bytes_are_an_error_or_another_model_and_never_a_panic() {
    let bytes = tiny(|_| ());
    for place in 0..1600.min(bytes.len()) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 0xff;
        drop(load_bytes(&flipped));
    }
}

#[test]
fn errors_name_the_place_the_found_and_the_allowed() {
    let message = |change: &dyn Fn(&mut Metadata)| load_bytes(&tiny(change)).unwrap_err();
    assert_eq!(
        load_bytes(b"PK\x03\x04zip").unwrap_err(),
        "FILE, first four bytes: not a GGUF file; found PK\\x03\\x04; allowed: GGUF"
    );
    assert_eq!(
        message(&set("general.architecture", Value::String("bert".into()))),
        "FILE, key \"general.architecture\": unsupported architecture; found bert; \
         allowed: llama, qwen2"
    );
    assert_eq!(
        message(&set("llama.block_count", Value::U32(2))),
        "FILE, tensor \"blk.1.attn_norm.weight\": missing"
    );
    assert_eq!(
        message(&set("llama.feed_forward_length", Value::U32(65))),
        "FILE, tensor \"blk.0.ffn_gate.weight\": wrong shape; found [64, 32]; \
         allowed: [65, 32]"
    );
    assert_eq!(
        message(&set("llama.attention.head_count_kv", Value::U32(0))),
        "FILE, key \"llama.attention.head_count_kv\": out of range; found 0; \
         allowed: 1 to 1048576"
    );
    assert_eq!(
        message(&set("llama.rope.freq_base", Value::String("x".into()))),
        "FILE, key \"llama.rope.freq_base\": wrong type; found String; \
         allowed: a 32-bit float"
    );
    assert_eq!(
        message(&|metadata| metadata.retain(|(key, _)| key != "llama.context_length")),
        "FILE, key \"llama.context_length\": missing"
    );
}

/// The place of the kind of tensor `name` in `bytes`: behind its name, dimension count and two
/// dimensions.
fn place_of_kind(bytes: &[u8], name: &str) -> usize {
    let place = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    place + name.len() + 4 + 2 * 8
}

#[test]
fn weights_of_a_kind_that_the_reader_lacks_are_named_and_not_called_truncated() {
    let refusal = |kind: u32| {
        let mut bytes = tiny(|_| ());
        let place = place_of_kind(&bytes, "blk.0.ffn_gate.weight");
        bytes[place..place + 4].copy_from_slice(&kind.to_le_bytes());
        load_bytes(&bytes).unwrap_err()
    };
    assert_eq!(
        refusal(20),
        "FILE: weights of a type that is not supported; found IQ4_NL; allowed: F32, F16, BF16, \
         Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K"
    );
    assert!(refusal(39).contains("found MXFP4"), "{}", refusal(39));
    assert!(refusal(34).contains("found TQ1_0"), "{}", refusal(34));
    assert!(refusal(99).contains("found type 99"), "{}", refusal(99));
}

#[test]
fn keys_that_would_change_what_the_model_computes_are_refused_unless_they_are_neutral() {
    let message = |key, value| load_bytes(&tiny(set(key, value)));
    let accepted = [
        ("llama.rope.scale_linear", Value::F32(1.0)),
        ("llama.rope.scaling.type", Value::String("none".into())),
        ("llama.rope.scaling.factor", Value::F32(0.0)),
        ("llama.attention.sliding_window", Value::U32(0)),
    ];
    for (key, value) in accepted {
        message(key, value).unwrap();
    }
    assert_eq!(
        message("llama.rope.scale_linear", Value::F32(2.0)).unwrap_err(),
        "FILE, key \"llama.rope.scale_linear\": not supported; found 2; allowed: 0 or 1"
    );
    assert_eq!(
        message("llama.rope.scaling.type", Value::String("yarn".into())).unwrap_err(),
        "FILE, key \"llama.rope.scaling.type\": unsupported rotary scaling; \
         found String(\"yarn\"); allowed: none"
    );
    for (key, value) in [
        ("llama.rope.scaling.factor", Value::F32(4.0)),
        ("llama.attention.sliding_window", Value::U32(32)),
        ("llama.logit_scale", Value::F32(0.5)),
    ] {
        assert!(message(key, value).unwrap_err().contains(key));
    }
}

#[test]
fn an_alignment_of_nothing_is_an_error_and_no_division() {
    let refusal = load_bytes(&tiny(set("general.alignment", Value::U32(0)))).unwrap_err();
    assert_eq!(
        refusal,
        "FILE, key \"general.alignment\": out of range; found 0; allowed: 1 or more"
    );
    load_bytes(&tiny(set("general.alignment", Value::U32(32)))).unwrap();
}

#[test]
fn the_label_lists_kinds_by_weight() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, tiny(|_| ())).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(gguf.quantisation_label(), "Q4_1 + F16 + Q8_0 dequantised to f32");
    assert_eq!(gguf.name(), "tiny");
}
