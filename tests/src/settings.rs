//! How the benches and storms run the agent: nothing is found by a comparison, so that what is there came from events.
//!
//! Owns the configuration file of such a run, the one check at its end that shows that no event was missed, and how
//! numbers are read from the environment.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::Agent;
use crate::must::Must;
use crate::oracle;
use crate::site::Site;
use crate::wait::eventually;

/// Longer than any step may take.
pub const DEADLINE: Duration = Duration::from_secs(1200);

/// What is configured for every agent of a run.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    backend: Option<String>,
}

/// A number from the environment, where it is given; ends the program where it is none.
pub fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => {
            eprintln!("{name} is {text:?}: a number is wanted");
            std::process::exit(2);
        }
    }
}

/// How often everything is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Never,
    AllTheTime,
}

impl Settings {
    /// `BACKEND`, where it is given.
    pub fn from_environment() -> Settings {
        Settings { backend: std::env::var("BACKEND").ok().filter(|name| !name.is_empty()) }
    }

    /// Which source of events was asked for, in words.
    pub fn backend(&self) -> &str {
        self.backend.as_deref().unwrap_or("as by default")
    }

    /// Starts an agent that compares nothing but at its start, and waits until it protects the root.
    #[track_caller]
    pub fn start(&self, site: &Site) -> Agent {
        self.start_with(site, "")
    }

    /// The same with further lines of configuration.
    #[track_caller]
    pub fn start_with(&self, site: &Site, further: &str) -> Agent {
        let config = self.write(site, Compare::Never);
        let text = fs::read_to_string(&config).must(config.display());
        fs::write(&config, text + further).must(config.display());
        let agent = Agent::start(site, &["--config", config.to_str().must("a path in UTF-8")]);
        agent.protecting_within(site, DEADLINE);
        agent
    }

    /// Lets the running agent compare everything with what it has captured; gives what no event had announced.
    ///
    /// Nothing may change meanwhile. The agent is not started anew for it: it would compare everything, and count nothing.
    #[track_caller]
    pub fn missed_by_events(&self, site: &Site, agent: &Agent) -> u64 {
        let before = site.counter("directories_checked");
        let directories = oracle::census(&site.root).dirs;
        self.write(site, Compare::AllTheTime);
        agent.reload();
        // With two rounds counted, the first has come to its end.
        eventually(DEADLINE, "two checks of everything", || {
            (site.counter("directories_checked") >= before + 2 * directories).then_some(())
        });
        self.write(site, Compare::Never);
        agent.reload();
        let status = site.status();
        status["missed_by_events"].as_u64().must(format!("missed_by_events in {status}"))
    }

    fn write(&self, site: &Site, compare: Compare) -> PathBuf {
        let every = match compare {
            Compare::Never => "0",
            Compare::AllTheTime => "'1s'",
        };
        let backend = self.backend.as_ref().map(|name| format!("backend = '{name}'\n")).unwrap_or_default();
        let path = site.path("config.toml");
        fs::write(&path, format!("reconcile_every = {every}\n{backend}")).must(path.display());
        path
    }
}
