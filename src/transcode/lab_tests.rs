//! Workers that hang, that die, and that are not there at all.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::media::{AudioConfig, Codec, Config};
use crate::transcode::wire::ListenOrder;

/// A program that does this instead of a worker's work.
fn program(folder: &TempDir, does: &str) -> Program {
    let path = folder.path().join("worker");
    // Written by another process: a file that this one has open for writing, if only in a child that another test has just
    // forked, cannot be run.
    let written = std::process::Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod +x \"$2\"", "sh", does])
        .arg(&path)
        .status();
    assert!(written.unwrap().success());
    Program { path, registry: None }
}

async fn asked(lab: &mut Lab, epoch: u64) -> Option<()> {
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
    lab.ask(epoch, order, read).await
}

#[tokio::test]
async fn a_worker_that_dies_is_replaced_with_the_next_order() {
    let folder = TempDir::new().unwrap();
    let count = folder.path().join("count");
    let mut lab = Lab::new(program(&folder, &format!("echo >> {}", count.display())), 0);
    for starts in 1..=3 {
        assert_eq!(asked(&mut lab, starts).await, None);
        assert!(lab.worker.is_none());
        assert_eq!(lines(&count), starts);
    }
}

fn lines(file: &Path) -> u64 {
    std::fs::read_to_string(file).unwrap().lines().count() as u64
}

#[tokio::test]
async fn a_stream_that_no_worker_survives_rests() {
    let folder = TempDir::new().unwrap();
    let count = folder.path().join("count");
    let mut lab = Lab::new(program(&folder, &format!("echo >> {}", count.display())), 0);
    for starts in [1, 2, 2, 2] {
        assert_eq!(asked(&mut lab, 7).await, None);
        assert_eq!(lines(&count), starts);
    }
    asked(&mut lab, 8).await;
    assert_eq!(lines(&count), 3, "the others go on");
    tokio::time::pause();
    tokio::time::advance(REST).await;
    tokio::time::resume();
    asked(&mut lab, 7).await;
    assert_eq!(lines(&count), 4, "it is tried again");
    asked(&mut lab, 7).await;
    assert_eq!(lines(&count), 4, "once");
}

#[tokio::test]
async fn streams_that_are_over_are_forgotten() {
    let mut lab = Lab::new(Program { path: PathBuf::from("/nowhere/headwater"), registry: None }, 0);
    tokio::time::pause();
    for epoch in 0..500 {
        lab.lose(epoch);
        tokio::time::advance(PATIENCE).await;
    }
    assert!(lab.lost.len() <= 2 * REST.as_secs() as usize / PATIENCE.as_secs() as usize + 1, "{}", lab.lost.len());
}

#[tokio::test]
async fn a_worker_that_hangs_is_given_up_and_killed() {
    let folder = TempDir::new().unwrap();
    let mut lab = Lab::new(program(&folder, "exec sleep 600"), 0);
    tokio::time::pause();
    let begun = Instant::now();
    let asking = asked(&mut lab, 1);
    assert_eq!(asking.await, None);
    assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    assert!(lab.worker.is_none());
}

#[tokio::test]
async fn a_program_that_is_not_there_costs_the_answer_alone() {
    let mut lab = Lab::new(Program { path: PathBuf::from("/nowhere/headwater"), registry: None }, 0);
    assert_eq!(asked(&mut lab, 1).await, None);
    assert_eq!(asked(&mut lab, 1).await, None);
}
