//! Where the journal and the configuration are when nobody says: one answer for agent and command.
//!
//! Pure: whose process it is and its environment arrive as arguments. Looks at no disk.

use std::ffi::OsString;
use std::path::PathBuf;

/// Whose process it is and what its environment says.
pub struct Surroundings<'e> {
    /// Whether it is root's.
    pub is_root: bool,
    /// A variable of the environment.
    pub variable: &'e dyn Fn(&str) -> Option<OsString>,
}

impl Surroundings<'_> {
    /// The journal: `$XDG_STATE_HOME/asof`, else `~/.local/state/asof`; for root `/var/lib/asof`. `None` where neither
    /// variable is an absolute path.
    pub fn journal(&self) -> Option<PathBuf> {
        match self.is_root {
            true => Some(PathBuf::from("/var/lib/asof")),
            false => self.below("XDG_STATE_HOME", ".local/state", "asof"),
        }
    }

    /// The configuration file: `$XDG_CONFIG_HOME/asof/config.toml`, else `~/.config/asof/config.toml`; for root
    /// `/etc/asof/config.toml`. `None` where neither variable is an absolute path.
    pub fn config(&self) -> Option<PathBuf> {
        match self.is_root {
            true => Some(PathBuf::from("/etc/asof/config.toml")),
            false => self.below("XDG_CONFIG_HOME", ".config", "asof/config.toml"),
        }
    }

    fn below(&self, variable: &str, in_home: &str, name: &str) -> Option<PathBuf> {
        let absolute = |name: &str| (self.variable)(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let dir = absolute(variable).or_else(|| Some(absolute("HOME")?.join(in_home)))?;
        Some(dir.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_its_own_places_and_others_those_of_xdg() {
        let say = |home: &'static str, xdg: &'static str| {
            move |name: &str| match name {
                "HOME" => Some(OsString::from(home)),
                _ => Some(OsString::from(xdg)).filter(|xdg| !xdg.is_empty()),
            }
        };
        let places = |is_root, variable: &dyn Fn(&str) -> Option<OsString>| {
            let surroundings = Surroundings { is_root, variable };
            let text =
                |path: Option<PathBuf>| path.map(|path| path.display().to_string()).unwrap_or_default();
            (text(surroundings.journal()), text(surroundings.config()))
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(places(true, &say("/root", "/x")), pair("/var/lib/asof", "/etc/asof/config.toml"));
        assert_eq!(places(false, &say("/h", "/x")), pair("/x/asof", "/x/asof/config.toml"));
        let home = pair("/h/.local/state/asof", "/h/.config/asof/config.toml");
        assert_eq!(places(false, &say("/h", "")), home);
        assert_eq!(places(false, &say("/h", "relative")), home);
        assert_eq!(places(false, &say("relative", "")), pair("", ""));
    }
}
