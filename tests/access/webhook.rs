//! A webhook that says who may publish: asked, silent, and gone.

use headwater::config::{Config, Time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::rig::Rig;

/// A webhook that knows one stream. Its address.
async fn hook() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = Vec::new();
            while !asked.ends_with(b"}") && stream.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {}
            let known = String::from_utf8_lossy(&asked).contains("\"stream\":\"known\"");
            let answer = match known {
                true => "HTTP/1.1 204 No Content\r\n\r\n",
                false => "HTTP/1.1 403 Forbidden\r\nContent-Length: 19\r\n\r\nyour plan has ended",
            };
            // A client that went away has no use for the answer.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/may")
}

fn asking(url: String) -> impl FnOnce(&mut Config) {
    move |config| {
        config.access.webhook_url = url;
        config.access.webhook_timeout = Time::millis(500);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_webhook_decides_and_its_words_reach_the_broadcaster() {
    let rig = Rig::start(asking(hook().await)).await;
    let said = rig.refused("unknown").await;
    assert!(said.contains("your plan has ended"), "{said}");
    let (reply, _) = rig.offer("/whip/unknown", Some("any")).await;
    assert_eq!((reply.status, reply.body.contains("your plan has ended")), (403, true), "{}", reply.body);
    let mut ffmpeg = rig.publish("known");
    rig.live("known").await;
    assert!(ffmpeg.process.runs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_does_not_answer_lets_nobody_in() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}/", silent.local_addr().unwrap());
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone_url = format!("http://{}/", gone.local_addr().unwrap());
    drop(gone);
    for url in [silent_url, gone_url] {
        let rig = Rig::start(asking(url)).await;
        let said = rig.refused("known").await;
        assert!(said.contains("cannot ask whether this is allowed"), "{said}");
        let (reply, _) = rig.offer("/whip/known", None).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")), "{}", reply.body);
    }
}
