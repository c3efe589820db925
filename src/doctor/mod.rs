//! The stream doctor: what is wrong with a stream, in plain words, and the setting that mends it.
//!
//! in:  `hub::Stream::frames` (looked at, ten times a second), `hub::Stream::heard` -> [`Examination`] -> [`Finding`]s
//! out: [`Doctor::findings`] for pages and the API, events, `hub::Stream::advise` for the broadcaster
//!
//! Never holds a frame, never decodes one, never changes a stream.

mod arrivals;
mod clock;
mod examination;
mod finding;
mod format;
mod groups;
mod hearing;
mod patient;
mod rhythm;
mod rings;
mod sound;
mod symptom;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::gauge;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::hub::{Event, Hub, Stream};
use crate::media::Time;
use crate::metrics::DOCTOR_FINDINGS;
use patient::Patient;

pub use examination::{Around, Change, Examination, Limits};
pub use finding::{Code, Finding, Health, Severity};

/// What is known of a stream over WebRTC, by others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Viewers.
    pub viewers: u64,
    /// Packets of its publisher that came, and that never did; None where it publishes otherwise.
    pub packets: Option<(u64, u64)>,
}

/// Tells of every stream that has sessions over WebRTC; asked once a second.
pub type Contacts = Arc<dyn Fn() -> HashMap<String, Contact> + Send + Sync>;

/// The doctor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Doctor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hub: Hub,
    limits: Limits,
    events: Events,
    /// By stream; those without findings are not in it.
    findings: RwLock<HashMap<String, Arc<[Finding]>>>,
}

/// How often frames are looked at. What is measured of their arrival is coarse by this much, and ten times a second for
/// 500 streams (2 % of a core, measured) costs less than waking up for each of 40,000 frames.
const LOOK: Duration = Duration::from_millis(100);
/// A look that comes later than this says nothing of when frames arrived.
const LATE: Duration = Duration::from_millis(400);
/// Looks in a second.
const LOOKS: u32 = 10;

impl Doctor {
    /// With no patients yet.
    pub fn new(hub: Hub, limits: Limits, events: Events) -> Doctor {
        Doctor { shared: Arc::new(Shared { hub, limits, events, findings: RwLock::default() }) }
    }

    /// What is wrong with a stream, the worst first.
    pub fn findings(&self, stream: &str) -> Vec<Finding> {
        let findings = self.shared.findings.read().unwrap_or_else(PoisonError::into_inner);
        findings.get(stream).map(|findings| findings.to_vec()).unwrap_or_default()
    }

    /// A stream at a glance.
    pub fn health(&self, stream: &str) -> Health {
        let findings = self.shared.findings.read().unwrap_or_else(PoisonError::into_inner);
        findings.get(stream).map_or(Health::Good, |findings| Health::of(findings))
    }

    /// Looks at every stream of the hub until stopped. Run once. One task for all: a look is a few microseconds.
    pub async fn follow(self, contacts: Contacts, stop: CancellationToken) {
        let mut events = self.shared.hub.events();
        let mut ward = Ward { began: Instant::now(), patients: HashMap::new() };
        self.shared.hub.streams().iter().for_each(|stream| ward.admit(stream, self.shared.limits));
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut last, mut looks) = (Instant::now(), 0);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                event = events.next() => match event {
                    Ok(Some(Event::Started(stream))) => {
                        if let Some(stream) = stream.upgrade() {
                            ward.admit(&stream, self.shared.limits);
                        }
                    }
                    // Noticed by the look that finds its log closed.
                    Ok(Some(Event::Ended(_))) => {}
                    Ok(None) => return,
                    Err(_) => {
                        events.skip_to_newest_start();
                        self.shared.hub.streams().iter().for_each(|stream| ward.admit(stream, self.shared.limits));
                    }
                },
                _ = tick.tick() => {
                    let now = Instant::now();
                    let late = now.saturating_duration_since(std::mem::replace(&mut last, now)) > LATE;
                    looks += 1;
                    let asked = (looks % LOOKS == 0).then(|| contacts());
                    self.round(&mut ward, now, late, asked.as_ref());
                }
            }
        }
    }

    /// One look at all; with `contacts`, once a second, what was seen is judged.
    fn round(&self, ward: &mut Ward, now: Instant, late: bool, contacts: Option<&HashMap<String, Contact>>) {
        let time = Time::from_duration(now.saturating_duration_since(ward.began));
        let mut turned = false;
        ward.patients.retain(|_, patient| {
            if !patient.look(time, late) {
                turned = true;
                patient.discharge(&self.shared.events);
                self.show(patient.name(), &[]);
                return false;
            }
            if let Some(contacts) = contacts {
                let contact = contacts.get(patient.name()).copied().unwrap_or_default();
                if patient.judge(time, contact, &self.shared.events) {
                    turned = true;
                }
                // The numbers in the texts change without a turn.
                self.show(patient.name(), patient.findings());
            }
            true
        });
        if turned {
            self.meter(ward);
        }
    }

    fn show(&self, name: &str, found: &[Finding]) {
        let mut findings = self.shared.findings.write().unwrap_or_else(PoisonError::into_inner);
        match findings.get_mut(name) {
            None if found.is_empty() => {}
            Some(_) if found.is_empty() => {
                findings.remove(name);
            }
            Some(known) if **known == *found => {}
            Some(known) => *known = found.into(),
            None => {
                findings.insert(name.to_owned(), found.into());
            }
        }
    }

    fn meter(&self, ward: &Ward) {
        for code in Code::ALL {
            let of = |patient: &&Patient| patient.findings().iter().any(|finding| finding.code == code.name());
            gauge!(DOCTOR_FINDINGS, "code" => code.name()).set(ward.patients.values().filter(of).count() as f64);
        }
    }
}

/// All that are under examination, by epoch: of one name there may be two for a moment.
struct Ward {
    began: Instant,
    patients: HashMap<u64, Patient>,
}

impl Ward {
    fn admit(&mut self, stream: &Arc<Stream>, limits: Limits) {
        self.patients.entry(stream.epoch()).or_insert_with(|| Patient::new(stream, limits));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
