//! A wall clock that a test sets while the agent runs: libfaketime, told by a file. What counts seconds since the boot goes on as it
//! does.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::must::Must;
use crate::site::Site;

/// The wall clock of one agent.
pub struct FakeClock {
    library: PathBuf,
    file: PathBuf,
}

impl FakeClock {
    /// A clock that is right; `None` where libfaketime is not installed.
    pub fn new(site: &Site) -> Option<FakeClock> {
        // Where Debian and its kin put it.
        let dirs = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
        let name = "faketime/libfaketimeMT.so.1";
        let library =
            dirs.chain([PathBuf::from("/usr/lib")]).map(|dir| dir.join(name)).find(|path| path.is_file())?;
        let clock = FakeClock { library, file: site.path("clock") };
        clock.set("+0");
        Some(clock)
    }

    /// Sets it: an offset from the true time, such as `+5y`, `-1h` or `+90` in seconds.
    pub fn set(&self, offset: &str) {
        fs::write(&self.file, offset).must(self.file.display());
    }

    /// An agent of the site that lives by it.
    pub fn asofd(&self, site: &Site) -> Command {
        let mut command = Command::new(&site.programs.asofd);
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    }
}
