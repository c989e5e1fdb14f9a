//! `journal.json`: what a journal is, before any segment is read.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::content::hash::IdKey;
use crate::error::{Error, IoContext, Result};
use crate::format::FORMAT;
use crate::segments::Damage;
use crate::storage::{Layout, Storage, read_whole, write_atomically};
use crate::types::{ClockReading, Instant, Position};

/// A manifest is a few hundred bytes; what is longer is none.
const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// What a journal is.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Format version.
    pub format: u32,
    /// The journal's uuid.
    pub uuid: uuid::Uuid,
    /// When it was created.
    pub created: Instant,
    /// The key of its block ids.
    pub id_key: IdKey,
    /// What is wrong with the file or its copy; one of the two is whole.
    pub damage: Vec<Damage>,
}

/// The file's form; unknown fields are ignored, unknown `features` are not.
#[derive(Serialize, Deserialize)]
struct OnDisk {
    format: u32,
    #[serde(default)]
    features: Vec<String>,
    uuid: uuid::Uuid,
    created_unix_ns: i64,
    id_key: String,
    /// CRC32C of the other values; one flipped bit in the key would make every block look damaged.
    #[serde(default)]
    check: Option<u32>,
}

impl OnDisk {
    fn checksum(&self) -> u32 {
        let OnDisk { format, features, uuid, created_unix_ns, id_key, check: _ } = self;
        crc32c::crc32c(format!("{format} {features:?} {uuid} {created_unix_ns} {id_key}").as_bytes())
    }
}

impl Manifest {
    /// Makes a journal: its directories first, its manifest last, so that there is a journal or there is none.
    ///
    /// # Errors
    /// `Corrupt` where there are segments already: they belong to a journal whose manifest is gone. `Io`, `Full`.
    pub fn create(storage: &dyn Storage, layout: &Layout, clock: &ClockReading) -> Result<Manifest> {
        refuse_orphans(storage, layout)?;
        for dir in [layout.dir().to_path_buf(), layout.segments()] {
            storage.create_dir(&dir).context(&dir)?;
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(std::io::Error::from).context("/dev/urandom")?;
        let manifest = Manifest {
            format: FORMAT,
            uuid: uuid::Uuid::new_v4(),
            created: clock.wall,
            id_key: IdKey(key),
            damage: Vec::new(),
        };
        manifest.write(storage, &layout.manifest())?;
        Ok(manifest)
    }

    fn write(&self, storage: &dyn Storage, path: &Path) -> Result<()> {
        let mut on_disk = OnDisk {
            format: self.format,
            features: Vec::new(),
            uuid: self.uuid,
            created_unix_ns: self.created.0,
            id_key: data_encoding::HEXLOWER.encode(&self.id_key.0),
            check: None,
        };
        on_disk.check = Some(on_disk.checksum());
        let text = serde_json::to_string_pretty(&on_disk).map_err(std::io::Error::from).context(path)?;
        write_atomically(storage, path, format!("{text}\n").as_bytes()).context(path)
    }

    /// Makes the copy where there is none. For the writer.
    ///
    /// # Errors
    /// `Io`, `Full`.
    pub fn keep_copy(&self, storage: &dyn Storage, layout: &Layout) -> Result<()> {
        let copy = layout.manifest_copy();
        match storage.open(&copy) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.damage.is_empty() => {
                self.write(storage, &copy)
            }
            _ => Ok(()),
        }
    }

    /// Writes the damaged one of file and copy again.
    ///
    /// # Errors
    /// `Io`, `Full`.
    pub fn mend(&self, storage: &dyn Storage) -> Result<()> {
        self.damage.iter().try_for_each(|damage| self.write(storage, &damage.path))
    }

    /// Reads the manifest of a journal, from its copy where that is all there is.
    ///
    /// # Errors
    /// `NoJournal`; `Unsupported` where the format or a feature is not known; `Corrupt`; `Io`.
    pub fn open(storage: &dyn Storage, layout: &Layout) -> Result<Manifest> {
        let (path, copy) = (layout.manifest(), layout.manifest_copy());
        let damage = |path: PathBuf, what: String| {
            let at = Position::default();
            Damage { path, at, len: 0, what }
        };
        let (mut manifest, wrong) = match Self::read(storage, &path) {
            Ok(Some(manifest)) => match Self::read(storage, &copy) {
                Ok(Some(second)) if second.is_same(&manifest) => (manifest, None),
                Ok(Some(_)) => (manifest, Some(damage(copy, "it is not that of journal.json".into()))),
                Ok(None) | Err(Error::Io { .. } | Error::Unsupported { .. }) => (manifest, None),
                Err(error) => (manifest, Some(damage(copy, error.to_string()))),
            },
            Ok(None) => match Self::read(storage, &copy) {
                Ok(Some(second)) => (second, Some(damage(path, "the file is missing".into()))),
                _ => return Err(Error::NoJournal { path: layout.dir().to_path_buf() }),
            },
            Err(Error::Corrupt { path, offset, what }) => match Self::read(storage, &copy) {
                Ok(Some(second)) => (second, Some(damage(path, what))),
                _ => return Err(Error::Corrupt { path, offset, what }),
            },
            Err(error) => return Err(error),
        };
        manifest.damage.extend(wrong);
        Ok(manifest)
    }

    fn is_same(&self, other: &Manifest) -> bool {
        (self.format, self.uuid, self.created, self.id_key.0)
            == (other.format, other.uuid, other.created, other.id_key.0)
    }

    /// Reads one file; `None` where there is none.
    fn read(storage: &dyn Storage, path: &Path) -> Result<Option<Manifest>> {
        let bytes = match read_whole(storage, path, MANIFEST_BYTES_MAX) {
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(Error::Corrupt { path: path.to_path_buf(), offset: 0, what: error.to_string() });
            }
            other => other.context(path)?,
        };
        Self::parse(&String::from_utf8_lossy(&bytes), path.to_path_buf()).map(Some)
    }

    pub(crate) fn parse(text: &str, path: PathBuf) -> Result<Manifest> {
        /// The format is looked at first: another one may have a form that this program cannot read at all.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let corrupt = |what: String| Error::Corrupt { path: path.clone(), offset: 0, what };
        let version: Version = serde_json::from_str(text).map_err(|e| corrupt(e.to_string()))?;
        if version.format != FORMAT {
            // A flipped bit can make a number, and then the rest says so. A file of another format says nothing of the kind.
            if serde_json::from_str::<OnDisk>(text)
                .is_ok_and(|on_disk| on_disk.check.is_some_and(|check| check != on_disk.checksum()))
            {
                return Err(corrupt("the checksum does not match".into()));
            }
            let what = format!("format {}", version.format);
            return Err(Error::Unsupported { path, what, known: FORMAT });
        }
        let on_disk: OnDisk = serde_json::from_str(text).map_err(|e| corrupt(e.to_string()))?;
        if on_disk.check.is_some_and(|check| check != on_disk.checksum()) {
            return Err(corrupt("the checksum does not match".into()));
        }
        if let Some(feature) = on_disk.features.first() {
            let what = format!("feature \"{feature}\"");
            return Err(Error::Unsupported { path, what, known: FORMAT });
        }
        let key = data_encoding::HEXLOWER
            .decode(on_disk.id_key.as_bytes())
            .ok()
            .and_then(|key| <[u8; 32]>::try_from(key).ok())
            .ok_or_else(|| corrupt("id_key is not 64 hexadecimal digits".into()))?;
        Ok(Manifest {
            format: on_disk.format,
            uuid: on_disk.uuid,
            created: Instant(on_disk.created_unix_ns),
            id_key: IdKey(key),
            damage: Vec::new(),
        })
    }
}

fn refuse_orphans(storage: &dyn Storage, layout: &Layout) -> Result<()> {
    let names = match storage.list(&layout.segments()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.context(layout.segments())?,
    };
    if names.iter().any(|name| Layout::parse_segment(name).is_some()) {
        let what =
            "missing, but there are segments of a journal: put the file back from a copy of the journal, or \
                    use another directory"
                .to_string();
        return Err(Error::Corrupt { path: layout.manifest(), offset: 0, what });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::OsStorage;

    fn parse(text: &str) -> Result<Manifest> {
        Manifest::parse(text, "journal.json".into())
    }

    fn with(format: u32, features: &str, key: &str) -> String {
        let uuid = uuid::Uuid::nil();
        format!(
            r#"{{"format":{format},"features":[{features}],"uuid":"{uuid}","created_unix_ns":5,"id_key":"{key}","x":1}}"#
        )
    }

    /// A flipped digit of the id key once made every block of the journal look damaged.
    #[test]
    fn every_flipped_byte_is_found_and_the_copy_serves() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::new(dir.path());
        let clock = ClockReading { wall: Instant(7), boottime_ns: 0, boot_id: [0; 16] };
        let manifest = Manifest::create(&OsStorage, &layout, &clock).expect("a manifest");
        manifest.keep_copy(&OsStorage, &layout).expect("a copy");
        let good = std::fs::read(layout.manifest()).expect("the manifest");
        for path in [layout.manifest(), layout.manifest_copy()] {
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 7);
                std::fs::write(&path, &bad).expect("the manifest");
                let read = Manifest::open(&OsStorage, &layout).expect("one of the two is whole");
                assert!(read.is_same(&manifest), "byte {at} of {}", path.display());
            }
            std::fs::write(&path, b"").expect("the manifest");
            let read = Manifest::open(&OsStorage, &layout).expect("one of the two is whole");
            assert_eq!(read.damage.len(), 1);
            read.mend(&OsStorage).expect("mended");
            assert_eq!(std::fs::read(&path).expect("the manifest"), good);
        }
        std::fs::remove_file(layout.manifest()).expect("rm");
        assert!(Manifest::open(&OsStorage, &layout).expect("the copy").is_same(&manifest));
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_formats_and_features_are_not() {
        let key = "ab".repeat(32);
        assert!(parse(&with(FORMAT, "", &key)).is_ok());
        assert!(matches!(parse(r#"{"format":99,"shape":"new"}"#), Err(Error::Unsupported { .. })));
        assert!(matches!(parse(&with(0, "", &key)), Err(Error::Unsupported { .. })), "it promised nothing");
        assert!(matches!(parse(&with(FORMAT, "\"encryption\"", &key)), Err(Error::Unsupported { .. })));
        assert!(matches!(parse(&with(FORMAT, "", "abc")), Err(Error::Corrupt { .. })));
        assert!(matches!(parse("nonsense"), Err(Error::Corrupt { .. })));
    }
}
