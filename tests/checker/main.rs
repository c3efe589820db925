//! The checker's own tests: a small server made of values gives a session without fault, and one change at a time must
//! break exactly one rule. A checker that cannot fail is a defect.

#[path = "mod.rs"]
mod checker;
