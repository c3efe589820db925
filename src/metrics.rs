//! The names of all counters, and their rendering.

/// The Prometheus text of everything counted so far.
pub fn render() -> String {
    String::new()
}
