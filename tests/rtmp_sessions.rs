//! RTMP sessions over real sockets: publishing, refusals, takeover, goodbye, TLS, and the bounds of the listener.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod rtmp_support;

use std::sync::Arc;
use std::time::Duration;

use headwater::access::{Access, Key, StreamName};
use headwater::hub::{StreamState, Takeover};
use headwater::media::Codec;
use headwater::rtmp::Settings;
use headwater::rtmp::amf0::Value;
use headwater::rtmp::client::Event;
use headwater::rtmp::handshake::Style;
use rtmp_support::*;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

fn refused(event: Event) -> Refusal {
    match event {
        Event::Refused { code, description } => (code, description),
        Event::Started => panic!("started"),
    }
}

#[tokio::test]
async fn frames_arrive_as_they_were_sent() {
    let server = Server::open().await;
    for (i, style) in [Style::Plain, Style::DigestAt8, Style::DigestAt772].into_iter().enumerate() {
        let name = format!("show-{i}");
        let socket = TcpStream::connect(server.address).await.unwrap();
        let mut publisher = Publisher::start(socket, "live", &name, style).await.unwrap();
        publisher.client.metadata(Value::EcmaArray(vec![("encoder".into(), Value::text("test"))]));
        publisher.begin().await;
        let mut frames = server.frames(&name);
        publisher.picture(40, 100_000).await;
        publisher.sound(46).await;
        let picture = picture_of(&mut frames, 100_004).await;
        assert!(picture.key && picture.config.codec() == Codec::H264);
        let sound = picture_of(&mut frames, 3).await;
        assert_eq!(sound.config.codecs(), "mp4a.40.2");
        let source = server.hub.stream(&name).unwrap().status().source;
        assert_eq!((source.protocol, source.client.as_str()), ("rtmp", "FMLE/3.0 (test)"));
    }
}

#[tokio::test]
async fn a_goodbye_ends_the_stream_and_a_lost_connection_does_not() {
    let server = Server::open().await;
    let (mut polite, mut frames) = Publisher::live(&server, "polite").await;
    polite.client.goodbye();
    polite.flush().await;
    while timeout(SOON, frames.next()).await.unwrap().unwrap().is_some() {}
    assert!(server.hub.stream("polite").is_none());

    let (lost, _frames) = Publisher::live(&server, "lost").await;
    drop(lost);
    let waiting = async {
        while server.hub.stream("lost").unwrap().state() != StreamState::Waiting {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, waiting).await.unwrap();
    let (mut back, mut frames) = Publisher::live(&server, "lost").await;
    assert_goes_on(&mut back, &mut frames, 40).await;
}

#[tokio::test]
async fn the_newest_takes_over_and_the_loser_is_told_by_whom() {
    let server = Server::open().await;
    let (mut old, _frames) = Publisher::live(&server, "show").await;
    let (mut new, mut frames) = Publisher::live(&server, "show").await;
    let (code, description) = refused(old.event().await);
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(description.starts_with("another publisher from 127.0.0.1:"), "{description}");
    assert_goes_on(&mut new, &mut frames, 40).await;
}

#[tokio::test]
async fn a_name_in_use_is_refused_where_the_older_one_wins() {
    let server = Server::start(Settings::default(), Access::default(), Takeover::Reject).await;
    let (mut old, mut frames) = Publisher::live(&server, "show").await;
    let (code, description) = Publisher::connect(&server, "show").await.err().unwrap();
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(description.contains("already being published from 127.0.0.1:"), "{description}");
    assert_goes_on(&mut old, &mut frames, 40).await;
}

#[tokio::test]
async fn keys_are_checked_and_never_repeated() {
    let keys = vec![Key::publish(Some(StreamName::new("show").unwrap()), "s3cret")];
    let server = Server::start(Settings::default(), Access::new(keys), Takeover::Newest).await;
    for wrong in ["show", "show?key=wr0ng", "other?key=s3cret"] {
        let (code, description) = Publisher::connect(&server, wrong).await.err().unwrap();
        assert_eq!(code, "NetStream.Publish.Denied", "{wrong}");
        assert!(!description.contains("wr0ng") && !description.contains("s3cret"));
    }
    for right in ["show?key=s3cret", "s3cret"] {
        Publisher::connect(&server, right).await.map_err(|refusal| panic!("{refusal:?}")).unwrap();
    }
    let socket = TcpStream::connect(server.address).await.unwrap();
    Publisher::start(socket, "live?key=s3cret", "show", Style::Plain).await.map(drop).unwrap();
}

#[tokio::test]
async fn other_applications_and_players_are_told_where_to_go() {
    let server = Server::open().await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (code, text) = Publisher::start(socket, "vod", "show", Style::Plain).await.err().unwrap();
    assert_eq!(code, "NetConnection.Connect.Rejected");
    assert!(text.contains("/live"), "{text}");
    let mut player = Raw::connected(&server).await;
    player.call("play", &[Value::Null, Value::text("show")]).await;
    let (code, text) = player.refusal().await;
    assert_eq!(code, "NetStream.Play.Failed");
    assert!(text.contains("/watch/NAME"), "{text}");
}

#[tokio::test]
async fn shutting_down_tells_publishers_and_ends() {
    let server = Server::open().await;
    let (mut publisher, _frames) = Publisher::live(&server, "show").await;
    server.hub.drain();
    let (code, text) = refused(publisher.event().await);
    assert_eq!(code, "NetStream.Failed");
    assert!(text.contains("shutting down"), "{text}");
    let (_, text) = Publisher::connect(&server, "show").await.err().unwrap();
    assert!(text.contains("shutting down"), "{text}");
    server.stop.cancel();
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_others_go_on() {
    let settings = Settings { max_connections: 3, ..Settings::default() };
    let server = Server::start(settings, Access::default(), Takeover::Newest).await;
    let (mut publisher, mut frames) = Publisher::live(&server, "show").await;
    let _held = [Raw::shaken(&server).await, Raw::shaken(&server).await];
    let mut surplus = TcpStream::connect(server.address).await.unwrap();
    let closed = timeout(SOON, surplus.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    assert_goes_on(&mut publisher, &mut frames, 40).await;
}

#[tokio::test]
async fn who_does_not_publish_in_time_is_told_and_closed() {
    let settings = Settings { start_timeout: Duration::from_millis(300), ..Settings::default() };
    let server = Server::start(settings, Access::default(), Takeover::Newest).await;
    assert!(Raw::connect(&server).await.until_closed().await.is_empty(), "silence");
    let (code, text) = Raw::shaken(&server).await.refusal().await;
    assert_eq!(code, "NetStream.Failed");
    assert!(text.contains("not publishing"), "{text}");
}

#[tokio::test]
async fn the_same_over_tls() {
    let cert = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(cert.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.cert.der().clone()], key)
        .unwrap();
    let settings = Settings { start_timeout: Duration::from_secs(2), ..Settings::default() };
    let server = Server::start_with(settings, Access::default(), Takeover::Newest, Some(Arc::new(config))).await;

    let silent = Raw::connect(&server).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let socket = TcpStream::connect(server.address).await.unwrap();
    let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    let mut publisher = Publisher::start(stream, "live", "show", Style::DigestAt8).await.unwrap();
    publisher.begin().await;
    let mut frames = server.frames("show");
    publisher.picture(40, 200_000).await;
    picture_of(&mut frames, 200_004).await;
    assert_eq!(server.hub.stream("show").unwrap().status().source.protocol, "rtmps");

    let mut plain = Raw::connect(&server).await;
    plain.send(&[3; 2000]).await;
    plain.until_closed().await;
    silent.until_closed().await;
}
