//! How other backup programs are driven, as their manuals say, with their default settings.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tree::has_program;

/// A program to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// restic, always encrypting; its repository format as the packaged version makes it.
    Restic,
    /// borg without encryption, lz4, its default.
    BorgLz4,
    /// borg without encryption, zstd at level 3.
    BorgZstd,
    /// rustic.
    Rustic,
    /// bupstash.
    Bupstash,
    /// kopia.
    Kopia,
    /// `tar | zstd -3 -T0`: a floor, no history.
    TarZstd,
    /// `cp -a`: a floor, no history.
    Cp,
}

/// Where a peer works.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its store; must not exist before [`Peer::init`].
    pub store: PathBuf,
    /// For caches, keys and configuration.
    pub home: PathBuf,
    /// The tree that is saved.
    pub tree: PathBuf,
}

/// The peers in the order of the table.
pub const PEERS: [Peer; 8] = [
    Peer::Restic,
    Peer::BorgLz4,
    Peer::BorgZstd,
    Peer::Rustic,
    Peer::Bupstash,
    Peer::Kopia,
    Peer::TarZstd,
    Peer::Cp,
];

impl Peer {
    /// Its column's head.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Restic => "restic",
            Peer::BorgLz4 => "borg lz4",
            Peer::BorgZstd => "borg zstd,3",
            Peer::Rustic => "rustic",
            Peer::Bupstash => "bupstash",
            Peer::Kopia => "kopia",
            Peer::TarZstd => "tar+zstd -3",
            Peer::Cp => "cp -a",
        }
    }

    /// The program it needs.
    pub fn program(self) -> &'static str {
        match self {
            Peer::Restic => "restic",
            Peer::BorgLz4 | Peer::BorgZstd => "borg",
            Peer::Rustic => "rustic",
            Peer::Bupstash => "bupstash",
            Peer::Kopia => "kopia",
            Peer::TarZstd => "zstd",
            Peer::Cp => "cp",
        }
    }

    /// Whether it is on this machine.
    pub fn is_installed(self) -> bool {
        has_program(self.program())
    }

    /// Whether it keeps more than one state, so that "no change" and "one edit" mean something.
    pub fn has_history(self) -> bool {
        !matches!(self, Peer::TarZstd | Peer::Cp)
    }

    /// What its `--version` says.
    pub fn version(self) -> String {
        let output = Command::new(self.program())
            .arg(if self == Peer::Restic { "version" } else { "--version" })
            .output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or("version unknown").to_string()
    }

    /// The commands that make an empty store.
    pub fn init(self, place: &Place) -> Vec<Command> {
        match self {
            Peer::Restic | Peer::Rustic => vec![self.command(place, ["init"])],
            Peer::BorgLz4 | Peer::BorgZstd => {
                let mut command = self.command(place, ["init", "-e", "none"]);
                command.arg(&place.store);
                vec![command]
            }
            Peer::Bupstash => {
                let mut key = self.command(place, ["new-key", "-o"]);
                key.arg(place.home.join("key"));
                vec![self.command(place, ["init"]), key]
            }
            Peer::Kopia => {
                let mut command = self.command(place, ["repository", "create", "filesystem", "--path"]);
                command.arg(&place.store);
                vec![command]
            }
            Peer::TarZstd | Peer::Cp => Vec::new(),
        }
    }

    /// Saves the tree as it is now; `generation` names the state.
    pub fn save(self, place: &Place, generation: u32) -> Command {
        match self {
            Peer::Restic | Peer::Rustic => with(self.command(place, ["backup"]), &[place.tree.as_os_str()]),
            Peer::BorgLz4 => {
                with(self.command(place, ["create"]), &[&archive(place, generation), place.tree.as_os_str()])
            }
            Peer::BorgZstd => {
                let command = self.command(place, ["create", "--compression", "zstd,3"]);
                with(command, &[&archive(place, generation), place.tree.as_os_str()])
            }
            Peer::Bupstash => {
                let name = format!("name=generation-{generation}");
                with(self.command(place, ["put", "-q"]), &[name.as_ref(), place.tree.as_os_str()])
            }
            Peer::Kopia => with(self.command(place, ["snapshot", "create"]), &[place.tree.as_os_str()]),
            Peer::TarZstd => shell(
                "mkdir -p \"$1\"; tar -C \"$2\" -cf - . | zstd -q -3 -T0 -o \"$1/tree.tar.zst\"",
                &[&place.store, &place.tree],
            ),
            Peer::Cp => shell("mkdir -p \"$1\"; cp -a -- \"$2\" \"$1/tree\"", &[&place.store, &place.tree]),
        }
    }

    /// Gives everything back as of a generation, into an existing empty directory.
    pub fn restore_all(self, place: &Place, generation: u32, into: &Path) -> Command {
        self.restore(place, generation, &place.tree, into)
    }

    /// Gives one file of the tree back as of a generation, into an existing empty directory.
    pub fn restore_one(self, place: &Place, generation: u32, file: &Path, into: &Path) -> Command {
        self.restore(place, generation, file, into)
    }

    fn restore(self, place: &Place, generation: u32, path: &Path, into: &Path) -> Command {
        let below = path.strip_prefix(&place.tree).unwrap_or(path);
        let all = below.as_os_str().is_empty();
        let below = if all { PathBuf::from(".") } else { Path::new(".").join(below) };
        match self {
            Peer::Restic => {
                let mut command = self.command(place, ["restore", "latest", "--target"]);
                command.arg(into);
                if all { command } else { with(command, &["--include".as_ref(), path.as_os_str()]) }
            }
            Peer::Rustic => {
                let mut what = std::ffi::OsString::from("latest:");
                what.push(path);
                with(self.command(place, ["restore"]), &[&what, into.as_os_str()])
            }
            Peer::BorgLz4 | Peer::BorgZstd => {
                let mut command = with(self.command(place, ["extract"]), &[&archive(place, generation)]);
                if !all {
                    command.arg(path.strip_prefix("/").unwrap_or(path));
                }
                command.current_dir(into);
                command
            }
            Peer::Bupstash if all => {
                let name = format!("name=generation-{generation}");
                with(self.command(place, ["restore", "-q", "--into"]), &[into.as_os_str(), name.as_ref()])
            }
            Peer::Bupstash => {
                let mut command = shell(
                    "exec bupstash get -q --pick \"$1\" \"$2\" > \"$3/file\"",
                    &[
                        path.strip_prefix(&place.tree).unwrap_or(path),
                        Path::new(&format!("name=generation-{generation}")),
                        into,
                    ],
                );
                self.environment(&mut command, place);
                command
            }
            Peer::Kopia => {
                let target = if all { into.to_path_buf() } else { into.join("file") };
                with(
                    self.command(place, ["restore", "--snapshot-time=latest"]),
                    &[path.as_os_str(), target.as_os_str()],
                )
            }
            Peer::TarZstd if all => {
                shell("zstd -q -dc \"$1/tree.tar.zst\" | tar -C \"$2\" -xpf -", &[&place.store, into])
            }
            Peer::TarZstd => shell(
                "zstd -q -dc \"$1/tree.tar.zst\" | tar -C \"$2\" -xpf - \"$3\"",
                &[&place.store, into, &below],
            ),
            Peer::Cp => shell("cp -a -- \"$1/tree/$3\" \"$2/\"", &[&place.store, into, &below]),
        }
    }

    fn command<const N: usize>(self, place: &Place, arguments: [&str; N]) -> Command {
        let mut command = Command::new(self.program());
        command.args(arguments);
        self.environment(&mut command, place);
        command
    }

    /// Stores, keys and caches all lie in the place; passwords protect nothing here.
    fn environment(self, command: &mut Command, place: &Place) {
        let home = |name: &str| place.home.join(name);
        command
            .env("HOME", &place.home)
            .env("XDG_CACHE_HOME", home("cache"))
            .env("XDG_CONFIG_HOME", home("config"));
        match self {
            Peer::Restic => {
                command.env("RESTIC_REPOSITORY", &place.store).env("RESTIC_PASSWORD", "bench");
            }
            Peer::Rustic => {
                command.env("RUSTIC_REPOSITORY", &place.store).env("RUSTIC_PASSWORD", "bench");
            }
            Peer::BorgLz4 | Peer::BorgZstd => {
                command
                    .env("BORG_BASE_DIR", &place.home)
                    .env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
            }
            Peer::Bupstash => {
                command.env("BUPSTASH_REPOSITORY", &place.store).env("BUPSTASH_KEY", home("key"));
            }
            Peer::Kopia => {
                command.env("KOPIA_PASSWORD", "bench").env("KOPIA_CHECK_FOR_UPDATES", "false");
                command
                    .env("KOPIA_CONFIG_PATH", home("kopia.config"))
                    .env("KOPIA_CACHE_DIRECTORY", home("kopia.cache"));
            }
            Peer::TarZstd | Peer::Cp => {}
        }
    }
}

fn with(mut command: Command, arguments: &[&OsStr]) -> Command {
    command.args(arguments);
    command
}

fn archive(place: &Place, generation: u32) -> std::ffi::OsString {
    let mut archive = place.store.clone().into_os_string();
    archive.push(format!("::generation-{generation}"));
    archive
}

fn shell(script: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("set -euo pipefail; {script}"), "bash"]).args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure, oracle};
    use std::fs;

    #[test]
    fn every_installed_peer_saves_and_restores() {
        for peer in PEERS {
            if !peer.is_installed() {
                eprintln!("skipped: {} is not installed", peer.program());
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let place = Place {
                store: dir.path().join("store"),
                home: dir.path().join("home"),
                tree: dir.path().join("tree"),
            };
            let log = dir.path().join("log");
            let run = |mut command: Command| measure::run(&mut command, &log).unwrap();
            let fresh = |name: &str| {
                fs::create_dir(dir.path().join(name)).unwrap();
                dir.path().join(name)
            };
            fs::create_dir_all(place.tree.join("sub")).unwrap();
            fs::create_dir_all(&place.home).unwrap();
            fs::write(place.tree.join("sub/one file"), "one").unwrap();
            fs::write(place.tree.join("other"), "other").unwrap();
            for command in peer.init(&place) {
                run(command);
            }
            run(peer.save(&place, 1));
            let mut generation = 1;
            if peer.has_history() {
                fs::write(place.tree.join("sub/one file"), "edited").unwrap();
                run(peer.save(&place, 2));
                generation = 2;
            }
            let (all, one) = (fresh("all"), fresh("one"));
            run(peer.restore_all(&place, generation, &all));
            run(peer.restore_one(&place, generation, &place.tree.join("sub/one file"), &one));
            assert_eq!(oracle::census(&all).files, 2, "{}", peer.name());
            assert_eq!(oracle::census(&one).files, 1, "{}", peer.name());
            assert!(!peer.version().is_empty());
        }
    }
}
