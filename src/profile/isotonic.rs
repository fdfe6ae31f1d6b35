//! Isotonic regression: times that have to rise and were measured.

/// Makes `values` the rising ones nearest to them by squares: neighbours that fall become their
/// mean.
pub fn rise(values: &mut [f64]) {
    // Mean and number of those that were pooled.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for &value in values.iter() {
        pools.push((value, 1));
        while let [.., (before, of_before), (last, of_last)] = pools[..]
            && before > last
        {
            let count = of_before + of_last;
            let sum = before * of_before as f64 + last * of_last as f64;
            pools.truncate(pools.len() - 2);
            pools.push((sum / count as f64, count));
        }
    }
    let risen = pools.into_iter().flat_map(|(mean, count)| std::iter::repeat_n(mean, count));
    values.iter_mut().zip(risen).for_each(|(value, risen)| *value = risen);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 50 before 40 and 30 is pooled with both, as 40 is; 72 before 50 as well.
    #[test]
    fn neighbours_that_fall_become_their_mean() {
        let check = |mut values: Vec<f64>, expected: &[f64]| {
            rise(&mut values);
            let near = |(found, expected): (&f64, &f64)| (found - expected).abs() < 1e-12;
            assert!(values.iter().zip(expected).all(near), "{values:?}");
        };
        check(vec![10.0, 50.0, 40.0, 30.0, 72.0, 50.0], &[10.0, 40.0, 40.0, 40.0, 61.0, 61.0]);
        check(vec![1.0, 2.0, 2.0], &[1.0, 2.0, 2.0]);
        check(vec![1.0, 5.0, 3.0, 4.0, 9.0], &[1.0, 4.0, 4.0, 4.0, 9.0]);
    }
}
