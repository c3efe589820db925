//! The conversation, message by message and against the client of this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use crate::rtmp::client::{self, Client, Target};
use crate::rtmp::handshake::{PACKET, Style};
use crate::rtmp::message::{PING_REQUEST, PING_RESPONSE};

/// A server behind its handshake, and what a client needs to talk to it message by message.
struct Talk {
    server: Protocol,
    writer: Writer,
    reader: Reader,
}

impl Talk {
    fn start() -> Talk {
        let mut server = Protocol::new("live", Limits::default(), 1);
        let mut hello = BytesMut::from(&[3][..]);
        hello.resize(1 + 2 * PACKET, 0);
        assert!(server.next(&mut hello).unwrap().is_none());
        assert!(server.is_handshaken());
        assert_eq!(server.output().split().len(), 1 + 2 * PACKET);
        Talk { server, writer: Writer::default(), reader: Reader::new(Limits::default()) }
    }

    fn connected() -> Talk {
        let mut talk = Talk::start();
        talk.call(
            0,
            "connect",
            1.0,
            &[Value::object([("app", Value::text("live")), ("flashVer", Value::text("FMLE"))])],
        )
        .unwrap();
        talk.call(0, "createStream", 2.0, &[Value::Null]).unwrap();
        talk.answers();
        talk
    }

    fn publishing() -> Talk {
        let mut talk = Talk::connected();
        let event = talk.call(1, "publish", 5.0, &[Value::Null, Value::text("show?key=s"), Value::text("live")]);
        assert!(matches!(event, Ok(Some(Event::Publish(_)))));
        talk.server.accept();
        talk.answers();
        talk
    }

    fn send(&mut self, message: &Message) -> Result<Option<Event>, Error> {
        let mut bytes = BytesMut::new();
        self.writer.write(3, message, &mut bytes);
        self.server.next(&mut bytes)
    }

    fn call(&mut self, stream: u32, name: &str, n: f64, arguments: &[Value]) -> Result<Option<Event>, Error> {
        self.send(&command::call(stream, name, n, arguments))
    }

    fn heard(&mut self) -> Vec<Message> {
        let mut bytes = self.server.output().split();
        std::iter::from_fn(|| self.reader.next(&mut bytes).unwrap()).collect()
    }

    /// The commands the server sent.
    fn answers(&mut self) -> Vec<Command> {
        let commands = self.heard().into_iter().filter(|m| m.kind == MessageType::Command);
        commands.map(|m| Command::parse(m.kind, &m.payload).unwrap().unwrap()).collect()
    }

    /// The code and description of the last thing the server said.
    fn status(&mut self) -> (String, String, String) {
        let last = self.answers().pop().unwrap();
        let text = |key| last.arguments[1].get(key).unwrap().as_str().unwrap().to_owned();
        (last.name.clone(), text("code"), text("description"))
    }
}

/// Runs our client against the server; returns the key that was asked for.
fn publish(style: Style, chunk_size: u32) -> (Protocol, Client, Request) {
    let target = Target {
        app: "live".into(),
        url: "rtmp://127.0.0.1/live".into(),
        key: "show?key=s3cret".into(),
        client: "FMLE/3.0 (test)".into(),
    };
    let mut client = Client::new(target, style, chunk_size, 1);
    let mut server = Protocol::new("live", Limits::default(), 2);
    let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
    let mut asked = None;
    for _ in 0..20 {
        to_server.unsplit(client.output().split());
        if let Some(Event::Publish(request)) = server.next(&mut to_server).unwrap() {
            server.accept();
            asked = Some(request);
        }
        to_client.unsplit(server.output().split());
        if let Some(client::Event::Started) = client.next(&mut to_client).unwrap() {
            return (server, client, asked.unwrap());
        }
    }
    panic!("publishing does not start");
}

#[test]
fn a_client_publishes_after_any_handshake() {
    for style in [Style::Plain, Style::DigestAt8, Style::DigestAt772] {
        for chunk_size in [1, 128, 4096, 0x7fff_ffff] {
            let (mut server, mut client, request) = publish(style, chunk_size);
            assert_eq!(request.key, "show?key=s3cret");
            assert_eq!(request.client, "FMLE/3.0 (test)");
            client.metadata(Value::object([("width", Value::Number(1280.0))]));
            client.video(40, Bytes::from(vec![7; 10_000]));
            client.audio(41, Bytes::from_static(b"sound"));
            client.goodbye();
            let mut input = client.output().split();
            let mut next = || server.next(&mut input).unwrap();
            assert!(matches!(next(), Some(Event::Metadata(m)) if m.get("width").is_some()));
            assert!(matches!(next(), Some(Event::Video(40, body)) if body == vec![7; 10_000]));
            assert!(matches!(next(), Some(Event::Audio(41, body)) if body == b"sound"[..]));
            assert!(matches!(next(), Some(Event::Goodbye)));
            assert!(next().is_none());
        }
    }
}

#[test]
fn the_key_never_prints() {
    let (.., request) = publish(Style::Plain, 4096);
    assert!(!format!("{request:?}").contains("s3cret"));
}

#[test]
fn connect_is_answered_in_the_order_encoders_expect() {
    let mut talk = Talk::start();
    talk.call(0, "connect", 1.0, &[Value::object([("app", Value::text("live/"))])]).unwrap();
    let bytes = talk.server.output().clone();
    let mut input = bytes.clone();
    let first = talk.reader.next(&mut input).unwrap().unwrap();
    assert_eq!((first.kind, first.number()), (MessageType::WindowAckSize, Some(2_500_000)));
    let second = talk.reader.next(&mut input).unwrap().unwrap();
    assert_eq!(second.payload[..], [0, 0x26, 0x25, 0xa0, 2]);
    let third = talk.reader.next(&mut input).unwrap().unwrap();
    let result = Command::parse(third.kind, &third.payload).unwrap().unwrap();
    assert_eq!((result.name.as_str(), result.transaction), ("_result", 1.0));
    assert!(result.arguments[0].get("fmsVer").is_some() && result.arguments[0].get("fourCcList").is_none());
    assert_eq!(result.arguments[1].get("code").unwrap().as_str(), Some("NetConnection.Connect.Success"));
    assert!(bytes.windows(5).any(|w| w == [1, 0, 0, 0, 0]), "a Set Chunk Size message");
}

#[test]
fn enhanced_capabilities_are_answered_as_offered() {
    let mut talk = Talk::start();
    let offer = Value::object([
        ("app", Value::text("live")),
        ("fourCcList", Value::StrictArray(vec![Value::text("hvc1"), Value::text("vp09")])),
        ("videoFourCcInfoMap", Value::object([("*", Value::Number(7.0))])),
        ("capsEx", Value::Number(15.0)),
    ]);
    talk.call(0, "connect", 1.0, &[offer]).unwrap();
    let result = talk.answers().pop().unwrap();
    let properties = &result.arguments[0];
    let Some(Value::StrictArray(list)) = properties.get("fourCcList") else { panic!() };
    assert_eq!(list.iter().filter_map(Value::as_str).collect::<Vec<_>>(), ["avc1", "hvc1", "av01", "mp4a", "Opus"]);
    let video = properties.get("videoFourCcInfoMap").unwrap();
    assert_eq!(video.get("hvc1").unwrap().as_number(), Some(4.0));
    assert!(video.get("vp09").is_none() && properties.get("audioFourCcInfoMap").is_none());
    assert_eq!(properties.get("capsEx").unwrap().as_number(), Some(14.0));
}

#[test]
fn connect_may_come_as_an_amf3_command() {
    let mut talk = Talk::start();
    let mut message = command::call(0, "connect", 1.0, &[Value::object([("app", Value::text("live"))])]);
    message.kind = MessageType::CommandAmf3;
    message.payload = [&[0][..], &message.payload].concat().into();
    assert!(talk.send(&message).unwrap().is_none());
    assert_eq!(talk.answers().pop().unwrap().name, "_result");
}

#[test]
fn amf3_values_are_refused_by_name() {
    let mut talk = Talk::start();
    let mut body = amf0::encode(&[Value::text("connect"), Value::Number(1.0)]);
    body.extend_from_slice(&[0x11, 0x0a, 0x0b, 0x01]);
    let message = Message { timestamp: 0, kind: MessageType::CommandAmf3, stream: 0, payload: body.freeze() };
    let message = Message { payload: [&[0][..], &message.payload].concat().into(), ..message };
    assert_eq!(talk.send(&message).unwrap_err(), Error::Amf(amf0::Error::Amf3));
}

#[test]
fn the_preliminaries_of_encoders_are_answered() {
    let mut talk = Talk::connected();
    for name in ["releaseStream", "FCPublish", "createStream", "_checkbw", "getStreamLength"] {
        talk.call(0, name, 9.0, &[Value::Null, Value::text("show")]).unwrap();
        let answers = talk.answers();
        assert_eq!((answers[0].name.as_str(), answers[0].transaction), ("_result", 9.0), "{name}");
    }
    talk.call(0, "teleport", 10.0, &[Value::Null]).unwrap();
    assert_eq!(talk.status().1, "NetConnection.Call.Failed");
    talk.call(0, "onSomething", 0.0, &[Value::Null]).unwrap();
    assert!(talk.answers().is_empty());
}

#[test]
fn publishing_starts_and_ends_with_a_status() {
    let mut talk = Talk::connected();
    let asked = talk.call(1, "publish", 5.0, &[Value::Null, Value::text("show"), Value::text("live")]);
    assert!(matches!(asked, Ok(Some(Event::Publish(r))) if r.key == "show" && r.client == "FMLE"));
    assert!(talk.answers().is_empty(), "nothing is said before the session has decided");
    talk.server.accept();
    assert_eq!(talk.status().1, "NetStream.Publish.Start");
    assert!(talk.call(0, "deleteStream", 0.0, &[Value::Null, Value::Number(7.0)]).unwrap().is_none(), "another stream");
    assert!(matches!(talk.call(0, "FCUnpublish", 6.0, &[Value::Null, Value::text("show")]), Ok(Some(Event::Goodbye))));
    assert_eq!(talk.status().1, "NetStream.Unpublish.Success");
}

#[test]
fn a_refusal_is_told_with_code_and_text() {
    let mut talk = Talk::connected();
    talk.call(1, "publish", 5.0, &[Value::Null, Value::text("show")]).unwrap();
    talk.server.close(&Status::bad_name("taken"));
    assert_eq!(talk.status(), ("onStatus".into(), "NetStream.Publish.BadName".into(), "taken".into()));
    talk.server.close(&Status::bad_name("twice"));
    assert!(talk.answers().is_empty());
}

#[test]
fn a_key_behind_the_application_name_counts() {
    let mut talk = Talk::start();
    talk.call(0, "connect", 1.0, &[Value::object([("app", Value::text("live?key=s"))])]).unwrap();
    let asked = talk.call(1, "publish", 5.0, &[Value::Null, Value::text("show")]);
    assert!(matches!(asked, Ok(Some(Event::Publish(r))) if r.key == "show?key=s"));
}

#[test]
fn other_applications_and_players_are_refused_with_a_remedy() {
    let mut talk = Talk::start();
    let event = talk.call(0, "connect", 1.0, &[Value::object([("app", Value::text("vod"))])]);
    assert!(matches!(event, Ok(Some(Event::Refused(_)))));
    let (name, code, text) = talk.status();
    assert_eq!((name.as_str(), code.as_str()), ("_error", "NetConnection.Connect.Rejected"));
    assert!(text.contains("/live"));

    let mut talk = Talk::connected();
    let event = talk.call(1, "play", 4.0, &[Value::Null, Value::text("show")]);
    assert!(matches!(event, Ok(Some(Event::Refused(_)))));
    let (name, code, text) = talk.status();
    assert_eq!((name.as_str(), code.as_str()), ("onStatus", "NetStream.Play.Failed"));
    assert!(text.contains("HTTP"));
}

#[test]
fn commands_out_of_order_end_the_conversation() {
    let early = Talk::start().call(0, "createStream", 1.0, &[Value::Null]);
    assert_eq!(early.unwrap_err(), Error::Order("a command before connect"));
    let again = Talk::publishing().call(0, "connect", 1.0, &[Value::Null]);
    assert_eq!(again.unwrap_err(), Error::Order("connect"));
    let twice = Talk::publishing().call(1, "publish", 1.0, &[Value::Null, Value::text("b")]);
    assert_eq!(twice.unwrap_err(), Error::Order("publish"));
    let mut many = Talk::connected();
    let all: Result<Vec<_>, _> = (0..20).map(|_| many.call(0, "createStream", 1.0, &[Value::Null])).collect();
    assert_eq!(all.unwrap_err(), Error::Order("createStream"));
}

#[test]
fn media_before_publishing_is_dropped_and_counted() {
    let mut talk = Talk::connected();
    let frame = Message { timestamp: 0, kind: MessageType::Video, stream: 1, payload: Bytes::from_static(b"x") };
    assert!(talk.send(&frame).unwrap().is_none());
    assert_eq!(talk.server.early(), 1);
}

#[test]
fn enhanced_bodies_pass_through_as_they_are() {
    let mut talk = Talk::publishing();
    for body in [&b"\x90hvc1record"[..], b"\xa1av01obu", b"\x91Opuspacket", b"\x96\x00hvc1\x00x"] {
        let payload = Bytes::from_static(body);
        let frame = Message { timestamp: 3, kind: MessageType::Video, stream: 1, payload: payload.clone() };
        assert!(matches!(talk.send(&frame), Ok(Some(Event::Video(3, got))) if got == payload));
    }
}

#[test]
fn metadata_is_found_with_and_without_set_data_frame() {
    let mut talk = Talk::publishing();
    let entries = Value::EcmaArray(vec![("encoder".into(), Value::text("obs"))]);
    let set = command::data(1, &[Value::text("@setDataFrame"), Value::text("onMetaData"), entries.clone()]);
    assert!(matches!(talk.send(&set), Ok(Some(Event::Metadata(m))) if m == entries));
    let bare = command::data(1, &[Value::text("onMetaData"), entries.clone()]);
    assert!(matches!(talk.send(&bare), Ok(Some(Event::Metadata(m))) if m == entries));
    let other = command::data(1, &[Value::text("onTextData"), entries]);
    assert!(talk.send(&other).unwrap().is_none());
    let cue = command::data(1, &[Value::Number(4.0)]);
    assert!(talk.send(&cue).unwrap().is_none());
}

#[test]
fn pings_are_answered_with_their_data() {
    let mut talk = Talk::publishing();
    talk.send(&Message::user_control(PING_REQUEST, [1, 2, 3, 4])).unwrap();
    assert_eq!(talk.heard(), [Message::user_control(PING_RESPONSE, [1, 2, 3, 4])]);
}

#[test]
fn bytes_are_acknowledged_each_half_window() {
    let mut talk = Talk::connected();
    talk.server.count(1_249_999);
    assert!(talk.heard().is_empty());
    talk.server.count(1);
    assert_eq!(talk.heard(), [Message::control(MessageType::Acknowledgement, 1_250_000)]);
    talk.send(&Message::control(MessageType::WindowAckSize, 20_000)).unwrap();
    talk.server.count(10_000);
    assert_eq!(talk.heard(), [Message::control(MessageType::Acknowledgement, 1_260_000)]);
    talk.send(&Message::control(MessageType::WindowAckSize, 0)).unwrap();
    talk.server.count(4_095);
    assert!(talk.heard().is_empty());
}

#[test]
fn acknowledgements_wrap_at_32_bits() {
    let mut received = Received::default();
    received.add(u32::MAX as usize);
    assert_eq!(received.add(3_000_000), Some(2_999_999));
}

#[test]
fn requests_are_bounded() {
    let mut talk = Talk::connected();
    let long = command::call(0, "x", 1.0, &[Value::String("x".repeat(70_000))]);
    assert_eq!(talk.send(&long).unwrap_err(), Error::LongCommand(long.payload.len()));

    let mut talk = Talk::connected();
    let mut flood = BytesMut::new();
    (0..100_000).for_each(|_| talk.writer.write(3, &command::call(0, "x", 1.0, &[]), &mut flood));
    assert_eq!(talk.server.next(&mut flood).unwrap_err(), Error::Flood);
}

#[test]
fn little_is_held_for_a_peer_that_nobody_let_in() {
    let mut talk = Talk::connected();
    talk.send(&Message::control(MessageType::SetChunkSize, 100_000)).unwrap();
    talk.writer.set_chunk_size(100_000, &mut BytesMut::new());
    let early = Message { timestamp: 0, kind: MessageType::Video, stream: 1, payload: vec![0; 300_000].into() };
    assert_eq!(talk.send(&early).unwrap_err(), Error::Chunk(chunk::Error::TooMuchUnfinished(2 * MAX_COMMAND)));
    let mut talk = Talk::publishing();
    assert!(matches!(talk.send(&early), Ok(Some(Event::Video(..)))));
}

#[test]
fn advice_is_a_warning_that_ends_nothing() {
    let mut talk = Talk::publishing();
    talk.server.notify(&Status::advice("key frames come 10.0 s apart"));
    let said = talk.answers().pop().unwrap();
    let text = |key| said.arguments[1].get(key).and_then(Value::as_str);
    assert_eq!((said.name.as_str(), text("level")), ("onStatus", Some("warning")));
    assert_eq!(text("code"), Some("NetStream.Publish.Advice"));
    assert_eq!(text("description"), Some("key frames come 10.0 s apart"));
    let media = Message { timestamp: 0, kind: MessageType::Video, stream: 1, payload: vec![0; 10].into() };
    assert!(matches!(talk.send(&media), Ok(Some(Event::Video(..)))));
    // Before it publishes, nobody is told of a stream.
    let mut talk = Talk::connected();
    talk.server.notify(&Status::advice("nothing"));
    assert!(talk.answers().is_empty());
}
