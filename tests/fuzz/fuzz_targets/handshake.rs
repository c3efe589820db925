//! Any bytes as a client's handshake, and as a server's answer to one.
#![no_main]

use bytes::BytesMut;
use headwater::rtmp::handshake::{Client, Server, Style};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut out = BytesMut::new();
    let _ = Server::new(1).advance(&mut BytesMut::from(data), &mut out);
    assert!(out.len() <= 1 + 2 * 1536);
    let _ = Client::start(1, Style::DigestAt8, &mut out).advance(&mut BytesMut::from(data), &mut out);
});
