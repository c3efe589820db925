//! The address that others see this machine at, asked of a STUN server (RFC 8489) at the start and now and then: behind NAT
//! and in containers it is none of the interfaces'. The port is taken to be mapped to itself.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rtc_crypto::RTCCryptoProvider;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Settings, stun};

/// What was found last.
#[derive(Debug, Default)]
pub(super) struct Discovered(Mutex<Option<IpAddr>>);

impl Discovered {
    /// None before the first answer.
    pub(super) fn get(&self) -> Option<IpAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the server that is configured (`HOST:PORT`, or none), for as long as it is polled; another one at once.
    pub(super) async fn follow(&self, mut settings: watch::Receiver<Arc<Settings>>, provider: &dyn RTCCryptoProvider) {
        loop {
            let server = settings.borrow_and_update().discover.clone();
            let other = |settings: &Arc<Settings>| settings.discover != server;
            tokio::select! {
                changed = settings.wait_for(other) => if changed.is_err() { return },
                () = self.ask_for_ever(&server, provider) => return,
            }
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    async fn ask_for_ever(&self, server: &str, provider: &dyn RTCCryptoProvider) {
        if server.is_empty() {
            return std::future::pending().await;
        }
        loop {
            let found = ask(server, provider).await;
            match &found {
                Ok(ip) if self.get() != Some(*ip) => tracing::info!(%ip, server, "the public address was discovered"),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, server, "the public address is not known (webrtc.discover)"),
            }
            let wait = if found.is_ok() { INTERVAL } else { RETRY };
            if let Ok(ip) = found {
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ip);
            }
            tokio::time::sleep(wait).await;
        }
    }
}

async fn ask(server: &str, provider: &dyn RTCCryptoProvider) -> io::Result<IpAddr> {
    let mut transaction = [0; 12];
    provider.random().fill(&mut transaction).map_err(|error| io::Error::other(error.to_string()))?;
    let to = tokio::net::lookup_host(server).await?.next().ok_or(io::ErrorKind::NotFound)?;
    let here = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(here).await?;
    let request = stun::discovery(transaction);
    let mut answer = [0; 512];
    for _ in 0..TRIES {
        socket.send_to(&request, to).await?;
        let Ok(received) = timeout(PATIENCE, socket.recv_from(&mut answer)).await else { continue };
        let (length, from) = received?;
        if let Some(mapped) = stun::discovered(&answer[..length], transaction).filter(|_| from == to) {
            return Ok(mapped.ip().to_canonical());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

const TRIES: usize = 4;
const PATIENCE: Duration = Duration::from_millis(500);
/// Public addresses change with a new lease.
const INTERVAL: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rtc_stun::message::{BINDING_SUCCESS, Message};
    use rtc_stun::xoraddr::XorMappedAddress;

    #[tokio::test]
    async fn the_address_in_the_answer_is_taken() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let answering = tokio::spawn(async move {
            let mut request = [0; 512];
            let (length, from) = server.recv_from(&mut request).await.unwrap();
            let mut message = Message::new();
            message.unmarshal_binary(&request[..length]).unwrap();
            let mut answer = Message::new();
            answer.set_type(BINDING_SUCCESS);
            answer.transaction_id = message.transaction_id;
            answer.write_header();
            let mapped = XorMappedAddress { ip: "203.0.113.7".parse().unwrap(), port: 9 };
            mapped.add_to_as(&mut answer, rtc_stun::attributes::ATTR_XORMAPPED_ADDRESS).unwrap();
            server.send_to(&answer.raw, from).await.unwrap();
        });
        let provider = rtc_crypto::default_provider().unwrap();
        assert_eq!(ask(&address, &*provider).await.unwrap(), "203.0.113.7".parse::<IpAddr>().unwrap());
        answering.await.unwrap();
    }
}
