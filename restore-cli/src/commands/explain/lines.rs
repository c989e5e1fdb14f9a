//! What `explain --json` prints: the shape of its answer, no behaviour.

use serde::Serialize;

use crate::output::PathFields;

/// What the answer is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It was there, and this is what it was.
    Captured,
    /// A rule left it out.
    Excluded,
    /// It had been there and was deleted.
    Deleted,
    /// It had been there and had another name by then.
    Moved,
    /// Nobody looked then.
    Gap,
    /// It was not there yet.
    NotYetCreated,
    /// It was there and could not be read, or was not to be.
    Unreadable,
    /// It lay below no root.
    NotProtected,
    /// Its root was not there.
    RootMissing,
    /// Nothing of that name was ever captured.
    NeverSeen,
    /// It went by the retention policy.
    Thinned,
}

/// A place in the journal.
#[derive(Debug, Serialize)]
pub(super) struct At {
    pub(super) instant: String,
    pub(super) seq: u64,
    #[serde(skip)]
    pub(super) local: String,
}

/// The answer in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    #[serde(flatten)]
    pub(super) path: PathFields,
    pub(super) verdict: Verdict,
    /// The same in a sentence.
    pub(super) text: String,
    /// The root that it lay below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) root: Option<String>,
    /// Since when the name stood for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<At>,
    /// What it was, or was last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<VersionLine>,
    /// The rule that left it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<RuleLine>,
    /// When it was deleted or got its other name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<EndLine>,
    /// When something was first seen there after that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_seen: Option<At>,
    /// Where not everything of that time is kept: the nearest one before of which it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kept_before: Option<At>,
    /// And after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kept_after: Option<At>,
    /// What was taken out of all history since, in roots that it lies in: whether it was part of that is not told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) forgotten: Vec<ForgottenLine>,
    /// Gaps that concern it at that time.
    pub(super) gaps: Vec<GapLine>,
    /// The nearest useful command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
    pub(super) instant: String,
    pub(super) seq: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct VersionLine {
    #[serde(flatten)]
    pub(super) at: At,
    pub(super) kind: &'static str,
    pub(super) size: u64,
    pub(super) quality: &'static str,
    /// Why there is no content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct RuleLine {
    /// `pattern`, `cachedir_tag`, `journal` or `other_filesystem`.
    pub(super) kind: &'static str,
    /// The pattern as it is written in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pattern: Option<String>,
    /// Where it is written: `global`, or `root` for a root's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<&'static str>,
    /// What it matched: the path, or a directory above it.
    #[serde(flatten)]
    pub(super) matched: Matched,
}

#[derive(Debug, Serialize)]
pub(super) struct Matched {
    pub(super) matched: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) matched_b64: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct EndLine {
    /// What ended: the path, or a directory above it.
    #[serde(flatten)]
    pub(super) path: PathFields,
    /// When it is last known to have been there.
    pub(super) after: String,
    /// When it was found to be gone.
    pub(super) before: String,
    /// From when on the journal shows it gone.
    pub(super) seq: u64,
    /// Its path at that time, if it had another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) moved_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) moved_to_b64: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct GapLine {
    pub(super) scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope_b64: Option<String>,
    pub(super) from: String,
    /// Absent where it is not known to be over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    pub(super) reason: &'static str,
    pub(super) detail: String,
    #[serde(skip)]
    pub(super) text: String,
}

/// Something that was taken out of all history.
#[derive(Debug, Serialize)]
pub(super) struct ForgottenLine {
    #[serde(flatten)]
    pub(super) at: At,
    /// The user who had it done.
    pub(super) by: u32,
}
