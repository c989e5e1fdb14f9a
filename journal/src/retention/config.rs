//! The retention policy as it is written in the configuration: `[retention]`, its rules, and what roots say.
//!
//! Owns the keys, their defaults and limits; one reading for the agent that applies it and the command that shows what it
//! would do. Reads no file.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ladder::{self, Ladder};
use super::policy::LADDERS_MAX;

/// The keys of `[retention]`.
pub const KEYS: &[&str] = &["budget_per_day", "immutable", "keep", "rule"];
/// The keys of `[[retention.rule]]`.
pub const RULE_KEYS: &[&str] = &["keep", "patterns"];

/// Unless said otherwise nothing goes within a week.
pub const IMMUTABLE_MINUTES: u64 = 7 * 24 * 60;
/// Unless said otherwise a path with more new bytes a day is named: 1 GiB.
pub const BUDGET_PER_DAY: u64 = 1 << 30;

/// What was written, or what holds where nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The ladder for everything that has no other. Default: all for 2 days, 10 minutes for 7 days, 1 hour for 30 days, 1 day for
    /// 365 days, 1 week.
    pub keep: Ladder,
    /// For so long nothing goes, by what the writer saw pass. Minutes; default 7 days; 0: no such window.
    pub immutable_minutes: u64,
    /// Ladders by pattern; the first that matches counts.
    pub rules: Vec<WrittenRule>,
    /// Ladders by root.
    pub roots: Vec<(Vec<u8>, Ladder)>,
    /// Stored bytes of a path in a day of the journal's time over which it is named. Bytes; default 1 GiB; `None`: never.
    pub budget_per_day: Option<u64>,
}

/// A ladder for what patterns match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenRule {
    /// Patterns in gitignore syntax, as in `exclude`.
    pub patterns: Vec<String>,
    /// The ladder.
    pub keep: Ladder,
}

impl Default for Written {
    fn default() -> Written {
        Written {
            keep: Ladder::default(),
            immutable_minutes: IMMUTABLE_MINUTES,
            rules: Vec::new(),
            roots: Vec::new(),
            budget_per_day: Some(BUDGET_PER_DAY),
        }
    }
}

/// What is wrong, and where in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it stands.
    pub at: Range<usize>,
    /// What is wrong; names the key.
    pub what: String,
}

impl Refused {
    /// The line that it stands at, from 1.
    pub fn line(&self, text: &str) -> usize {
        text.bytes().take(self.at.start).filter(|byte| *byte == b'\n').count() + 1
    }
}

type Value<'d> = Spanned<DeValue<'d>>;
/// Texts of a list, each with its place.
type Texts = Vec<(String, Range<usize>)>;
type Result<T> = std::result::Result<T, Refused>;

/// Reads the retention policy out of the text of a configuration. Everything else in it is the agent's to judge.
///
/// # Errors
/// Where the text is no TOML, or what concerns retention is not as it has to be.
pub fn parse(text: &str) -> Result<Written> {
    let refused = |error: toml::de::Error| Refused {
        at: error.span().unwrap_or_default(),
        what: error.message().to_owned(),
    };
    written(DeTable::parse(text).map_err(refused)?.get_ref())
}

/// The same out of a configuration that was taken apart already.
///
/// # Errors
/// Where what concerns retention is not as it has to be.
pub fn written(document: &DeTable<'_>) -> Result<Written> {
    let mut written = Written::default();
    if let Some(value) = document.get("retention") {
        let table = Table::new("retention", value, "a table: [retention]")?;
        table.knows(KEYS)?;
        if let Some(keep) = table.ladder("keep")? {
            written.keep = keep;
        }
        if let Some(value) = table.table.get("immutable") {
            written.immutable_minutes = table.minutes("immutable", value)?;
        }
        if let Some(value) = table.table.get("budget_per_day") {
            let bytes = bytes(value.get_ref());
            let wanted = "a number of bytes, or a text like \"1 GiB\"";
            let bytes = bytes.ok_or_else(|| table.unwanted("budget_per_day", value, wanted))?;
            written.budget_per_day = Some(bytes).filter(|bytes| *bytes > 0);
        }
        if let Some(value) = table.table.get("rule") {
            let wanted = "a list of tables: [[retention.rule]]";
            let rules = value.get_ref().as_array().ok_or_else(|| table.unwanted("rule", value, wanted))?;
            for value in rules.iter() {
                written.rules.push(rule(value)?);
            }
        }
    }
    let roots = document.get("root").and_then(|value| value.get_ref().as_array());
    for value in roots.into_iter().flat_map(|roots| roots.iter()) {
        // What is wrong with a root but for its ladder is said elsewhere.
        let Some(root) = value.get_ref().as_table() else { continue };
        let table = Table { name: "root.", table: root };
        if let Some(keep) = table.ladder("keep")?
            && let Some(path) = root.get("path").and_then(|path| path.get_ref().as_str())
        {
            written.roots.push((path.as_bytes().to_vec(), keep));
        }
    }
    let ladders =
        written.rules.iter().map(|rule| &rule.keep).chain(written.roots.iter().map(|(_, keep)| keep));
    let mut different: Vec<&Ladder> = vec![&written.keep];
    for ladder in ladders {
        if !different.contains(&ladder) {
            different.push(ladder);
        }
    }
    if different.len() > LADDERS_MAX {
        let at = document.get("retention").map(Spanned::span).unwrap_or_default();
        let what = format!("there are {} different ladders; {LADDERS_MAX} are the most", different.len());
        return Err(Refused { at, what });
    }
    Ok(written)
}

/// A ladder that is proposed: steps, each as it would stand in `keep`.
///
/// # Errors
/// Names the step that is wrong, and says what to write instead.
pub fn proposed(steps: &[String]) -> std::result::Result<Ladder, ladder::LadderError> {
    Ladder::parse(steps)
}

fn rule(value: &Value<'_>) -> Result<WrittenRule> {
    let table = Table::new("retention.rule", value, "a table")?;
    table.knows(RULE_KEYS)?;
    let missing = |key: &str, what: &str| {
        let what = format!("retention.rule.{key} is missing: {what}");
        Refused { at: value.span(), what }
    };
    let patterns = table.texts("patterns", "a text: a pattern")?.unwrap_or_default();
    if patterns.is_empty() {
        return Err(missing("patterns", "say which paths it is for, such as [\"*.iso\"]"));
    }
    for (pattern, at) in &patterns {
        if pattern.starts_with('!') {
            let what = format!(
                "retention.rule.patterns: pattern {pattern:?}: a rule cannot take back; write a rule for it before this one"
            );
            return Err(Refused { at: at.clone(), what });
        }
        let root = crate::types::RootPolicy { path: b"/".to_vec(), ..Default::default() };
        let policy =
            crate::types::Policy { roots: vec![root], excludes: vec![pattern.clone()], ..Default::default() };
        if let Err(error) = crate::rules::Rules::new(&policy) {
            return Err(Refused { at: at.clone(), what: format!("retention.rule.patterns: {error}") });
        }
    }
    let keep =
        table.ladder("keep")?.ok_or_else(|| missing("keep", "say what is kept, such as [\"1 day\"]"))?;
    Ok(WrittenRule { patterns: patterns.into_iter().map(|(pattern, _)| pattern).collect(), keep })
}

/// A table, and what stands before its keys.
struct Table<'d> {
    name: &'d str,
    table: &'d DeTable<'d>,
}

impl<'d> Table<'d> {
    fn new(name: &'static str, value: &'d Value<'d>, wanted: &str) -> Result<Table<'d>> {
        let prefix = if name == "retention" { "retention." } else { "retention.rule." };
        match value.get_ref().as_table() {
            Some(table) => Ok(Table { name: prefix, table }),
            None => {
                let kind = value.get_ref().type_str();
                Err(Refused { at: value.span(), what: format!("{name} has to be {wanted}, and is a {kind}") })
            }
        }
    }

    fn knows(&self, known: &[&str]) -> Result<()> {
        match self.table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            Some(key) => {
                let what =
                    format!("unknown key {}{}; there are {}", self.name, key.get_ref(), known.join(", "));
                Err(Refused { at: key.span(), what })
            }
            None => Ok(()),
        }
    }

    fn unwanted(&self, key: &str, value: &Value<'_>, wanted: &str) -> Refused {
        let what = format!("{}{key} has to be {wanted}, and is a {}", self.name, value.get_ref().type_str());
        Refused { at: value.span(), what }
    }

    /// The texts of a list, each with its place.
    fn texts(&self, key: &str, wanted: &str) -> Result<Option<Texts>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let list = value.get_ref().as_array().ok_or_else(|| self.unwanted(key, value, "a list"))?;
        let text = |value: &Value<'_>| match value.get_ref().as_str() {
            Some(text) => Ok((text.to_owned(), value.span())),
            None => Err(self.unwanted(key, value, wanted)),
        };
        list.iter().map(text).collect::<Result<Vec<_>>>().map(Some)
    }

    fn ladder(&self, key: &str) -> Result<Option<Ladder>> {
        let Some(texts) = self.texts(key, "a text: a step such as \"1 hour for 30 days\"")? else {
            return Ok(None);
        };
        let steps: Vec<&str> = texts.iter().map(|(text, _)| text.as_str()).collect();
        Ladder::parse(&steps).map(Some).map_err(|error| {
            let step = error.step.as_ref().and_then(|(at, _)| texts.get(at - 1));
            let at = step.map(|(_, at)| at.clone()).or_else(|| self.table.get(key).map(Spanned::span));
            Refused { at: at.unwrap_or_default(), what: format!("{}{key}: {error}", self.name) }
        })
    }

    fn minutes(&self, key: &str, value: &Value<'_>) -> Result<u64> {
        let wanted = "a text such as \"7 days\", or 0";
        let refused = |what| Refused { at: value.span(), what: format!("{}{key}: {what}", self.name) };
        match (value.get_ref().as_str(), value.get_ref().as_integer()) {
            (Some(text), _) => ladder::minutes(text).map_err(refused),
            (None, Some(number)) if u64::from_str_radix(number.as_str(), number.radix()) == Ok(0) => Ok(0),
            _ => Err(self.unwanted(key, value, wanted)),
        }
    }
}

/// A size: bytes, or digits and a unit; K, M, G and T are powers of 1024.
fn bytes(value: &DeValue<'_>) -> Option<u64> {
    if let Some(number) = value.as_integer() {
        return u64::from_str_radix(number.as_str(), number.radix()).ok();
    }
    let text = value.as_str()?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit.trim_start() {
        "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(parse(""), Ok(Written::default()));
        assert_eq!(parse("roots = [\"/a\"]\n[retention]\n"), Ok(Written::default()));
    }

    #[test]
    fn everything_is_read() {
        let written = parse(
            "[retention]\nkeep = [\"all for 1 day\", \"1 hour\"]\nimmutable = \"3 days\"\nbudget_per_day = \"2 GiB\"\n\
             [[retention.rule]]\npatterns = [\"*.iso\", \"/build/\"]\nkeep = [\"1 day\"]\n\
             [[root]]\npath = \"/srv\"\nkeep = [\"all\"]\n[[root]]\npath = \"/other\"\n",
        )
        .expect("a policy");
        assert_eq!(written.keep, Ladder::parse(&["all for 1 day", "1 hour"]).expect("a ladder"));
        assert_eq!((written.immutable_minutes, written.budget_per_day), (3 * 24 * 60, Some(2 << 30)));
        let keep = Ladder::parse(&["1 day"]).expect("a ladder");
        assert_eq!(written.rules, [WrittenRule { patterns: vec!["*.iso".into(), "/build/".into()], keep }]);
        assert_eq!(written.roots, [(b"/srv".to_vec(), Ladder::everything())]);
        let none = parse("[retention]\nimmutable = 0\nbudget_per_day = 0\n").expect("a policy");
        assert_eq!((none.immutable_minutes, none.budget_per_day), (0, None));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, part) in [
            ("\n[retention]\nkeeps = []\n", 3, "unknown key retention.keeps; there are"),
            ("[retention]\nkeep = []\n", 2, "retention.keep: there is no step"),
            ("[retention]\nkeep = [\n\"all for 1 day\",\n\"all\"]\n", 4, "step 2, \"all\""),
            ("[retention]\nkeep = \"all\"\n", 2, "retention.keep has to be a list, and is a string"),
            ("[retention]\nkeep = [1]\n", 2, "has to be a text: a step"),
            ("[retention]\nimmutable = 7\n", 2, "retention.immutable has to be a text such as \"7 days\""),
            ("[retention]\nimmutable = \"1 month\"\n", 2, "retention.immutable: "),
            ("[retention]\nbudget_per_day = \"much\"\n", 2, "retention.budget_per_day has to be"),
            ("retention = 1\n", 1, "retention has to be a table"),
            ("[retention]\nrule = 1\n", 2, "[[retention.rule]]"),
            ("[[retention.rule]]\nkeep = [\"all\"]\n", 1, "retention.rule.patterns is missing"),
            ("[[retention.rule]]\npatterns = [\"*.o\"]\n", 1, "retention.rule.keep is missing"),
            ("[[retention.rule]]\npatterns = [\"*.o\"]\nwhat = 1\n", 3, "unknown key retention.rule.what"),
            ("[[retention.rule]]\npatterns = [\"[a\"]\nkeep = [\"all\"]\n", 2, "pattern \"[a\""),
            ("[[retention.rule]]\npatterns = [\"!a\"]\nkeep = [\"all\"]\n", 2, "cannot take back"),
            ("[[root]]\npath = \"/a\"\nkeep = [\"1 hour\", \"7 minutes\"]\n", 3, "root.keep: step 2"),
            ("[retention\n", 1, ""),
        ] {
            let refused = parse(text).expect_err(text);
            assert!(refused.what.contains(part), "{text}: {}", refused.what);
            assert_eq!(refused.line(text), line, "{text}: {}", refused.what);
        }
    }
}
