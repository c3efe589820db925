//! The configuration of a running server: shows it, tries changes, applies them, and reads the file again. `server` gives it
//! what applies a configuration; signals, the watch over the file and the API ask it. What is wrong changes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::args::Invocation;
use super::diff::{Change, Values, diff, shown};
use super::error::{Errors, Origin};
use super::live::When;
use super::load::{Effective, Input, load};
use super::sections::Config;
use super::{options, overrides};
use crate::events::Events;

/// Values by option, as a person types them; none removes what the API set before.
pub type Changes = BTreeMap<String, Option<String>>;

/// Takes a configuration on, as far as that can be done without a restart. It cannot fail and never asks [`Control`].
pub type Apply = Box<dyn Fn(&Config) + Send + Sync>;

/// One option as it stands.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct OptionInfo {
    /// `hls.window`.
    pub name: &'static str,
    /// Its value as a person types it; secrets are dots.
    pub value: String,
    /// The built-in default.
    pub default: String,
    /// Where the value was set.
    pub origin: String,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// A running server takes another value on.
    pub live: bool,
    /// From when another value holds, or why it needs a restart.
    pub when: String,
    /// The value that the server runs with, where that is another one until it is restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
}

/// One thing that is wrong with a change.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Wrong {
    /// The option it is about; may be empty.
    pub option: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// What changes would do.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Checked {
    /// Nothing is wrong.
    pub ok: bool,
    /// All that is.
    pub errors: Vec<Wrong>,
    /// What would be different.
    pub diff: Vec<Change>,
}

/// What changes did.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Applied {
    /// As [`Control::validate`] says.
    #[serde(flatten)]
    pub checked: Checked,
    /// Options whose new values hold, each from when its change says.
    pub applied: Vec<&'static str>,
    /// Options whose new values need a restart.
    pub restart: Vec<&'static str>,
}

/// What came of reading the file again.
#[derive(Debug)]
pub enum Reloaded {
    /// Nothing is different.
    Unchanged,
    /// These changes are applied, or wait for a restart.
    Applied(Vec<Change>),
    /// All that is wrong; nothing was changed.
    Refused(Errors),
}

/// The configuration. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    /// None: nothing can change.
    invocation: Option<Invocation>,
    events: Events,
    state: Mutex<State>,
}

struct State {
    /// The layers of the configuration that holds.
    input: Input,
    configured: Effective,
    /// As it was at the start: what needs a restart is still so.
    started: Effective,
    apply: Option<Apply>,
}

impl Control {
    /// Loads the configuration for a server that is about to start. `events`: where changes are told.
    pub fn load(invocation: Invocation, events: Events) -> Result<Control, Errors> {
        let (input, configured) = invocation.read()?;
        let state = State { input, started: configured.clone(), configured, apply: None };
        let (invocation, state) = (Some(invocation), Mutex::new(state));
        Ok(Control { shared: Arc::new(Shared { invocation, events, state }) })
    }

    /// Of values that come from nowhere and never change: for a server within another program, and in tests.
    pub fn fixed(config: Config, events: Events) -> Control {
        let configured = Effective::fixed(config);
        let state = State { input: Input::default(), started: configured.clone(), configured, apply: None };
        Control { shared: Arc::new(Shared { invocation: None, events, state: Mutex::new(state) }) }
    }

    /// From now on changes are applied with this.
    pub fn apply_with(&self, apply: Apply) {
        self.state().apply = Some(apply);
    }

    /// The configuration that holds, or will after a restart.
    pub fn configured(&self) -> Effective {
        self.state().configured.clone()
    }

    /// Where changes are told.
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// The files that a reload would read, whether or not they are there: the configuration and what the API set.
    pub fn files(&self) -> Vec<PathBuf> {
        let Some(invocation) = &self.shared.invocation else { return Vec::new() };
        invocation.file().into_iter().chain([overrides::path(&self.state().input)]).collect()
    }

    /// The configuration file that was read.
    pub fn file(&self) -> Option<PathBuf> {
        self.state().configured.file.clone()
    }

    /// Every option as it stands, in the order of the documented file.
    pub fn effective(&self) -> Vec<OptionInfo> {
        let state = self.state();
        let (values, started) = (Values::of(&state.configured), Values::of(&state.started));
        let waits: Vec<&str> = diff(&state.started, &state.configured).iter().map(|change| change.option).collect();
        let info = |spec: &'static options::Spec| {
            let when = When::of(&spec.name);
            let waits = !when.is_live() && waits.contains(&spec.name.as_str());
            OptionInfo {
                name: &spec.name,
                value: shown(spec, values.get(spec)),
                default: spec.example(),
                origin: state.configured.origin(&spec.name).to_string(),
                about: spec.about,
                live: when.is_live(),
                when: when.to_string(),
                running: waits.then(|| shown(spec, started.get(spec))),
            }
        };
        options::all().iter().map(info).collect()
    }

    /// What changes would do, without doing it.
    pub fn validate(&self, changes: &Changes) -> Checked {
        let state = self.state();
        match self.attempt(&state, changes) {
            Ok((_, effective)) => Checked { ok: true, errors: Vec::new(), diff: diff(&state.configured, &effective) },
            Err(errors) => Checked { ok: false, errors, diff: Vec::new() },
        }
    }

    /// Writes changes to the data directory and applies them; all, or where anything is wrong none. Blocks for a moment.
    pub fn apply(&self, changes: &Changes) -> Applied {
        let mut state = self.state();
        let refused = |errors| Applied {
            checked: Checked { ok: false, errors, diff: Vec::new() },
            applied: Vec::new(),
            restart: Vec::new(),
        };
        let (input, effective) = match self.attempt(&state, changes) {
            Ok(good) => good,
            Err(errors) => return refused(errors),
        };
        if let Some(Err(error)) = input.overrides.as_ref().map(overrides::write) {
            let place = overrides::path(&input).display().to_string();
            let problem = format!("cannot write {place} ({error}); make data.dir writable for the server");
            return refused(vec![Wrong { option: String::new(), problem }]);
        }
        let diff = self.take_on(&mut state, input, effective, "api");
        let names = |live| diff.iter().filter(|change| change.live == live).map(|change| change.option).collect();
        Applied { applied: names(true), restart: names(false), checked: Checked { ok: true, errors: Vec::new(), diff } }
    }

    /// Reads the files again, and applies what is different. What is wrong is told, and changes nothing.
    pub fn reload(&self) -> Reloaded {
        let Some(invocation) = &self.shared.invocation else { return Reloaded::Unchanged };
        let mut state = self.state();
        match invocation.read() {
            Ok((input, effective)) if diff(&state.configured, &effective).is_empty() => {
                (state.input, state.configured) = (input, effective);
                Reloaded::Unchanged
            }
            Ok((input, effective)) => Reloaded::Applied(self.take_on(&mut state, input, effective, "file")),
            Err(errors) => {
                errors.iter().for_each(|error| tracing::error!("the configuration is refused: {error}"));
                let errors_said: Vec<String> = errors.iter().map(ToString::to_string).collect();
                self.shared.events.say("config.refused", None, json!({ "by": "file", "errors": errors_said }));
                Reloaded::Refused(errors)
            }
        }
    }

    /// The configuration with changes made through the API.
    fn attempt(&self, state: &State, changes: &Changes) -> Result<(Input, Effective), Vec<Wrong>> {
        match &self.shared.invocation {
            Some(_) => attempt(state, changes),
            None => Err(vec![Wrong { option: String::new(), problem: FIXED.to_owned() }]),
        }
    }

    /// Makes a configuration the one that holds, and says what that changes.
    fn take_on(&self, state: &mut State, input: Input, effective: Effective, by: &str) -> Vec<Change> {
        let changes = diff(&state.configured, &effective);
        if let Some(apply) = &state.apply {
            apply(&effective.config);
        }
        (state.input, state.configured) = (input, effective);
        for change in &changes {
            match change.live {
                true => tracing::info!(by, "configuration: {change}"),
                false => tracing::warn!(by, "configuration: {change}"),
            }
        }
        let restart: Vec<&str> = changes.iter().filter(|change| !change.live).map(|change| change.option).collect();
        self.shared.events.say("config.applied", None, json!({ "by": by, "changes": changes, "restart": restart }));
        changes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

const FIXED: &str = "this server was started with a configuration that cannot change";

fn attempt(state: &State, changes: &Changes) -> Result<(Input, Effective), Vec<Wrong>> {
    let (file, mut wrong) = overrides::changed(&state.input, &state.configured, changes);
    let place = file.path().to_owned();
    let input = Input { overrides: Some(file), ..state.input.clone() };
    match load(&input) {
        Ok(effective) if wrong.is_empty() => return Ok((input, effective)),
        Ok(_) => {}
        Err(errors) => wrong.extend(errors.iter().map(|error| {
            // Where it stands matters only where it is not what was asked for.
            let ours = match &error.origin {
                Origin::Api => true,
                Origin::File(path, _) => **path == place,
                _ => false,
            };
            let problem = if ours { error.problem.clone() } else { format!("{}: {}", error.origin, error.problem) };
            Wrong { option: error.option.clone().unwrap_or_default(), problem }
        })),
    }
    Err(wrong)
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
