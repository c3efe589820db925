//! Builds and wires everything in order; drains on shutdown.
