//! Notes that others have taken: names of instants, and restores that begin or have ended.
//!
//! A note is recorded with the mark at the end of a `sync`, in one group: its `Seq` then means exactly the state at the
//! call. Owns what is noted and what is refused; `sync.rs` takes care of the rest.

use asof_journal::control::{HeldName, PathBytes, Request, RestoreBegin};
use asof_journal::fate::{Fate, fate};
use asof_journal::types::{Held, Hold, Instant, MarkName, Op, Restore, RestoreBegun, Seq, is_plain_path};

use super::Agent;

impl Agent {
    /// What a request wants noted, if anything; else why it is refused.
    pub(super) fn note_of(&self, request: &Request) -> Result<Option<Op>, String> {
        let note = match request {
            Request::Status
            | Request::Configuration
            | Request::Sync { .. }
            | Request::Retain { .. }
            | Request::Forget(_) => return Ok(None),
            Request::Hold { what, until_ns, .. } => {
                Op::Hold(Hold { what: held(what)?, until: until_ns.map(Instant) })
            }
            Request::Release { what, .. } => Op::Release(held(what)?),
            Request::Mark { name, .. } => Op::Name(
                MarkName::new(name).map_err(|why| format!("{name:?} cannot name an instant: {why}"))?,
            ),
            Request::RestoreBegin(RestoreBegin { at, paths, exact, undoes, .. }) => {
                if let Some(path) = paths.iter().find(|path| !is_plain_path(&path.0)) {
                    return Err(format!("not noted: {:?} is no plain absolute path", path.to_string()));
                }
                Op::Restore(Restore::Begun(RestoreBegun {
                    at: Seq(*at),
                    paths: paths.iter().map(|PathBytes(path)| path.clone()).collect(),
                    exact: *exact,
                    undoes: undoes.map(Seq),
                }))
            }
            Request::RestoreEnd { id, outcome, .. } => {
                Op::Restore(Restore::Done { id: Seq(*id), outcome: (*outcome).into() })
            }
        };
        match self.objection(&note) {
            Some(why) => Err(why),
            None => Ok(Some(note)),
        }
    }

    /// Why a note cannot be taken, as the journal is now.
    pub(super) fn objection(&self, note: &Op) -> Option<String> {
        let found = match note {
            Op::Name(name) => {
                self.head.mark(name).map(|given| given.map(|seq| self.given_already(name, seq)))
            }
            Op::Restore(Restore::Begun(RestoreBegun { at, paths, undoes, .. })) => {
                if paths.is_empty() {
                    return Some("not noted: a restore of nothing".to_string());
                }
                if self.head.instant_of(*at).is_none() {
                    return Some(format!("not noted: {at} is not in the journal"));
                }
                undoes.map_or(Ok(None), |id| self.unknown_restore(id))
            }
            Op::Restore(Restore::Done { id, .. }) => self.restore_to_end(*id),
            Op::Hold(Hold { what, .. }) => self.never_there(what),
            Op::Release(what) => self.not_held(what),
            _ => Ok(None),
        };
        found.unwrap_or_else(|error| Some(error.to_string()))
    }

    fn never_there(&self, what: &Held) -> asof_journal::Result<Option<String>> {
        Ok(match what {
            Held::Path(path) => {
                let view = self.head.view();
                matches!(fate(&view, path)?, Fate::Never { .. }).then(|| {
                    let path = String::from_utf8_lossy(path);
                    format!("not held: the journal has never had anything at {path}")
                })
            }
            Held::Mark(name) => {
                let there = self.head.mark(name)?.is_some();
                (!there).then(|| format!("not held: there is no mark:{name}"))
            }
        })
    }

    fn not_held(&self, what: &Held) -> asof_journal::Result<Option<String>> {
        let held = self.head.holds()?.iter().any(|holding| holding.what == *what);
        Ok((!held).then(|| match what {
            Held::Path(path) => format!("not released: {} is not held", String::from_utf8_lossy(path)),
            Held::Mark(name) => format!("not released: mark:{name} is not held"),
        }))
    }

    fn given_already(&self, name: &MarkName, seq: Seq) -> String {
        let when = self.head.instant_of(seq).map_or(String::new(), |at| format!("{} (", at.to_rfc3339()));
        let end = if when.is_empty() { "" } else { ")" };
        format!("mark:{name} is {when}{seq}{end} already, and a mark stays what it is; choose another name")
    }

    fn unknown_restore(&self, id: Seq) -> asof_journal::Result<Option<String>> {
        let known = self.head.restores()?.iter().any(|restore| restore.begun.seq == id);
        Ok((!known).then(|| format!("not noted: no restore began at {id}")))
    }

    fn restore_to_end(&self, id: Seq) -> asof_journal::Result<Option<String>> {
        let restores = self.head.restores()?;
        Ok(match restores.iter().find(|restore| restore.begun.seq == id) {
            None => Some(format!("not noted: no restore began at {id}")),
            Some(restore) if restore.done.is_some() => {
                Some(format!("not noted: the restore of {id} has ended already"))
            }
            Some(_) => None,
        })
    }
}

/// What is to be held or released; else why it cannot be.
fn held(what: &HeldName) -> Result<Held, String> {
    match what {
        HeldName::Path(PathBytes(path)) if is_plain_path(path) => Ok(Held::Path(path.clone())),
        HeldName::Path(path) => Err(format!("{:?} is no plain absolute path", path.to_string())),
        HeldName::Mark(name) => MarkName::new(name)
            .map(Held::Mark)
            .map_err(|why| format!("{name:?} cannot name an instant: {why}")),
    }
}
