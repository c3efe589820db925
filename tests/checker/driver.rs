//! Feeds a checker from a live URL.
