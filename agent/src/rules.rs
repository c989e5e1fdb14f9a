//! What is left out of what lies below the roots, and by which rule.
//!
//! Owns that decision for hints, watches and listings alike. Looks at nothing on disk.

use std::sync::{Arc, PoisonError, RwLock};

use asof_journal::view::is_below;

/// The rules in force at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Absolute paths that are left out with everything below them: the journal is one of them.
    excludes: Vec<Vec<u8>>,
}

impl Rules {
    /// Leaves out the given paths, with everything below them.
    pub(crate) fn new(excludes: Vec<Vec<u8>>) -> Rules {
        Rules { excludes }
    }

    /// Whether a path is left out. `dir` says whether it is a directory, where that is known; some rules hold for
    /// directories only, and where it is not known they do not hold.
    pub(crate) fn leaves_out(&self, path: &[u8], dir: Option<bool>) -> bool {
        let _ = dir;
        self.excludes.iter().any(|exclude| is_below(path, exclude))
    }
}

/// The rules as threads share them: replaced as a whole when the configuration is read again.
#[derive(Debug, Default)]
pub(crate) struct SharedRules {
    current: RwLock<Arc<Rules>>,
}

impl SharedRules {
    /// Begins with these.
    pub(crate) fn new(rules: Rules) -> Arc<SharedRules> {
        Arc::new(SharedRules { current: RwLock::new(Arc::new(rules)) })
    }

    /// Puts others in force.
    #[cfg(test)]
    pub(crate) fn replace(&self, rules: Rules) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Whether a path is left out now; see [`Rules::leaves_out`].
    pub(crate) fn leave_out(&self, path: &[u8], dir: Option<bool>) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).leaves_out(path, dir)
    }
}
