//! What the tests of several algorithms need.

/// Fail unless these counts look drawn in proportion to these weights: Pearson's test, which a right algorithm fails once in
/// a million seeds.
pub(super) fn chi_square(counts: &[u64], weights: &[u64]) {
    let (drawn, total) = (counts.iter().sum::<u64>() as f64, weights.iter().sum::<u64>() as f64);
    let deviation = |(count, weight): (&u64, &u64)| {
        let expected = drawn * *weight as f64 / total;
        (*count as f64 - expected).powi(2) / expected
    };
    let chi_square: f64 = counts.iter().zip(weights).map(deviation).sum();
    // Wilson and Hilferty: the cube root of chi-square over its degrees of freedom is nearly normal. 4.75 is one in a million.
    let freedom = (counts.len() - 1).max(1) as f64;
    let spread = 2.0 / (9.0 * freedom);
    let limit = freedom * (1.0 - spread + 4.75 * spread.sqrt()).powi(3);
    println!("chi-square {chi_square:.1} of at most {limit:.1} over {} backends", counts.len());
    assert!(chi_square < limit, "{counts:?} for weights {weights:?}");
}
