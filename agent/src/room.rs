//! Whether the journal has room for more: told by the appender, heeded by everybody who reads what is protected.
//!
//! While there is none nothing more is read, so that memory stays bounded whatever the disk does. Knows nothing of
//! files; who finds out whether there is room is the appender's thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a thread that waits for room does not look whether the agent ends.
const STOP_LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The filesystem of the journal is full, or a quota of the system's is used up.
    Disk,
    /// The journal has the size that it may have, in bytes.
    Quota(u64),
}

impl Lack {
    /// What the journal says of it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Lack::Disk => "its filesystem was full",
            Lack::Quota(_) => "it had reached journal_bytes_max",
        }
    }

    /// What is wrong, and what helps.
    pub(crate) fn words(self) -> String {
        match self {
            Lack::Disk => {
                "the filesystem of the journal is full (or a disk quota is used up); make room there, and it \
                           goes on by itself. Everything that was durable can be restored meanwhile"
                    .to_string()
            }
            Lack::Quota(most) => format!(
                "the journal has reached journal_bytes_max ({most} bytes); raise that in the configuration and have it \
                 read again (SIGHUP). Everything that was durable can be restored meanwhile"
            ),
        }
    }
}

/// Whether there is room.
#[derive(Debug)]
pub(crate) struct Room {
    lack: Mutex<Option<Lack>>,
    changed: Condvar,
    /// How large the journal may become; 0: as large as there is room.
    bytes_max: AtomicU64,
}

impl Room {
    /// There is, for so many bytes in all; `None`: for as many as fit.
    pub(crate) fn new(bytes_max: Option<u64>) -> Room {
        Room {
            lack: Mutex::default(),
            changed: Condvar::new(),
            bytes_max: AtomicU64::new(bytes_max.unwrap_or(0)),
        }
    }

    /// Why there is none; `None` where there is.
    pub(crate) fn lack(&self) -> Option<Lack> {
        *self.lock()
    }

    /// Tells; gives whether it is news.
    pub(crate) fn tell(&self, lack: Option<Lack>) -> bool {
        let before = std::mem::replace(&mut *self.lock(), lack);
        self.changed.notify_all();
        before != lack
    }

    /// Waits until there is room. Gives `false` where the agent ends before there is.
    pub(crate) fn wait(&self, stop: &AtomicBool) -> bool {
        let mut lack = self.lock();
        while lack.is_some() {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            let waited = self.changed.wait_timeout(lack, STOP_LOOK_EVERY);
            lack = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// How large the journal may become.
    pub(crate) fn bytes_max(&self) -> Option<u64> {
        Some(self.bytes_max.load(Ordering::Relaxed)).filter(|most| *most > 0)
    }

    /// Says how large from now on.
    pub(crate) fn set_bytes_max(&self, most: Option<u64>) {
        self.bytes_max.store(most.unwrap_or(0), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Lack>> {
        self.lack.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_waits_goes_on_when_there_is_room_or_the_agent_ends() {
        for (ends, room) in [(false, true), (true, false)] {
            let (shared, stop) = (Arc::new(Room::new(None)), Arc::new(AtomicBool::new(false)));
            assert!(shared.wait(&stop), "there is room to begin with");
            assert!(shared.tell(Some(Lack::Disk)) && !shared.tell(Some(Lack::Disk)));
            let (waiting, told) = (shared.clone(), stop.clone());
            let waiter = std::thread::spawn(move || waiting.wait(&told));
            match ends {
                true => stop.store(true, Ordering::Relaxed),
                false => drop(shared.tell(None)),
            }
            assert_eq!(waiter.join().expect("waiter"), room);
        }
    }
}
