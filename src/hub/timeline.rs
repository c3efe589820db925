//! The output timeline.
