//! The words that `asofd` and `asof` exchange over the control socket: values only, no I/O.
//!
//! One request is one line of JSON, one answer is one line of JSON; a connection may carry several.
//! Fields may be added, so both sides ignore unknown ones.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::RestoreOutcome;

/// What `asof` asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// How are things?
    Status,
    /// Which configuration is in force?
    Configuration,
    /// Make every change before this call durable.
    Sync {
        /// How long to wait, in milliseconds; zero means without limit.
        #[serde(default)]
        timeout_ms: u64,
    },
    /// Do as for [`Request::Sync`], and name the instant. Refused where the name is given already.
    Mark {
        /// The name; what it may be, [`crate::types::MarkName`] says.
        name: String,
        /// As for [`Request::Sync`].
        #[serde(default)]
        timeout_ms: u64,
    },
    /// Do as for [`Request::Sync`], and hold something from then on. Refused where it never was.
    Hold {
        /// What.
        what: HeldName,
        /// Until when, in ns since the epoch; absent: until it is released.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_ns: Option<i64>,
        /// As for [`Request::Sync`].
        #[serde(default)]
        timeout_ms: u64,
    },
    /// Do as for [`Request::Sync`], and hold something no longer. Refused where it is not held.
    Release {
        /// What.
        what: HeldName,
        /// As for [`Request::Sync`].
        #[serde(default)]
        timeout_ms: u64,
    },
    /// Apply the retention policy now. The answer comes when that is done, also where nobody waits for it any more.
    Retain {
        /// Whether also what frees less than it writes is done.
        #[serde(default)]
        all: bool,
    },
    /// Take paths out of all history. The answer comes when that is done, also where nobody waits for it any more.
    Forget(Forget),
    /// Do as for [`Request::Sync`], and note that a restore into the live tree begins: from the answer on what is there
    /// can be had back. The `seq` of the answer is the restore's id.
    RestoreBegin(RestoreBegin),
    /// Do as for [`Request::Sync`], and note that a restore has ended: what it did is durable then, too.
    RestoreEnd {
        /// The restore's id.
        id: u64,
        /// What it did.
        outcome: Outcome,
        /// As for [`Request::Sync`].
        #[serde(default)]
        timeout_ms: u64,
    },
}

/// What is to be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Forget {
    /// Plain absolute paths; none: only what was begun and has not come to its end is gone on with.
    pub paths: Vec<PathBytes>,
    /// What was so from this `Seq` on stays; absent: nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// The user who wants it.
    pub by: u32,
    /// Whether the note about it names the paths.
    pub record_names: bool,
}

/// What is to be held or released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldName {
    /// An absolute path without `.`, `..` and doubled slashes.
    Path(PathBytes),
    /// The name of an instant.
    Mark(String),
}

/// A restore into the live tree that is about to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreBegin {
    /// The `Seq` of the state that is restored.
    pub at: u64,
    /// What is restored: absolute paths without `.`, `..` and doubled slashes, one at least.
    pub paths: Vec<PathBytes>,
    /// Whether what was not there then is deleted.
    #[serde(default)]
    pub exact: bool,
    /// The id of the restore that this one takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// As for [`Request::Sync`].
    #[serde(default)]
    pub timeout_ms: u64,
}

/// What a restore did; the counts of [`RestoreOutcome`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Entries that were not there before.
    pub created: u64,
    /// Entries that were replaced or changed.
    pub overwritten: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Entries that could not be restored as asked.
    pub failed: u64,
    /// Bytes of content that were written.
    pub bytes: u64,
}

impl From<Outcome> for RestoreOutcome {
    fn from(outcome: Outcome) -> RestoreOutcome {
        let Outcome { created, overwritten, deleted, failed, bytes } = outcome;
        RestoreOutcome { created, overwritten, deleted, failed, bytes }
    }
}

/// A path of any bytes; base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathBytes(pub Vec<u8>);

impl TryFrom<String> for PathBytes {
    type Error = data_encoding::DecodeError;

    fn try_from(text: String) -> Result<PathBytes, data_encoding::DecodeError> {
        data_encoding::BASE64.decode(text.as_bytes()).map(PathBytes)
    }
}

impl From<PathBytes> for String {
    fn from(path: PathBytes) -> String {
        data_encoding::BASE64.encode(&path.0)
    }
}

impl fmt::Display for PathBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// What `asofd` answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Configuration`].
    Configuration {
        /// It, as a configuration file would have it.
        text: String,
    },
    /// To [`Request::Sync`] and everything that does as it does.
    Synced(Synced),
    /// To [`Request::Retain`].
    Retained(Retained),
    /// To [`Request::Forget`].
    Forgotten(Forgotten),
    /// The request could not be met.
    Failed {
        /// What happened and what to do next.
        error: String,
        /// Whether only the time ran out, so that waiting longer may help.
        #[serde(default)]
        timed_out: bool,
    },
}

/// The state of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The first reconcile since the start is under way.
    Starting,
    /// Everything under the roots is watched.
    Protecting,
    /// Something under the roots is not seen; `problems` says what.
    Degraded,
    /// No agent is running.
    Stopped,
}

/// A place in the journal that a script can give back as `--at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// RFC 3339, UTC, nanoseconds.
    pub instant: String,
    /// The sequence number.
    pub seq: u64,
}

/// One protected root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its path, with replacement characters where it is no UTF-8.
    pub path: String,
    /// Whether it is there and watched.
    pub watched: bool,
    /// Since when the journal has its history, RFC 3339; absent before the first capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// What the agent has done since it started; exact counts, for tests and for people who wonder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Hints that the event source delivered.
    pub hints: u64,
    /// Directories listed by the directory worker because a hint named them.
    pub directories_listed: u64,
    /// Directories listed by reconciles of whole roots.
    pub directories_reconciled: u64,
    /// Directories that checks looked at.
    pub directories_checked: u64,
    /// Files whose content was read.
    pub files_read: u64,
    /// Bytes of content read.
    pub bytes_read: u64,
    /// Versions recorded.
    pub versions: u64,
    /// Groups recorded.
    pub groups: u64,
    /// Event queue overflows.
    pub overflows: u64,
}

/// How long changes took from the first hint of them until they were durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rpo {
    /// Those that became durable within the last hour.
    pub last_hour: RpoSpan,
    /// Those since the agent started.
    pub since_start: RpoSpan,
}

/// A path that eats more than its budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runaway {
    /// The path as text.
    pub path: String,
    /// The path in base64 where the text does not say it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_b64: Option<PathBytes>,
    /// New stored bytes in the last 24 hours, as far as the agent has run.
    pub bytes: u64,
    /// What to write into the configuration, one way or another; some of it in several lines.
    pub proposals: Vec<String>,
}

impl Runaway {
    /// What eats so much, with what can be done about it.
    pub fn new(path: &[u8], bytes: u64, proposals: Vec<String>) -> Runaway {
        let path_b64 = std::str::from_utf8(path).is_err().then(|| PathBytes(path.to_vec()));
        Runaway { path: String::from_utf8_lossy(path).into_owned(), path_b64, bytes, proposals }
    }

    /// The path as it is.
    pub fn path_bytes(&self) -> &[u8] {
        self.path_b64.as_ref().map_or(self.path.as_bytes(), |path| &path.0)
    }
}

/// The same for one stretch of time; all zeros where there was no change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RpoSpan {
    /// Changes; hints of one path that came close together are one, and so is a directory whose hints became one scan.
    pub count: u64,
    /// Half of them took no longer than this.
    pub p50_ms: u64,
    /// 95 of 100 took no longer than this.
    pub p95_ms: u64,
    /// 99 of 100 took no longer than this.
    pub p99_ms: u64,
    /// None took longer than this.
    pub max_ms: u64,
}

/// How the agent is, or what the journal alone can tell where no agent runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The state.
    pub state: State,
    /// Process id of the agent; absent where none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What is protected.
    pub roots: Vec<Root>,
    /// The newest place that survives a power cut; absent in an empty journal.
    pub durable: Option<Place>,
    /// Age of the oldest change that was noticed and is not durable yet; 0 where there is none.
    pub lag_ms: u64,
    /// Changes that were noticed and are not durable yet.
    pub pending: u64,
    /// Gaps in the journal so far.
    pub gaps: u64,
    /// Bytes that the journal occupies on disk, index included.
    pub journal_bytes: u64,
    /// Where the journal is.
    pub journal: String,
    /// Through when everything is covered, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered_through: Option<String>,
    /// Changes since the agent started that no event announced, and a check found: 0 unless Linux shows nothing there
    /// (`chattr`, say) or the agent has a fault. The log names them.
    #[serde(default)]
    pub missed_by_events: u64,
    /// What is wrong now, for people.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Large files that are written all the time and therefore captured less often.
    #[serde(default)]
    pub stretched: Vec<String>,
    /// Paths with more new bytes in the last 24 hours than the configuration gives a path, the worst first.
    #[serde(default)]
    pub runaways: Vec<Runaway>,
    /// Since when the part of the journal that was checked the longest time ago has not been, RFC 3339: when that was, or
    /// when it was written. Absent where nothing is sealed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_unchecked: Option<String>,
    /// Bytes of the journal that were checked since the agent started.
    #[serde(default)]
    pub checked_bytes: u64,
    /// How the retention policy is applied; absent where no agent runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// How long changes took until they were durable.
    #[serde(default)]
    pub rpo: Rpo,
    /// What the agent has done since it started.
    #[serde(default)]
    pub counters: Counters,
}

/// What applying the retention policy did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retained {
    /// Old segments that others have taken the place of.
    pub segments: u64,
    /// Bytes of these.
    pub bytes_before: u64,
    /// Bytes of those.
    pub bytes_after: u64,
    /// Versions that went.
    pub versions: u64,
    /// Names that went.
    pub bindings: u64,
    /// Blocks of content that went.
    pub blocks: u64,
    /// Old segments whose files still wait for readers.
    pub waiting: u64,
    /// The reader that they have waited for the longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reader: Option<OldReader>,
    /// Runs of segments that were left for want of room.
    pub short_of_room: u64,
    /// Damaged places: their segments stay as they are.
    pub damage: Vec<String>,
}

/// What forgetting did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Forgotten {
    /// Versions that went.
    pub versions: u64,
    /// Records of names that went.
    pub bindings: u64,
    /// Blocks of content that went.
    pub blocks: u64,
    /// Segments that were written anew.
    pub segments: u64,
    /// Old segments whose files still wait for readers.
    pub waiting: u64,
    /// The reader that they have waited for the longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reader: Option<OldReader>,
    /// Segments that still have something of it.
    pub left: u64,
    /// Whether there was no room to write them anew.
    pub short_of_room: bool,
    /// Damaged places: their segments stay as they are.
    pub damage: Vec<String>,
}

/// A reader that old segments wait for; for a day at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldReader {
    /// Its process.
    pub pid: u32,
    /// How long it has had the journal open.
    pub seconds: u64,
}

/// How the retention policy is applied; sums are since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// When it was last looked whether anything may go, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked: Option<String>,
    /// When something last went, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compacted: Option<String>,
    /// Bytes that were freed.
    pub freed_bytes: u64,
    /// Bytes that were written for that.
    pub written_bytes: u64,
    /// Versions that went.
    pub versions: u64,
    /// Names that went.
    pub bindings: u64,
    /// Old segments whose files still wait for readers.
    pub waiting: u64,
    /// The reader that they have waited for the longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reader: Option<OldReader>,
    /// Runs of segments that were left for want of room when it was last looked.
    pub short_of_room: u64,
    /// Damaged places that keep segments as they are.
    pub damage: Vec<String>,
}

/// What a `sync` gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// RFC 3339, UTC, nanoseconds; `--at` takes it.
    pub instant: String,
    /// The sequence number.
    pub seq: u64,
    /// `seq:N`; `--at` takes it, and no clock step gives it a second reading.
    pub at: String,
}
