//! The checker's own tests: a presentation made of values breaks no rule, and one change at a time must break exactly
//! one. A checker that cannot fail is a defect.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
#[path = "mod.rs"]
mod checker;
mod readers;
mod scene;

use std::collections::BTreeSet;

use checker::{Checker, Rule};
use scene::{INDEX, Scene};

fn broken(scene: &Scene) -> (Checker, BTreeSet<Rule>) {
    let mut checker = Checker::new(INDEX);
    for seen in scene.play() {
        checker.observe(seen);
    }
    checker.finish();
    let rules = checker.ledger().violations().iter().map(|v| v.rule).collect();
    (checker, rules)
}

#[test]
fn a_good_presentation_breaks_nothing_and_every_rule_is_checked() {
    let (checker, _) = broken(&Scene::default());
    let ledger = checker.ledger();
    let found: Vec<String> = ledger.violations().iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    let idle: Vec<&str> = Rule::ALL.iter().filter(|r| ledger.checked(**r) == 0).map(|r| r.name()).collect();
    assert!(idle.is_empty(), "never checked: {idle:?}");
    assert!(checker.unexplained().is_empty(), "{:?}", checker.unexplained());
}

#[test]
fn every_case_breaks_exactly_its_rule() {
    let mut wrong = Vec::new();
    for (rule, what, scene) in cases::all() {
        let (checker, rules) = broken(&scene);
        if rules != BTreeSet::from([rule]) {
            let found: Vec<String> = checker.ledger().violations().iter().take(4).map(ToString::to_string).collect();
            wrong.push(format!("{} ({what}) broke {rules:?}:\n    {}", rule.name(), found.join("\n    ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_case() {
    let covered: BTreeSet<Rule> = cases::all().into_iter().map(|(rule, ..)| rule).collect();
    let missing: Vec<&str> = Rule::ALL.iter().filter(|r| !covered.contains(r)).map(|r| r.name()).collect();
    assert!(missing.is_empty(), "without a case that breaks them: {missing:?}");
}
