//! Small statistics that the checks share.

/// The middle value.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    share(values, 1, 2)
}

/// The value that `numerator / denominator` of all are below.
pub(super) fn share(values: &[f64], numerator: usize, denominator: usize) -> Option<f64> {
    let mut values = values.to_vec();
    let at = (values.len() * numerator / denominator.max(1)).min(values.len().checked_sub(1)?);
    let (_, value, _) = values.select_nth_unstable_by(at, f64::total_cmp);
    Some(*value)
}
