//! Finding what was counted in Prometheus' text format.

/// The sum of the samples that `wanted` names: `name`, or `name{label="value",…}`, where labels that are not given may be
/// anything.
pub(super) fn sum(text: &str, wanted: &str) -> f64 {
    let (name, labels) = parts(wanted);
    let value = |line: &str| {
        let (sample, value) = line.rsplit_once(' ')?;
        let (it, has) = parts(sample);
        let fits = it == name && labels.iter().all(|label| has.contains(label));
        fits.then(|| value.parse().ok()).flatten()
    };
    text.lines().filter_map(value).fold(0.0, |sum, value: f64| sum + value)
}

/// The name of a sample, and its labels with their values.
fn parts(sample: &str) -> (&str, Vec<&str>) {
    match sample.trim().split_once('{') {
        Some((name, labels)) => {
            let labels = labels.trim_end_matches('}').split(',').map(str::trim);
            (name, labels.filter(|label| !label.is_empty()).collect())
        }
        None => (sample.trim(), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a A.\n# TYPE a counter\na{pool=\"x\",code=\"2xx\"} 2\na{pool=\"y\",code=\"2xx\"} 3\n\
        a{pool=\"y\",code=\"5xx\"} 4\nab 8\n";

    #[test]
    fn labels_that_are_not_given_may_be_anything() {
        for (wanted, found) in [
            ("a", 9.0),
            ("a{}", 9.0),
            ("a{pool=\"y\"}", 7.0),
            ("a{code=\"2xx\", pool=\"y\"}", 3.0),
            ("ab", 8.0),
            ("abc", 0.0),
        ] {
            assert_eq!(sum(TEXT, wanted), found, "{wanted}");
        }
    }
}
