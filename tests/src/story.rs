//! One random history: writers that edit, an agent that is killed, stopped and frozen meanwhile, and freeze points
//! that must come back exactly.
//!
//! Owns what happens in which order; a seed decides all of it, but for what the kernel's scheduler decides. Knows of
//! asof only what a user sees.

use std::fmt::{self, Write as _};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::agent::Agent;
use crate::edit::{Editor, FreshLinks};
use crate::filesystem::{OVERLAYFS, is_on};
use crate::must::Must;
use crate::random::Random;
use crate::site::Site;
use crate::wait::{PATIENCE, eventually};

/// How much happens.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// Times that everybody pauses.
    pub freeze_points: usize,
    /// Edits between two of them, by all writers together.
    pub edits: usize,
    /// Writers at once; the last one is at home in the whole root, each other one in a part of it.
    pub writers: usize,
    /// What happens to the agent.
    pub disturbances: Vec<Disturbance>,
    /// Further arguments of the agent.
    pub arguments: Vec<String>,
}

/// What may happen to the agent between two freeze points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// Nothing.
    None,
    /// SIGKILL in the middle, and started again at once.
    Kill,
    /// SIGKILL in the middle, and started again when all edits are made.
    KillAndStayDown,
    /// SIGTERM in the middle, and started again at once.
    Stop,
    /// SIGTERM in the middle, and started again when all edits are made.
    StopAndStayDown,
    /// SIGSTOP in the middle, SIGCONT when all edits are made.
    Freeze,
    /// SIGSTOP, so many events that the queue overflows, SIGCONT in the middle.
    Overflow,
}

/// What there is to choose from, as often as it is to happen.
pub const DISTURBANCES: [Disturbance; 9] = [
    Disturbance::None,
    Disturbance::None,
    Disturbance::None,
    Disturbance::Kill,
    Disturbance::KillAndStayDown,
    Disturbance::Stop,
    Disturbance::StopAndStayDown,
    Disturbance::Freeze,
    Disturbance::Overflow,
];

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Edits made.
    pub operations: usize,
    /// Freeze points taken.
    pub freeze_points: usize,
    /// Times the agent was killed.
    pub kills: usize,
    /// Times it was stopped.
    pub stops: usize,
    /// Times it was frozen.
    pub freezes: usize,
    /// Overflows that it noticed.
    pub overflows: u64,
    /// Gaps in the journal at the end.
    pub gaps: u64,
    /// Changes that only a comparison found, as far as the agent counts them.
    pub missed_by_events: u64,
    /// Lines of the agents' logs that name them.
    pub missed: Vec<String>,
    /// Freeze points that did not come back exactly, each with how and with what had been done.
    pub differences: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations, {} freeze points, {} kills, {} stops, {} freezes, {} overflows, {} gaps, {} missed by events, \
             {} differences",
            self.operations,
            self.freeze_points,
            self.kills,
            self.stops,
            self.freezes,
            self.overflows,
            self.gaps,
            self.missed_by_events,
            self.differences.len()
        )
    }
}

/// One history under way.
struct Story<'s> {
    plan: &'s Plan,
    site: &'s Site,
    random: Random,
    agent: Option<Agent>,
    outcome: Outcome,
    /// What was done before each freeze point, by its name.
    told: Vec<(String, Vec<String>)>,
    fresh: FreshLinks,
}

/// Lives a history on a fresh site. Panics where the agent or the command fail otherwise than by a difference.
pub fn live(plan: &Plan, site: &Site) -> Outcome {
    let random = Random::new(plan.seed);
    let (outcome, fresh) = (Outcome::default(), FreshLinks::default());
    let mut story = Story { plan, site, random, agent: None, outcome, told: Vec::new(), fresh };
    story.live();
    story.outcome
}

impl Story<'_> {
    fn live(&mut self) {
        let mut editors: Vec<Editor> = (0..self.plan.writers).map(|number| self.editor(number)).collect();
        if self.random.below(2) == 0 {
            self.start();
        }
        for number in 0..self.plan.freeze_points {
            self.leg(number, &mut editors);
        }
        self.check("the agent runs");
        if let Some(agent) = self.agent.take() {
            self.note_end(&agent);
            agent.terminate();
        }
        self.check("the agent was stopped");
        self.start();
        if let Some(agent) = self.agent.take() {
            self.note_end(&agent);
            agent.kill9();
        }
        self.check("the agent was killed");
    }

    fn editor(&mut self, number: usize) -> Editor {
        let outside = self.site.path(format!("outside-{number}"));
        fs::create_dir(&outside).must(outside.display());
        let home = match number + 1 == self.plan.writers {
            true => self.site.root.clone(),
            false => self.site.root.join(format!("home-{number}")),
        };
        if home != self.site.root {
            fs::create_dir(&home).must(home.display());
            plant(&home, &mut self.random);
        }
        let editor = Editor::new(&home, Random::new(self.random.bits()))
            .with_outside(&outside)
            .with_links(&self.fresh);
        // A mapping there is one of the file in the layer below: its close is nobody's event (`hazards`: mapped).
        match is_on(&home, OVERLAYFS) {
            true => editor.without_mappings(),
            false => editor,
        }
    }

    /// Edits until the next freeze point, and that.
    fn leg(&mut self, number: usize, editors: &mut [Editor]) {
        let name = format!("freeze point {number}");
        let disturbance = match self.agent {
            Some(_) => self.random.pick(&self.plan.disturbances).copied().unwrap_or(Disturbance::None),
            // The first edits may be made before there is an agent.
            None => Disturbance::None,
        };
        let edits = self.plan.edits / editors.len().max(1);
        let middle = self.random.below(self.plan.edits as u64) as usize;
        let lines: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let made = AtomicUsize::new(0);
        let tell = |line: String| {
            made.fetch_add(1, Ordering::Relaxed);
            lines.lock().must("the story").push(line);
        };
        std::thread::scope(|scope| {
            let tell = &tell;
            let mut writers = Vec::new();
            for (number, editor) in editors.iter_mut().enumerate() {
                let told = move |line: String| tell(format!("{number}: {line}"));
                writers.push(scope.spawn(move || editor.edits(edits, &mut { told })));
            }
            // Somebody who finds nothing more to edit may never get to the middle.
            eventually(PATIENCE, "the middle of the edits", || {
                let over = writers.iter().all(|writer| writer.is_finished());
                (over || made.load(Ordering::Relaxed) >= middle).then_some(())
            });
            lines.lock().must("the story").push(format!("=== {disturbance:?}"));
            self.disturb(disturbance);
        });
        self.mend(disturbance);
        let lines = lines.into_inner().must("the story");
        self.outcome.operations += made.into_inner();
        self.told.push((name.clone(), lines));
        self.site.take(&name);
        self.fresh.clear();
        self.outcome.freeze_points += 1;
    }

    /// What happens while the writers are at work.
    fn disturb(&mut self, disturbance: Disturbance) {
        match disturbance {
            Disturbance::None => {}
            Disturbance::Kill | Disturbance::KillAndStayDown => {
                if let Some(agent) = self.agent.take() {
                    self.note_end(&agent);
                    agent.kill9();
                }
                self.outcome.kills += 1;
                if disturbance == Disturbance::Kill {
                    self.begin();
                }
            }
            Disturbance::Stop | Disturbance::StopAndStayDown => {
                if let Some(agent) = self.agent.take() {
                    self.note_end(&agent);
                    agent.terminate();
                }
                self.outcome.stops += 1;
                if disturbance == Disturbance::Stop {
                    self.begin();
                }
            }
            Disturbance::Freeze => {
                self.outcome.freezes += 1;
                if let Some(agent) = &self.agent {
                    agent.freeze();
                }
            }
            Disturbance::Overflow => {
                if let Some(agent) = &self.agent {
                    agent.freeze();
                    flood(&self.site.root);
                    agent.resume();
                }
            }
        }
    }

    /// Everything runs again; the writers are done.
    fn mend(&mut self, disturbance: Disturbance) {
        if let (Disturbance::Freeze, Some(agent)) = (disturbance, &self.agent) {
            agent.resume();
        }
        match &self.agent {
            None => self.start(),
            Some(agent) => drop(agent.protecting(self.site)),
        }
    }

    /// Starts the agent and waits for nothing.
    fn begin(&mut self) {
        let arguments: Vec<&str> = self.plan.arguments.iter().map(String::as_str).collect();
        let agent = Agent::start(self.site, &arguments);
        // True while writers are at work, and over by itself.
        agent.allow("the event source does not answer in time");
        // A directory that is moved on before it is watched.
        agent.allow("not watched, looked at from time to time");
        self.agent = Some(agent);
    }

    fn start(&mut self) {
        self.begin();
        if let Some(agent) = &self.agent {
            agent.protecting(self.site);
        }
    }

    /// What an agent can tell only as long as it lives.
    fn note_end(&mut self, agent: &Agent) {
        // One that has just been started does not answer yet, and has seen nothing either.
        let status = self.site.asof(["--json", "status"]).run();
        if status.status == 0 {
            let status = status.json();
            self.outcome.overflows += status["counters"]["overflows"].as_u64().unwrap_or(0);
            self.outcome.missed_by_events += status["missed_by_events"].as_u64().unwrap_or(0);
            self.outcome.gaps = status["gaps"].as_u64().unwrap_or(0);
        }
        let log = agent.log();
        self.outcome.missed.extend(log.lines().filter(|line| line.contains("missed")).map(Into::into));
    }

    /// Restores every freeze point so far and notes those that differ, with their stories.
    fn check(&mut self, when: &str) {
        for (number, (name, lines)) in self.told.iter().enumerate() {
            let checked = catch_unwind(AssertUnwindSafe(|| self.site.check_number(number, when)));
            let Err(panic) = checked else { continue };
            let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            let mut text = format!("{said}\n--- what was done before {name} ---\n");
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
            self.outcome.differences.push(shorten(&text));
        }
    }
}

/// Leaves out of long names what is only there to make them long.
fn shorten(text: &str) -> String {
    let mut short = text.to_string();
    for (piece, instead) in [("\\xFD", "\\xFD..."), ("d", "d...")] {
        while let Some(at) = short.find(&piece.repeat(20)) {
            let end = short[at..].len() - short[at..].trim_start_matches(piece).len();
            short.replace_range(at..at + end, instead);
        }
    }
    short
}

/// What there is to edit at first.
fn plant(home: &Path, random: &mut Random) {
    for number in 0..12 {
        let dir = home.join(format!("dir-{}/sub-{}", number % 4, number % 3));
        fs::create_dir_all(&dir).must(dir.display());
        let len = random.below(40_000) as usize;
        fs::write(dir.join(format!("file-{number}")), random.text(len)).must(dir.display());
        fs::write(home.join(format!("dir-{}/small-{number}", number % 4)), random.text(len / 100))
            .must("small");
    }
    let large = random.text(600_000);
    fs::write(home.join("large"), large).must("large");
}

/// Makes the event queue overflow, whatever its length is: nothing of it stays, but for what a writer took for itself.
fn flood(root: &Path) {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").must("the queue's length");
    let limit: usize = limit.trim().parse().must("a number");
    let mut taken = 0;
    // Each file is made, closed and removed; two in turn, since the same event twice in a row counts once.
    for number in 0..limit / 3 + 100 {
        let name = root.join(format!("flood-{taken}-{}", number % 2));
        if fs::File::create(&name).and_then(|_| fs::remove_file(&name)).is_err() {
            taken += 1; // a writer was faster; other names then
        }
    }
    assert!(taken < limit / 6, "{taken} files were taken by writers: too few are left for an overflow");
}
