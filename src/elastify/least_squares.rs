//! Least squares under a bound on the rank: the matrix `A·B` of rank r that maps inputs to targets
//! with the least squared error.
//!
//! With centred inputs X and targets Y, `G = XᵀX + λ` and `C = XᵀY`, the best matrix of full rank
//! is G⁻¹C, and of rank r it is G⁻¹C·V·Vᵀ, where V spans the r leading eigenvectors of CᵀG⁻¹C
//! (reduced-rank regression: Izenman, 1975). V comes from orthogonal iteration.

use candle_core::{DType, Device, Tensor};
use rand::RngExt;

use crate::rng;

/// λ as a share of G's mean diagonal: enough to make it invertible, too little to bend the answer.
const RIDGE: f64 = 1e-3;
/// Rounds of orthogonal iteration.
const ROUNDS: usize = 24;

/// `A` `[inputs, rank]`, `B` `[rank, targets]` and a bias `[targets]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LowRank {
    pub a: Vec<f32>,
    pub b: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Fits `x·A·B + bias` of rank `rank` to `y`; `x` `[samples, inputs]`, `y` `[samples, targets]`.
/// `seed` starts the iteration and is forgotten by its end.
pub(super) fn fit(x: &Tensor, y: &Tensor, rank: usize, seed: u64) -> candle_core::Result<LowRank> {
    let (mean_x, mean_y) = (x.mean_keepdim(0)?, y.mean_keepdim(0)?);
    let (x, y) = (x.broadcast_sub(&mean_x)?, y.broadcast_sub(&mean_y)?);
    let transposed = x.t()?.contiguous()?;
    let gram = transposed.matmul(&x)?.to_dtype(DType::F64)?;
    let cross = transposed.matmul(&y)?.to_dtype(DType::F64)?;
    let inverse = inverse(&gram)?;
    let targets = y.dim(1)?;
    let mut random = rng::stream(seed, "start of an orthogonal iteration");
    let start = (0..rank * targets).map(|_| random.random::<f64>() - 0.5).collect();
    let mut rows = orthonormal(start, targets);
    let back = cross.t()?.contiguous()?;
    for _ in 0..ROUNDS {
        let basis = Tensor::from_slice(&rows, (rank, targets), &Device::Cpu)?;
        let next = back.matmul(&inverse.matmul(&cross.matmul(&basis.t()?)?)?)?;
        rows = orthonormal(next.t()?.contiguous()?.flatten_all()?.to_vec1()?, targets);
    }
    let b = Tensor::from_vec(rows, (rank, targets), &Device::Cpu)?;
    let a = inverse.matmul(&cross.matmul(&b.t()?)?)?;
    let shift = mean_x.to_dtype(DType::F64)?.matmul(&a)?.matmul(&b)?;
    let bias = (mean_y.to_dtype(DType::F64)? - shift)?;
    let values = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1();
    Ok(LowRank { a: values(&a)?, b: values(&b)?, bias: values(&bias)? })
}

/// The inverse of a symmetric matrix with a ridge, by Cholesky: `LLᵀ = G` and `G⁻¹ = L⁻ᵀL⁻¹`.
fn inverse(gram: &Tensor) -> candle_core::Result<Tensor> {
    let size = gram.dim(0)?;
    let mut rows: Vec<Vec<f64>> = gram.to_vec2()?;
    let trace: f64 = (0..size).map(|i| rows[i][i]).sum();
    let ridge = RIDGE * trace.max(f64::MIN_POSITIVE) / size as f64;
    for i in 0..size {
        let (above, rest) = rows.split_at_mut(i);
        let row = &mut rest[0];
        for (j, other) in above.iter().enumerate() {
            row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
        }
        row[i] = (row[i] + ridge - dot(&row[..i], &row[..i])).sqrt();
    }
    let mut inverse = vec![vec![0.0; size]; size];
    for i in 0..size {
        let (above, rest) = inverse.split_at_mut(i);
        let row = &mut rest[0];
        for (k, other) in above.iter().enumerate() {
            let factor = rows[i][k];
            row[..=k].iter_mut().zip(&other[..=k]).for_each(|(x, other)| *x -= factor * other);
        }
        row[i] = 1.0;
        for x in &mut row[..=i] {
            *x /= rows[i][i];
        }
    }
    let lower = Tensor::from_vec(inverse.concat(), (size, size), &Device::Cpu)?;
    lower.t()?.contiguous()?.matmul(&lower)
}

/// Makes the rows of `matrix`, `columns` values each, orthonormal (modified Gram-Schmidt). A row
/// that depends on those before it becomes zero.
fn orthonormal(mut matrix: Vec<f64>, columns: usize) -> Vec<f64> {
    for start in (0..matrix.len()).step_by(columns) {
        let (before, rest) = matrix.split_at_mut(start);
        let row = &mut rest[..columns];
        let length = dot(row, row).sqrt();
        for other in before.chunks_exact(columns) {
            let share = dot(row, other);
            row.iter_mut().zip(other).for_each(|(x, o)| *x -= share * o);
        }
        let left = dot(row, row).sqrt();
        let scale = if left > 1e-9 * length { 1.0 / left } else { 0.0 };
        for x in row {
            *x *= scale;
        }
    }
    matrix
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix<const N: usize>(rows: &[[f32; N]]) -> Tensor {
        Tensor::from_slice(rows.as_flattened(), (rows.len(), N), &Device::Cpu).unwrap()
    }

    #[test]
    fn the_inverse_of_two_by_two_is_the_one_by_hand() {
        // [[4, 2], [2, 3]] has determinant 8 and inverse [[3, −2], [−2, 4]] / 8; the ridge is
        // small.
        let gram = Tensor::new(&[[4.0_f64, 2.0], [2.0, 3.0]], &Device::Cpu).unwrap();
        let found: Vec<Vec<f64>> = inverse(&gram).unwrap().to_vec2().unwrap();
        for (found, expected) in found.concat().iter().zip([0.375, -0.25, -0.25, 0.5]) {
            assert!((found - expected).abs() < 2e-3, "{found} is not {expected}");
        }
    }

    #[test]
    fn rows_become_orthonormal_and_dependent_ones_zero() {
        let found = orthonormal(vec![3.0, 4.0, 6.0, 8.0, 4.0, 3.0], 2);
        let expected = [0.6, 0.8, 0.0, 0.0, 0.8, -0.6];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_map_of_the_rank_is_found_and_a_bias_with_it() {
        // y = (x₀ − x₁)·(1, 2, −1) + (5, 0, 7): rank 1.
        let inputs = [[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [3.0, -1.0], [-2.0, 4.0_f32]];
        let target = |[p, q]: [f32; 2]| [p - q + 5.0, 2.0 * (p - q), q - p + 7.0];
        let fit = fit(&matrix(&inputs), &matrix(&inputs.map(target)), 1, 1).unwrap();
        for [p, q] in inputs {
            let low = p * fit.a[0] + q * fit.a[1];
            for (column, expected) in target([p, q]).into_iter().enumerate() {
                let found = low * fit.b[column] + fit.bias[column];
                assert!((found - expected).abs() < 0.05, "{found} is not {expected}");
            }
        }
    }

    #[test]
    fn a_lower_rank_keeps_the_direction_that_explains_most() {
        // y₀ = 10·x₀ and y₁ = x₁ on independent inputs: rank 1 keeps the first and the mean of the
        // second.
        let inputs = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0_f32]];
        let targets = inputs.map(|[p, q]| [10.0 * p, q]);
        let fit = fit(&matrix(&inputs), &matrix(&targets), 1, 1).unwrap();
        let of = |row: usize, column: usize| fit.a[row] * fit.b[column];
        assert!((of(0, 0) - 10.0).abs() < 0.05 && of(1, 1).abs() < 0.05);
        assert!(fit.bias.iter().all(|bias| bias.abs() < 1e-6));
    }
}
