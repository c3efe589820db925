//! FLV tag bodies, plain and enhanced.
