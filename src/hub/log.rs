//! The frame log.
/// Log.
pub struct Log<T>(T);
/// Cursor.
pub struct Cursor<T>(T);
/// Lagged.
pub struct Lagged;
