//! What is supposed to have happened: from a scenario to a journal that is restored from, and an oracle for it.
//!
//! Owns which scenario works where. None touches the live tree or the live journal: damage is done to copies, and agents
//! that are killed or lied to are the drill's own.

mod copy;
mod dead;
mod lab;
mod planted;
mod ransomware;
mod torn;
mod wrong_clock;

use std::collections::BTreeSet;
use std::path::PathBuf;

use asof_journal::reader::Moment;
use asof_journal::types::Instant;

use super::bring::Brought;
use super::compare::Findings;
use super::ledger::Ledger;
use super::oracle::Oracle;
use super::report::Assertion;
use super::run::{Draft, Drill};
use super::scratch::Scratch;
use super::select::Chosen;
use super::spec::Scenario;
use super::stop::Tried;

/// What is restored, from where, and what it is compared with.
pub(crate) struct Prepared {
    /// The journal: the live one, a copy, or that of a scratch agent.
    pub(crate) journal: PathBuf,
    /// `--at` of the restore.
    pub(crate) at: String,
    /// The same as a moment.
    pub(crate) moment: Moment,
    /// Whether that is the newest there was, so that nothing durable is lost by it.
    pub(crate) is_newest: bool,
    /// What.
    pub(crate) chosen: Chosen,
    /// What it had been.
    pub(crate) oracle: Oracle,
    /// Damage that was planted and that the journal named.
    pub(crate) excused: BTreeSet<Vec<u8>>,
    /// When the failure was, where the scenario made one.
    pub(crate) failure: Option<Instant>,
    /// The age of the newest recovered change at the failure, where the scenario knows it.
    pub(crate) rpo: Option<Result<u64, &'static str>>,
    /// The top of the scratch agent's tree, below which everything has the path that it was alive with.
    pub(crate) lab_root: Option<Vec<u8>>,
    /// What is particular to the scenario.
    pub(crate) particular: Particular,
}

/// What is particular to a scenario.
pub(crate) enum Particular {
    /// Nothing.
    None,
    /// Damage.
    Planted(planted::Planted),
    /// An attack, whose beginning is to be found.
    Attack(ransomware::Attack),
    /// Verdicts that the scenario has come to by itself.
    Told(Vec<Assertion>),
}

/// Does everything that has to be done before the restore is requested.
pub(crate) fn prepare(
    drill: &mut Drill<'_>,
    scratch: &Scratch,
    draft: &mut Draft,
    ledger: &mut Ledger,
    seed: u64,
) -> Tried<Prepared> {
    let mut moment = drill.moment(ledger, seed)?;
    match drill.spec.scenario {
        Scenario::Ransomware => return ransomware::prepare(drill, &moment, scratch, draft, ledger, seed),
        Scenario::AgentDead => return dead::prepare(drill, &moment, scratch, draft, ledger, seed),
        Scenario::WrongClock => return wrong_clock::prepare(drill, &moment, scratch, draft, ledger, seed),
        _ => {}
    }
    let mut is_newest = true;
    let mut journal = drill.session.journal().to_path_buf();
    if drill.spec.scenario.has_copy() {
        // The reader that is open keeps compaction from removing what is being copied.
        drill.session.reader()?;
        journal = copy::copy(&journal, scratch)?;
    }
    let mut known_through = moment.instant;
    if drill.spec.scenario == Scenario::TornSegment {
        let torn = torn::tear(&journal, drill.session.reader()?, seed)?;
        if torn.head.seq < moment.seq {
            (moment, is_newest) = (torn.head, false);
            known_through = moment.instant.min(torn.covered_through);
        }
    }
    let chosen = drill.choose(&moment, ledger)?;
    let of_oracle = Moment { instant: known_through, ..moment };
    let oracle = drill.ask_oracle(&of_oracle, &chosen.paths, chosen.is_trees, is_newest)?;
    let at = moment.seq.to_string();
    let (mut excused, mut particular) = (BTreeSet::new(), Particular::None);
    if drill.spec.scenario == Scenario::PlantedCorruption {
        let planted = planted::plant(&journal, &moment, &chosen, seed, scratch, draft)?;
        excused.clone_from(&planted.named);
        particular = Particular::Planted(planted);
    }
    let (failure, rpo) = (None, None);
    let lab_root = None;
    Ok(Prepared {
        journal,
        at,
        moment,
        is_newest,
        chosen,
        oracle,
        excused,
        failure,
        rpo,
        lab_root,
        particular,
    })
}

/// Does what belongs to recovery and comes before the restore: an instant that nobody names has to be found.
pub(crate) fn locate(prepared: &mut Prepared, scratch: &Scratch, draft: &mut Draft) -> Tried<()> {
    match &prepared.particular {
        Particular::Attack(attack) => {
            let found = attack.locate(&prepared.journal, scratch, draft)?;
            ransomware::take(prepared, found)
        }
        _ => Ok(()),
    }
}

/// What the scenario itself asserts.
pub(crate) fn judge(prepared: &Prepared, brought: &Brought, findings: &Findings) -> Vec<Assertion> {
    match &prepared.particular {
        Particular::None => Vec::new(),
        Particular::Planted(planted) => vec![planted.judge(brought, findings)],
        Particular::Attack(attack) => vec![attack.judge(prepared)],
        Particular::Told(told) => told.clone(),
    }
}
