use super::*;

/// Of 100 ms foretold, measured under a plan of this level.
fn answer(method: &str, level: u16, measured: f64, met: [f64; 3], grades: [f64; 2]) -> Answer {
    let (predicted, middle, is_covered) = (100.0, 110.0, measured < 115.0);
    let ttft = Some(Time { predicted, measured, middle, is_covered });
    let method = method.to_owned();
    Answer { method, level, tokens: 64, ttft, tpot: None, met, grades }
}

#[test]
fn errors_are_of_what_was_foretold_and_the_floor_of_the_median() {
    let answers = [
        answer("a", 100, 110.0, [1.0, 0.75, 1.0], [1.0, 1.0]),
        answer("a", 100, 121.0, [1.0, 0.75, 0.0], [1.0, 1.0]),
        answer("b", 50, 90.0, [0.0, 0.25, 0.0], [1.0, 0.0]),
    ];
    let fidelity = Fidelity::over(2, &answers);
    let names: Vec<_> = fidelity.rows.iter().map(|row| (row.by, row.name.as_str())).collect();
    let groups = [
        ("all", "all"),
        ("method", "a"),
        ("method", "b"),
        ("level", "100"),
        ("level", "50"),
        ("tokens", "1 to 64"),
    ];
    assert_eq!(names, groups);
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
    let row = &fidelity.rows[1];
    near(row.ttft.bias, 15.5);
    near(row.ttft.error, 15.5);
    near(row.ttft.floor, 5.0);
    near(row.ttft.covered, 50.0);
    let shares = [row.attainment_as_forecast, row.attainment_predicted, row.attainment_measured];
    shares.into_iter().zip([100.0, 75.0, 50.0]).for_each(|(found, expected)| near(found, expected));
    near(row.accuracy_predicted, 75.0);
    near(row.accuracy_measured, 50.0);
    near(fidelity.rows[0].ttft.bias, 7.0);
    near(fidelity.rows[0].ttft.error, 41.0 / 3.0);
    assert_eq!(row.tpot, PhaseFit::default());
    assert_eq!(
        fidelity.orders,
        [["a", "b"], ["a", "b"]].map(|order| order.map(str::to_owned).to_vec())
    );
}

/// Of six pairs of methods five stand in one order: τ = (5 − 1) / 6.
#[test]
fn kendalls_tau_counts_pairs_in_one_order() {
    let of = |ours: [f64; 4], theirs: [f64; 4]| {
        kendall(&ours.into_iter().zip(theirs).collect::<Vec<_>>())
    };
    assert_eq!(of([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]), Some(1.0));
    assert_eq!(of([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]), Some(-1.0));
    let swapped = of([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]).unwrap();
    assert!((swapped - 4.0 / 6.0).abs() < 1e-12);
    assert_eq!(of([1.0, 2.0, 3.0, 4.0], [1.0; 4]), None);
}

#[test]
fn one_run_has_no_floor() {
    let error = Fidelity::of(&["run".into()], Path::new("device")).unwrap_err().to_string();
    insta::assert_snapshot!(error, @"real runs: too few to know their noise floor; found 1; allowed: two or more results folders of one experiment");
}
