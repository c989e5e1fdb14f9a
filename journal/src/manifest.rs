//! `journal.json`: what a journal is, before any segment is read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::content::hash::IdKey;
use crate::error::{Error, IoContext, Result};
use crate::format::FORMAT;
use crate::storage::{Layout, Storage, read_whole, write_atomically};
use crate::types::{ClockReading, Instant};

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
        let manifest =
            Manifest { format: FORMAT, uuid: uuid::Uuid::new_v4(), created: clock.wall, id_key: IdKey(key) };
        let on_disk = OnDisk {
            format: manifest.format,
            features: Vec::new(),
            uuid: manifest.uuid,
            created_unix_ns: manifest.created.0,
            id_key: data_encoding::HEXLOWER.encode(&key),
        };
        let path = layout.manifest();
        let text = serde_json::to_string_pretty(&on_disk).map_err(std::io::Error::from).context(&path)?;
        write_atomically(storage, &path, format!("{text}\n").as_bytes()).context(&path)?;
        Ok(manifest)
    }

    /// Reads the manifest of a journal.
    ///
    /// # Errors
    /// `NoJournal`; `Unsupported` where the format or a feature is not known; `Corrupt`; `Io`.
    pub fn open(storage: &dyn Storage, layout: &Layout) -> Result<Manifest> {
        let path = layout.manifest();
        let bytes = match read_whole(storage, &path, MANIFEST_BYTES_MAX) {
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(Error::NoJournal { path: layout.dir().to_path_buf() });
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(Error::Corrupt { path, offset: 0, what: error.to_string() });
            }
            other => other.context(&path)?,
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text, path),
            Err(error) => {
                let offset = error.valid_up_to() as u64;
                Err(Error::Corrupt { path, offset, what: "not UTF-8".into() })
            }
        }
    }

    pub(crate) fn parse(text: &str, path: PathBuf) -> Result<Manifest> {
        /// The format is looked at first: a newer one may have a form that this program cannot read at all.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let corrupt = |what: String| Error::Corrupt { path: path.clone(), offset: 0, what };
        let version: Version = serde_json::from_str(text).map_err(|e| corrupt(e.to_string()))?;
        if version.format > FORMAT {
            let what = format!("format {}", version.format);
            return Err(Error::Unsupported { path, what, known: FORMAT });
        }
        let on_disk: OnDisk = serde_json::from_str(text).map_err(|e| corrupt(e.to_string()))?;
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

    fn parse(text: &str) -> Result<Manifest> {
        Manifest::parse(text, "journal.json".into())
    }

    fn with(format: u32, features: &str, key: &str) -> String {
        let uuid = uuid::Uuid::nil();
        format!(
            r#"{{"format":{format},"features":[{features}],"uuid":"{uuid}","created_unix_ns":5,"id_key":"{key}","x":1}}"#
        )
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_formats_and_features_are_not() {
        let key = "ab".repeat(32);
        assert!(parse(&with(0, "", &key)).is_ok());
        assert!(matches!(parse(r#"{"format":99,"shape":"new"}"#), Err(Error::Unsupported { .. })));
        assert!(matches!(parse(&with(0, "\"encryption\"", &key)), Err(Error::Unsupported { .. })));
        assert!(matches!(parse(&with(0, "", "abc")), Err(Error::Corrupt { .. })));
        assert!(matches!(parse("nonsense"), Err(Error::Corrupt { .. })));
    }
}
