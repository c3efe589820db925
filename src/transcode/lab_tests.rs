//! Workers that hang, that die, and that are not there at all.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::media::{AudioConfig, Codec, Config};
use crate::transcode::wire::ListenOrder;

/// A program that does this instead of a worker's work.
fn program(folder: &TempDir, does: &str) -> Program {
    let path = folder.path().join("worker");
    std::fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    Program { path, registry: None }
}

async fn asked(lab: &mut Lab) -> Option<()> {
    let config = Config::Audio(AudioConfig {
        codec: Codec::Aac,
        record: Bytes::new(),
        sample_rate: 48_000,
        channels: 2,
        frame_samples: Some(1_024),
        codecs: "mp4a.40.2".to_owned(),
    });
    let order = |id| ToWorker::Listen(ListenOrder { id, config, frames: vec![Bytes::from_static(b"sound")] });
    let read = |message| match message {
        FromWorker::Heard(heard) => Some((heard.id, ())),
        _ => None,
    };
    lab.ask(order, read).await
}

#[tokio::test]
async fn a_worker_that_dies_is_replaced_with_the_next_order() {
    let folder = TempDir::new().unwrap();
    let count = folder.path().join("count");
    let mut lab = Lab::new(program(&folder, &format!("echo >> {}", count.display())), 0);
    for starts in 1..=3 {
        assert_eq!(asked(&mut lab).await, None);
        assert!(lab.worker.is_none());
        assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), starts);
    }
}

#[tokio::test]
async fn a_worker_that_hangs_is_given_up_and_killed() {
    let folder = TempDir::new().unwrap();
    let mut lab = Lab::new(program(&folder, "exec sleep 600"), 0);
    tokio::time::pause();
    let begun = Instant::now();
    let asking = asked(&mut lab);
    assert_eq!(asking.await, None);
    assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    assert!(lab.worker.is_none());
}

#[tokio::test]
async fn a_program_that_is_not_there_costs_the_answer_alone() {
    let mut lab = Lab::new(Program { path: PathBuf::from("/nowhere/headwater"), registry: None }, 0);
    assert_eq!(asked(&mut lab).await, None);
    assert_eq!(asked(&mut lab).await, None);
}
