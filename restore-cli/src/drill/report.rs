//! The report of a drill: what it measured, what it asserted, how it ended. Everything else is a rendering of it.
//!
//! Values only, and their form in JSON (`packaging/drills/report.schema.json` describes every field). Runs nothing, prints
//! nothing, touches no file.

use asof_journal::types::Instant;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::output::PathFields;

/// The version of the form. Fields may be added under the same version; readers ignore what they do not know.
pub(crate) const SCHEMA: &str = "asof-drill-report/1";

/// What one drill found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: String,
    /// Which drill it was, and who ran it where.
    pub(crate) identity: Identity,
    /// The place in the chain of reports; set by whoever keeps them.
    pub(crate) chain: Link,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Why, in one sentence.
    pub(crate) why: String,
    /// What was simulated, in the words of the file: `file`, `tree`, `everything`, `index-lost`, ...
    pub(crate) scenario: String,
    /// What a random choice was drawn with; the same seed draws the same.
    pub(crate) seed: u64,
    /// What was chosen.
    pub(crate) selection: Selection,
    /// The instant that was asked for, and the one that it meant.
    pub(crate) instant: AsOf,
    /// When it happened.
    pub(crate) times: Times,
    /// How long it took, by a clock that is never set.
    pub(crate) durations: Durations,
    /// Content that was restored.
    pub(crate) bytes: u64,
    /// The same for each second from the first byte until the last; absent where nothing was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_second: Option<u64>,
    /// From the request until everything was verified.
    pub(crate) rto: Target,
    /// The age of the newest recovered change at the failure.
    pub(crate) rpo: Target,
    /// How many paths of what kind.
    pub(crate) counts: Counts,
    /// How much has ever been drilled, with this drill.
    pub(crate) coverage: Coverage,
    /// When the journal did not see everything, within the window that the drill looks at.
    pub(crate) gaps: Vec<Gap>,
    /// What was asserted, in the order of the file.
    pub(crate) assertions: Vec<Assertion>,
    /// What the verdict rests on.
    pub(crate) evidence: Vec<Evidence>,
    /// Programs that were run; of many, the first, and those that did not go well.
    pub(crate) commands: Vec<Command>,
    /// How many more there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) commands_left_out: u64,
    /// What it took.
    pub(crate) cost: Cost,
    /// Scratch space, and what became of it.
    pub(crate) clean_up: Vec<CleanUp>,
    /// Who was told.
    pub(crate) hooks: Vec<Hook>,
    /// What a person should know although the verdict stands.
    pub(crate) warnings: Vec<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Which drill, who, where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Of this report alone.
    pub(crate) report_id: String,
    /// The name of the drill.
    pub(crate) drill: String,
    /// Its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<Name>,
    /// BLAKE3 of the file's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file_hash: Option<String>,
    /// The machine.
    pub(crate) host: String,
    /// Whoever ran it.
    pub(crate) user: String,
    /// The version of `asof`.
    pub(crate) asof_version: String,
    /// The journal that was drilled.
    pub(crate) journal_id: String,
    /// Where that is.
    pub(crate) journal: Name,
}

/// A place in the chain of reports of one journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// Counts from 1; 0 is not yet in the chain.
    pub(crate) number: u64,
    /// BLAKE3 of the file of the report before, all of it; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous_hash: Option<String>,
}

/// How a drill or an assertion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It holds.
    Pass,
    /// It does not hold.
    Fail,
    /// It could not be told.
    Inconclusive,
}

impl Outcome {
    /// As in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Inconclusive => "inconclusive",
        }
    }

    /// Of both together: a failure counts most, then what could not be told.
    pub(crate) fn and(self, other: Outcome) -> Outcome {
        match (self, other) {
            (Outcome::Fail, _) | (_, Outcome::Fail) => Outcome::Fail,
            (Outcome::Inconclusive, _) | (_, Outcome::Inconclusive) => Outcome::Inconclusive,
            (Outcome::Pass, Outcome::Pass) => Outcome::Pass,
        }
    }
}

/// What was chosen for the drill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Selection {
    /// In words: `everything`, `1 % at random`, `3 paths`.
    pub(crate) what: String,
    /// What it was chosen from.
    pub(crate) below: Vec<Name>,
    /// How many paths there were to choose from; absent where nobody counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) candidates: Option<u64>,
    /// How many were chosen.
    pub(crate) chosen: u64,
}

/// An instant: as it was said, and what that meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AsOf {
    /// The words of the file, such as `latest` or `random-within 30d`.
    pub(crate) requested: String,
    /// The instant that it was resolved to; absent where it could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resolved: Option<Stamp>,
    /// Its place in the order of the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
}

/// When what happened, by the system's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// When the drill began: the request.
    pub(crate) started: Stamp,
    /// The restore was requested: oracles were asked and damage was made before it. RTO counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requested: Option<Stamp>,
    /// The failure that the scenario supposes; the beginning where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Stamp>,
    /// The newest change that came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) newest_recovered: Option<Stamp>,
    /// The first byte was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_byte: Option<Stamp>,
    /// Everything was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored: Option<Stamp>,
    /// Everything was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<Stamp>,
    /// The drill was over, its scratch space cleaned up.
    pub(crate) ended: Stamp,
}

/// How long after the beginning what happened, in milliseconds, by the monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Durations {
    /// Until the restore was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requested_ms: Option<u64>,
    /// Until the first byte was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_byte_ms: Option<u64>,
    /// Until everything was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored_ms: Option<u64>,
    /// Until everything was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verified_ms: Option<u64>,
    /// Until the end.
    pub(crate) total_ms: u64,
    /// Spent in restoring, within the total.
    pub(crate) restoring_ms: u64,
    /// Spent in verifying, within the total.
    pub(crate) verifying_ms: u64,
}

/// A duration that was measured, beside the one that is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// What is wanted at most, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target_ms: Option<u64>,
    /// What it was; absent where it could not be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) measured_ms: Option<u64>,
    /// Whether it was within the target; absent where one of both is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) met: Option<bool>,
}

impl Target {
    /// One with its comparison.
    pub(crate) fn new(target_ms: Option<u64>, measured_ms: Option<u64>) -> Target {
        let met = target_ms.zip(measured_ms).map(|(target, measured)| measured <= target);
        Target { target_ms, measured_ms, met }
    }
}

/// Paths by what was found of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// That should be there, as the oracle or the journal says.
    pub(crate) expected: u64,
    /// That were restored.
    pub(crate) restored: u64,
    /// Whose content equals what an independent oracle says.
    pub(crate) matched: u64,
    /// Whose content differs from it.
    pub(crate) differing: u64,
    /// That are not there and should be.
    pub(crate) missing: u64,
    /// That are there and should not be.
    pub(crate) extra: u64,
    /// Whose metadata differs.
    pub(crate) metadata_differences: u64,
    /// That the journal holds in a torn version only.
    pub(crate) torn: u64,
    /// Of which no independent oracle knows the content.
    pub(crate) without_oracle: u64,
}

/// How much has ever been drilled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    /// Of the paths that are protected now.
    pub(crate) paths: Share,
    /// Of the days of history that the journal reaches back, counted in whole days of UTC.
    pub(crate) history_days: Share,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// That were drilled at least once, with this drill.
    pub(crate) drilled: u64,
    /// That there are.
    pub(crate) total: u64,
}

impl Share {
    /// Between 0 and 1; `None` where there is nothing to have a share of.
    pub(crate) fn ratio(self) -> Option<f64> {
        (self.total > 0).then(|| self.drilled.min(self.total) as f64 / self.total as f64)
    }
}

/// A time in which the journal did not see everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// Its beginning.
    pub(crate) from: Stamp,
    /// Its end; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Stamp>,
    /// What it concerns.
    pub(crate) below: Name,
    /// Why.
    pub(crate) why: String,
}

/// Something that was asserted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assertion {
    /// What kind of assertion: those of the file (`content`, `paths`, ...), and those that a scenario makes by itself.
    pub(crate) kind: String,
    /// Which one of its kind; unique in a report.
    pub(crate) name: String,
    /// Whether it holds.
    pub(crate) outcome: Outcome,
    /// What was found, or why it could not be told, in one sentence.
    pub(crate) message: String,
    /// Single findings, a line each: so many as a person reads.
    pub(crate) details: Vec<String>,
    /// How many more there were.
    pub(crate) details_left_out: u64,
    /// How long it took to tell.
    pub(crate) ms: u64,
}

/// Something that the verdict rests on, such as a witness list, with what it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    /// What it is.
    pub(crate) what: String,
    /// Where it was.
    pub(crate) path: Name,
    /// BLAKE3 of its bytes.
    pub(crate) blake3: String,
    /// How many bytes.
    pub(crate) bytes: u64,
    /// When it was made, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made: Option<Stamp>,
}

/// A program that was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    /// What for.
    pub(crate) what: String,
    /// Its words, the first of them.
    pub(crate) argv: Vec<String>,
    /// How many more there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) argv_left_out: u64,
    /// Where it was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) directory: Option<Name>,
    /// Its exit status; absent where a signal ended it or it could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<i32>,
    /// Whether it was ended because its time was over.
    pub(crate) timed_out: bool,
    /// How long it ran.
    pub(crate) ms: u64,
    /// The end of what it printed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) output: String,
}

/// What a drill took from the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// The largest resident set of the drill itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak_memory_bytes: Option<u64>,
    /// The largest one of the programs that it ran, as it was seen every now and then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak_memory_of_programs_bytes: Option<u64>,
    /// Processor time of the drill itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ms: Option<u64>,
    /// The most scratch space that was in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scratch_bytes: Option<u64>,
    /// What it was limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scratch_limit_bytes: Option<u64>,
}

/// Something that the drill made, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CleanUp {
    /// What it is.
    pub(crate) what: String,
    /// Where it is or was.
    pub(crate) path: Name,
    /// Whether it is gone.
    pub(crate) removed: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// Somebody who was told, or should have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hook {
    /// Of what: `start`, `success` or `failure`.
    pub(crate) event: String,
    /// The address without what is secret in it, or the program.
    pub(crate) what: String,
    /// Whether it was heard.
    pub(crate) done: bool,
    /// How long it took.
    pub(crate) ms: u64,
    /// What was answered, or why it was not heard.
    pub(crate) message: String,
}

/// A path: as text, and in base64 beside it where its bytes are no UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Name {
    /// The text.
    pub(crate) path: String,
    /// All bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_b64: Option<String>,
}

impl Name {
    /// Of a path.
    pub(crate) fn new(path: &[u8]) -> Name {
        let (path, path_b64) = PathFields::pair(path);
        Name { path, path_b64 }
    }

    /// All bytes, as far as the text and the base64 tell.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let decoded =
            self.path_b64.as_ref().and_then(|text| data_encoding::BASE64.decode(text.as_bytes()).ok());
        decoded.unwrap_or_else(|| self.path.clone().into_bytes())
    }
}

/// An instant: RFC 3339 in UTC, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) Instant);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339())
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = chrono::DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        let ns = time.timestamp_nanos_opt().ok_or_else(|| serde::de::Error::custom("a time out of range"))?;
        Ok(Stamp(Instant(ns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_counts_more_than_what_could_not_be_told() {
        let all = [Outcome::Pass, Outcome::Fail, Outcome::Inconclusive];
        for one in all {
            assert_eq!(one.and(one), one);
            assert_eq!(one.and(Outcome::Fail), Outcome::Fail);
            assert_eq!(one.and(Outcome::Pass), one);
            for other in all {
                assert_eq!(one.and(other), other.and(one));
            }
        }
    }

    #[test]
    fn a_target_is_judged_where_both_are_known() {
        assert_eq!(Target::new(Some(10), Some(10)).met, Some(true));
        assert_eq!(Target::new(Some(10), Some(11)).met, Some(false));
        assert_eq!(Target::new(None, Some(11)).met, None);
        assert_eq!(Target::new(Some(10), None).met, None);
    }

    #[test]
    fn a_stamp_is_the_same_to_the_nanosecond_after_a_round_through_text() {
        let stamp = Stamp(Instant(1_700_000_000_000_000_001));
        let text = serde_json::to_string(&stamp).unwrap();
        assert_eq!(text, "\"2023-11-14T22:13:20.000000001Z\"");
        assert_eq!(serde_json::from_str::<Stamp>(&text).unwrap(), stamp);
        assert!(serde_json::from_str::<Stamp>("\"yesterday\"").is_err());
    }

    #[test]
    fn a_name_of_any_bytes_survives() {
        for bytes in [&b"/a/b"[..], b"/a/\xff\xfe"] {
            assert_eq!(Name::new(bytes).bytes(), bytes);
        }
    }
}
