//! The index against the log: every entry of the one against what the other gives.
//!
//! An index may be behind, and it may know what the log has lost since. Anything else is a fault of the index.

use super::LostGroups;
use crate::error::{Error, Result};
use crate::index::Cf;
use crate::index::keys::{self, Applied, Located};
use crate::index::store::{Scan, Store};
use crate::types::Seq;

/// How the index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// It agrees with the log, and is so many batches behind it.
    Sound {
        /// Batches that it does not have yet.
        behind: u64,
    },
    /// There is none; readers do without, and asofd makes one.
    Missing,
    /// It cannot be read, or is of another log.
    Unusable(String),
    /// It is of this log and knows more than is there: the end of the log is gone.
    Ahead(String),
    /// It says something else than the log.
    Differs(Differences),
}

impl IndexState {
    /// Whether nothing is wrong with it.
    pub fn is_sound(&self) -> bool {
        matches!(self, IndexState::Sound { .. } | IndexState::Missing)
    }
}

/// In what an index differs from its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Entries that it lacks.
    pub missing: u64,
    /// Entries that the log does not give.
    pub extra: u64,
    /// Entries that say something else.
    pub other: u64,
    /// The first of them, for people.
    pub first: String,
}

impl Differences {
    fn total(&self) -> u64 {
        self.missing + self.extra + self.other
    }
}

/// What explains a difference.
pub(super) struct Excuses<'e> {
    /// How far the index has come.
    pub(super) applied: Applied,
    /// Whether it has come to the end of the log.
    pub(super) behind: bool,
    /// Groups that the log has lost; an index from before knows them.
    pub(super) lost: &'e [LostGroups],
    /// Whether frames or segments are damaged or gone, so that the log no longer tells all places.
    pub(super) damaged: bool,
}

/// Compares an index with what the log gives.
pub(super) fn compare(index: &Store, truth: &Store, excuses: &Excuses<'_>) -> Result<Differences> {
    let mut found = Differences::default();
    for cf in Cf::ALL.into_iter().filter(|cf| *cf != Cf::Meta) {
        let (mut has, mut should) = (index.scan(cf, &[])?, truth.scan(cf, &[])?);
        loop {
            let step = match (has.item(), should.item()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((has, _)), Some((should, _))) => has.cmp(should),
            };
            match step {
                std::cmp::Ordering::Less => {
                    note(&mut found, cf, &has, Kind::Extra, excuses);
                    has.advance()?;
                }
                std::cmp::Ordering::Greater => {
                    note(&mut found, cf, &should, Kind::Missing, excuses);
                    should.advance()?;
                }
                std::cmp::Ordering::Equal => {
                    if has.item() != should.item() {
                        note(&mut found, cf, &should, Kind::Other, excuses);
                    }
                    has.advance()?;
                    should.advance()?;
                }
            }
        }
    }
    Ok(found)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Missing,
    Extra,
    Other,
}

fn note(found: &mut Differences, cf: Cf, at: &Scan<'_>, kind: Kind, excuses: &Excuses<'_>) {
    let Some((key, value)) = at.item() else { return };
    if excuses.explain(cf, key, value, kind) {
        return;
    }
    let (count, word) = match kind {
        Kind::Missing => (&mut found.missing, "lacks"),
        Kind::Extra => (&mut found.extra, "has and should not have"),
        Kind::Other => (&mut found.other, "has otherwise"),
    };
    *count += 1;
    if found.total() == 1 {
        let key = data_encoding::HEXLOWER.encode(key);
        found.first = format!("it {word} the entry {key} of {}", cf.name());
    }
}

impl Excuses<'_> {
    fn explain(&self, cf: Cf, key: &[u8], value: &[u8], kind: Kind) -> bool {
        let seq = seq_of(cf, key, value);
        let is_later = |seq: Seq| seq > self.applied.last_seq;
        match kind {
            Kind::Missing | Kind::Other if self.behind => match cf {
                // Their keys have no order in time; the newest entry counts.
                Cf::Identity => return true,
                Cf::Block => {
                    return Located::decode(value).is_ok_and(|located| located.frame >= self.applied.end)
                        || self.damaged;
                }
                _ if seq.is_none_or(is_later) => return true,
                _ => {}
            },
            _ => {}
        }
        // What tells of a loss is not in an index from before it.
        let of_loss = cf == Cf::Gap && key.ends_with(&u16::MAX.to_be_bytes());
        if kind == Kind::Missing && of_loss {
            return true;
        }
        if self.lost.is_empty() && !self.damaged {
            return false;
        }
        match (cf, seq) {
            (Cf::Block | Cf::Identity | Cf::Clock | Cf::Filename, _) => kind != Kind::Missing,
            (_, Some(seq)) => {
                kind == Kind::Extra && self.lost.iter().any(|lost| lost.first <= seq && seq <= lost.last)
            }
            (_, None) => false,
        }
    }
}

/// The `Seq` that an entry is from, where it tells.
fn seq_of(cf: Cf, key: &[u8], value: &[u8]) -> Option<Seq> {
    match cf {
        Cf::Binding => keys::parse_binding(key).ok().map(|(_, seq)| seq),
        Cf::Version | Cf::Link => keys::parse_node_seq(key).ok(),
        Cf::Event | Cf::Gap | Cf::Policy | Cf::Loss | Cf::Restore | Cf::Hold | Cf::Forgotten => {
            keys::parse_seq(key).ok()
        }
        Cf::Named => keys::parse_named(key).ok().map(|(_, seq)| seq),
        Cf::Clock => keys::parse_seq(value).ok(),
        Cf::Block | Cf::Identity | Cf::Filename | Cf::Meta => None,
    }
}

/// Why an index that was read is of no use.
pub(super) fn refusal(error: Error) -> Result<IndexState> {
    match error {
        Error::Index { what, .. } => Ok(IndexState::Unusable(what)),
        other => Err(other),
    }
}
