//! Weights to 8 bits: one scale per output, symmetric, so that zero stays zero.

/// A matrix as an integer kernel reads it: `values` row-major `[inputs, outputs]`, and per output
/// the factor that gives numbers back.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantised {
    pub values: Vec<i8>,
    pub scales: Vec<f32>,
}

impl Quantised {
    /// The same numbers without a sign, and what stands for zero.
    pub fn unsigned(&self) -> (Vec<u8>, u8) {
        const ZERO: u8 = 128;
        (self.values.iter().map(|&value| ZERO.wrapping_add_signed(value)).collect(), ZERO)
    }
}

/// Whether this processor multiplies unsigned bytes with signed ones exactly.
///
/// ONNX Runtime's fastest kernel for them on x86-64 without VNNI instructions adds pairs of
/// products in 16 bits, which two large ones overflow, so that a prompt would be cut otherwise
/// there than elsewhere. Weights without a sign take another kernel, exact and slower.
pub fn signed_is_exact() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512vnni")
            || std::arch::is_x86_feature_detected!("avxvnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        true
    }
}

/// Quantises `weight`, `[outputs, inputs]` row-major, and transposes it.
///
/// The largest magnitude of an output becomes 127; an output of zeros has scale 1.
pub fn per_output(weight: &[f32], inputs: usize) -> Quantised {
    let outputs = weight.len() / inputs;
    let mut values = vec![0; weight.len()];
    let mut scales = Vec::with_capacity(outputs);
    for (output, row) in weight.chunks_exact(inputs).enumerate() {
        let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        for (input, value) in row.iter().enumerate() {
            values[input * outputs + output] = (value / scale).round() as i8;
        }
        scales.push(scale);
    }
    Quantised { values, scales }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_output_has_its_own_scale_and_the_matrix_is_transposed() {
        // Rows (1.27, −0.635) and (0, 254): scales 0.01 and 2; −63.5 rounds away from zero.
        let quantised = per_output(&[1.27, -0.635, 0.0, 254.0], 2);
        assert_eq!(quantised.values, [127, 0, -64, 127]);
        assert!((quantised.scales[0] - 0.01).abs() < 1e-8);
        assert!((quantised.scales[1] - 2.0).abs() < 1e-6);
        assert_eq!(per_output(&[0.0, 0.0], 2).scales, [1.0]);
        assert_eq!(quantised.unsigned(), (vec![255, 128, 64, 255], 128));
    }
}
