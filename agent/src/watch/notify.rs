//! The event source over the notify crate, which on Linux is inotify.
//!
//! Owns the watcher and the translation of its events. Nothing outside this file names notify. Lists nothing: files
//! made in a new directory before its watch are nobody's event, and whoever gets [`What::Appeared`] for a directory
//! has to list it after a barrier.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use ::notify::event::{
    AccessKind, AccessMode, CreateKind, EventKind, EventKindMask, ModifyKind, RemoveKind, RenameMode,
};
use ::notify::{
    Config, ErrorKind, Event, EventHandler, PathOp, RecommendedWatcher, RecursiveMode, WatchPathConfig,
    Watcher,
};

use asof_journal::view::is_below;

use super::{EventSource, Hint, HintSink, SourceOptions, WatchError, What};

/// The event source over notify.
#[derive(Debug)]
pub(crate) struct NotifySource {
    watcher: RecommendedWatcher,
}

impl NotifySource {
    /// Starts notify's thread; hints go to `sink` from there.
    pub(crate) fn create(options: SourceOptions, sink: impl HintSink) -> Result<NotifySource, WatchError> {
        let handler = Handler { options, sink, renamed_from: None };
        RecommendedWatcher::new(handler, watcher_config()).map(|watcher| NotifySource { watcher }).map_err(
            |error| match error.kind {
                ErrorKind::Io(source) if source.raw_os_error() == Some(libc::EMFILE) => {
                    WatchError::InstancesReached
                }
                kind => watch_error(Path::new(""), kind),
            },
        )
    }
}

fn watcher_config() -> Config {
    // Left out: OPEN and CLOSE_NOWRITE, of which our own listing would make an overflow. Never CORE, which has no
    // CLOSE_WRITE.
    let kinds = EventKindMask::ALL - EventKindMask::ACCESS_OPEN - EventKindMask::ACCESS_CLOSE_NOWRITE;
    Config::default().with_follow_symlinks(false).with_event_kinds(kinds)
}

impl EventSource for NotifySource {
    fn watch(&mut self, root: &Path) -> Result<(), WatchError> {
        self.watcher.watch(root, RecursiveMode::Recursive).map_err(|error| watch_error(root, error.kind))
    }

    fn watch_cookies(&mut self, dir: &Path) -> Result<(), WatchError> {
        let config = WatchPathConfig::new(RecursiveMode::NonRecursive).with_dereference_symlinks(false);
        self.watcher
            .update_paths(vec![PathOp::Watch(dir.to_path_buf(), config)])
            .map_err(|error| watch_error(dir, error.source.kind))
    }

    fn unwatch(&mut self, root: &Path) -> Result<(), WatchError> {
        match self.watcher.unwatch(root) {
            Ok(()) => Ok(()),
            Err(error) if matches!(error.kind, ErrorKind::WatchNotFound) => Ok(()),
            Err(error) => Err(watch_error(root, error.kind)),
        }
    }

    fn barrier(&mut self) -> Result<(), WatchError> {
        // Any message is answered by notify's thread between two rounds of reading events, but it answers all that
        // wait in one go, without reading in between: a message sent right after an answer could overtake events
        // that were queued before it. Of all messages only this one makes the thread read the queue to its end, and
        // add the watches, before it goes on; it delivers what it read after its own answer, and therefore a second
        // message has to follow.
        let reached = self.watcher.update_paths(Vec::new()).is_ok();
        let delivered = self.watcher.configure(watcher_config()).is_ok();
        if reached && delivered { Ok(()) } else { Err(WatchError::Stopped) }
    }
}

fn is_gone(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => true,
        ErrorKind::Io(error) => {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        }
        _ => false,
    }
}

fn watch_error(path: &Path, kind: ErrorKind) -> WatchError {
    let path = path.to_path_buf();
    match kind {
        ErrorKind::MaxFilesWatch => WatchError::LimitReached { path },
        ErrorKind::PathNotFound => WatchError::Missing { path },
        ErrorKind::Io(source) if source.kind() == std::io::ErrorKind::NotFound => {
            WatchError::Missing { path }
        }
        ErrorKind::Io(source) => WatchError::Refused { path, source },
        // What a channel to a dead thread gives.
        ErrorKind::Generic(_) => WatchError::Stopped,
        ErrorKind::WatchNotFound | ErrorKind::InvalidConfig(_) => {
            WatchError::Refused { path, source: std::io::Error::from(std::io::ErrorKind::InvalidInput) }
        }
    }
}

/// Translates notify's events; runs on notify's thread and must never call the watcher: that deadlocks.
struct Handler<S> {
    options: SourceOptions,
    sink: S,
    /// The first half of a rename, until its second half comes: kernel's cookie and path.
    renamed_from: Option<(usize, Vec<u8>)>,
}

impl<S: HintSink> EventHandler for Handler<S> {
    fn handle_event(&mut self, event: ::notify::Result<Event>) {
        match event {
            Ok(event) => self.event(event),
            // What it was about to watch is gone, or is no directory any more: there is nothing to see there.
            Err(error) if is_gone(&error.kind) => {}
            Err(error) => {
                let limit = matches!(error.kind, ErrorKind::MaxFilesWatch);
                let text = error.to_string();
                if error.paths.is_empty() {
                    self.sink.hint(Hint { path: Vec::new(), what: What::SourceError { text, limit } });
                    return;
                }
                for path in error.paths {
                    self.send(path, What::SourceError { text: text.clone(), limit });
                }
            }
        }
    }
}

impl<S: HintSink> Handler<S> {
    fn event(&mut self, mut event: Event) {
        if event.need_rescan() {
            self.sink.hint(Hint { path: Vec::new(), what: What::Overflow });
            return;
        }
        let tracker = event.tracker();
        let unmounted = event.info() == Some("unmount");
        let Some(path) = event.paths.pop() else {
            return;
        };
        let what = match event.kind {
            EventKind::Create(kind) => What::Appeared { dir: kind == CreateKind::Folder },
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                What::MovedTo { from: self.source_of(tracker) }
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                // Without a tracker it is the directory's own event, which comes after the two of its names.
                if let Some(tracker) = tracker {
                    self.renamed_from = Some((tracker, path.as_os_str().as_bytes().to_vec()));
                }
                What::MovedFrom
            }
            // Both halves again, in one event.
            EventKind::Modify(ModifyKind::Name(_)) => return,
            EventKind::Modify(ModifyKind::Metadata(_)) => What::Attributes,
            EventKind::Modify(_) => What::Written,
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => What::Closed,
            EventKind::Access(_) => return,
            EventKind::Remove(RemoveKind::Other) if unmounted => What::Unmounted,
            EventKind::Remove(_) => What::Gone,
            // Unknown to this file: something happened there.
            EventKind::Any | EventKind::Other => What::Attributes,
        };
        self.send(path, what);
    }

    /// Gives the first half of a rename; one that came from an excluded path counts as coming from nowhere.
    fn source_of(&mut self, tracker: Option<usize>) -> Option<Vec<u8>> {
        let (cookie, from) = self.renamed_from.take()?;
        (tracker == Some(cookie) && !self.is_excluded(&from, None)).then_some(from)
    }

    fn send(&mut self, path: PathBuf, what: What) {
        let path = path.into_os_string().into_vec();
        let dir = match what {
            What::Appeared { dir } => Some(dir),
            _ => None,
        };
        if !self.is_excluded(&path, dir) {
            self.sink.hint(Hint { path, what });
            return;
        }
        let slash = path.iter().rposition(|byte| *byte == b'/').filter(|slash| *slash > 0);
        if what.changes_names()
            && let Some(above) = slash.and_then(|slash| path.get(..slash))
            && !self.is_excluded(above, Some(true))
        {
            // The directory's own times changed with the name, and the kernel sends nothing of that.
            self.sink.hint(Hint { path: above.to_vec(), what: What::Attributes });
        }
    }

    fn is_excluded(&self, path: &[u8], dir: Option<bool>) -> bool {
        let is_cookie = self.options.cookies.as_ref().is_some_and(|cookies| is_below(path, cookies));
        !is_cookie && self.options.rules.leave_out(path, dir)
    }
}
